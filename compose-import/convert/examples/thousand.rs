//! Times loading and converting a project of 1,000 services: `cargo run --release -p compose-convert --example thousand`.

use std::fmt::Write as _;
use std::time::Instant;

use compose_convert::{DiskSources, Options, convert};
use compose_load::{DiskFiles, load};

#[expect(clippy::print_stdout, reason = "an example is a program")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let mut text = "services:\n".to_owned();
    for number in 0..1000_u32 {
        write!(
            text,
            "  service-{number}:\n    image: registry.example.com/app:{number}\n    ports: [\"{}:80\"]\n    environment:\n      \
             NAME: service-{number}\n      LEVEL: ${{LEVEL:-info}}\n    volumes: [\"data-{number}:/data\", \"./conf:/conf:ro\"]\n    \
             healthcheck: {{test: [CMD, ping], interval: 10s}}\n    deploy: {{resources: {{limits: {{cpus: \"0.5\", memory: 64M}}}}}}\n",
            10000 + number
        )?;
        if number > 0 {
            writeln!(
                text,
                "    depends_on: {{service-{}: {{condition: service_healthy}}}}",
                number / 2
            )?;
        }
    }
    text.push_str("volumes:\n");
    for number in 0..1000_u32 {
        writeln!(text, "  data-{number}:")?;
    }
    std::fs::write(folder.path().join("compose.yaml"), text)?;
    std::fs::create_dir(folder.path().join("conf"))?;
    std::fs::write(folder.path().join("conf/app.conf"), "key = value\n")?;
    let options = compose_load::Options {
        current_dir: folder.path().to_owned(),
        ..compose_load::Options::default()
    };
    for _ in 0..3 {
        let start = Instant::now();
        let project = load(&options, &DiskFiles)?;
        let loaded = start.elapsed();
        let conversion = convert(&project, &DiskSources, &Options::default());
        let total = start.elapsed();
        println!(
            "load {} ms, convert {} ms, together {} ms, {} objects, {} warnings",
            loaded.as_millis(),
            (total - loaded).as_millis(),
            total.as_millis(),
            conversion.objects.len(),
            conversion.warnings.len(),
        );
    }
    Ok(())
}
