//! `tug image`: the images of the bundled cluster's node.

use std::fs::File;
use std::io;

use cluster_node::image::{Credentials, ImageStore};
use serde::Serialize;

use super::block_on;
use crate::bundled;
use crate::failure::Failure;
use crate::output::{Listing, OutputArgs};
use crate::settings::Settings;
use crate::table::Table;

/// Load, list, save, remove and pull images of the bundled cluster
#[derive(clap::Args)]
pub(crate) struct ImageArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Load images from an OCI or Docker archive, `-` is stdin
    Load {
        /// Archive
        archive: String,
    },
    /// List images
    #[command(visible_alias = "ls")]
    List(OutputArgs),
    /// Remove images
    #[command(visible_alias = "rm")]
    Remove {
        /// Names of the images
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Write images to an archive, as `docker save` does
    Save {
        /// Names of the images
        #[arg(required = true)]
        names: Vec<String>,
        /// Archive, `-` is stdout
        #[arg(short, long, value_name = "FILE")]
        output: String,
    },
    /// Remove images that no container uses
    Prune,
    /// Pull an image from its registry
    Pull {
        /// Name of the image
        name: String,
    },
}

#[derive(Serialize)]
struct Row {
    name: String,
    digest: String,
    size: u64,
}

pub(super) fn run(arguments: &ImageArgs, settings: &Settings) -> Result<(), Failure> {
    let store = ImageStore::open(bundled::directory(settings).images())?;
    let console = &settings.console;
    match &arguments.action {
        Action::Load { archive } => {
            let names = if archive == "-" {
                store.load(io::stdin().lock())?
            } else {
                let file = File::open(archive).map_err(|error| {
                    Failure::new(format!("cannot read `{archive}`")).because_error(&error)
                })?;
                store.load(file)?
            };
            for name in names {
                console.line(format!("loaded {name}"))?;
            }
            Ok(())
        }
        Action::List(output) => {
            let rows: Vec<Row> = store
                .list()?
                .into_iter()
                .map(|image| Row {
                    name: image.name,
                    digest: image.digest.to_string(),
                    size: image.size,
                })
                .collect();
            let listing = Listing {
                records: &rows,
                table: &|| table(&rows),
                name: &|row: &Row| row.name.clone(),
            };
            listing.print(output.output, settings)
        }
        Action::Remove { names } => {
            for name in names {
                let removed = store.remove(name)?;
                console.line(format!("removed {removed}"))?;
            }
            Ok(())
        }
        Action::Save { names, output } => {
            if output == "-" {
                store.save(names, io::stdout().lock())?;
                return Ok(());
            }
            let failed = |error: &dyn std::error::Error| {
                Failure::new(format!("cannot write `{output}`")).because_error(error)
            };
            let file = File::create(output).map_err(|error| failed(&error))?;
            let saved = store.save(names, io::BufWriter::new(file));
            if saved.is_err() {
                // Half an archive is no archive.
                let _ = std::fs::remove_file(output);
            }
            Ok(saved?)
        }
        Action::Prune => {
            for name in store.prune()? {
                console.line(format!("removed {name}"))?;
            }
            Ok(())
        }
        Action::Pull { name } => {
            let image = block_on(async { Ok(store.pull(name, &Credentials::Anonymous).await?) })?;
            console.line(format!("pulled {}", image.name))
        }
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["NAME", "DIGEST", "SIZE"]);
    for row in rows {
        table.row(vec![row.name.clone(), row.digest.clone(), shown_size(row.size)]);
    }
    table
}

/// Bytes in a unit that leaves at most four digits.
fn shown_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    #[expect(clippy::cast_precision_loss, reason = "it is shown with two digits")]
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{size:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(shown_size(17), "17 B");
        assert_eq!(shown_size(1536), "1.5 KiB");
        assert_eq!(shown_size(5 << 30), "5.0 GiB");
    }
}
