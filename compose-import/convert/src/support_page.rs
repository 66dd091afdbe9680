//! The reference page, made from the table.

use std::fmt::Write as _;

use crate::attributes::{Attribute, Fate, SERVICE, TOP_LEVEL};

/// `docs/reference/compose-support.md`.
pub fn support_page() -> String {
    let mut page = String::from(
        "# What becomes of each attribute of a Compose file\n\
         \n\
         Made from the table that `tug compose convert` works with; do not edit it by hand\n\
         (`UPDATE=1 cargo test -p compose-convert --test support_page` writes it).\n\
         \n\
         | word | means |\n\
         |---|---|\n\
         | mapped | its meaning is carried over |\n\
         | partly | it is carried over where Kubernetes can say it; the rest is reported where it occurs |\n\
         | used | it is used up while the project is loaded, or by a command |\n\
         | reported | nothing is made of it, and a warning with file and line says so |\n\
         \n\
         `--strict` makes every warning an error.\n",
    );
    let count = |fate: Fate| {
        let rows = SERVICE.iter().filter(|row| !row.path.contains('.'));
        rows.filter(|row| row.fate == fate).count()
    };
    // Writing to a text does not fail.
    let _ = write!(
        page,
        "\n## Services\n\nOf the 93 attributes of a service {} are mapped, {} partly, {} used, {} reported.\n\n",
        count(Fate::Mapped),
        count(Fate::Partly),
        count(Fate::Used),
        count(Fate::Reported),
    );
    table(&mut page, SERVICE);
    page.push_str("\n## Top level\n\n");
    table(&mut page, TOP_LEVEL);
    page
}

fn table(page: &mut String, rows: &[Attribute]) {
    page.push_str("| attribute | | becomes, or why not |\n|---|---|---|\n");
    for row in rows {
        let fate = match row.fate {
            Fate::Mapped => "mapped",
            Fate::Partly => "partly",
            Fate::Used => "used",
            Fate::Reported => "reported",
        };
        let _ = writeln!(
            page,
            "| `{}` | {fate} | {} |",
            row.path,
            row.becomes.replace('|', "\\|")
        );
    }
}
