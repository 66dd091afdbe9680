//! The reference page says what the code's own table says.

use std::path::Path;

#[test]
fn the_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/compose-support.md");
    let page = compose_convert::support_page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "UPDATE=1 cargo test -p compose-convert --test support_page writes {}",
        path.display()
    );
}
