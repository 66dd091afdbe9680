//! Renders a chart like the `template` command, without the rest of the program.
use chart_model::Chart;
use chart_render::{Capabilities, KubeVersion, Output, RenderOptions, ensure_installable, render};
use chart_values::{UserValues, ValuesFile};

fn main() {
    let args: Vec<String> = std::env::args().skip(2).collect();
    let mut values = UserValues::default();
    let mut options = RenderOptions::default();
    let mut output = Output::default();
    options.release.name = args[0].clone();
    let mut rest = args[2..].iter();
    while let Some(flag) = rest.next() {
        let mut value = || rest.next().expect("value").clone();
        match flag.as_str() {
            "-n" => options.release.namespace = value(),
            "-f" => {
                let name = value();
                let text = std::fs::read_to_string(&name).expect("read");
                values.files.push(ValuesFile { name, text });
            }
            "--set" => values.set.push(value()),
            "--set-string" => values.string.push(value()),
            "--set-literal" => values.literal.push(value()),
            "--set-json" => values.json.push(value()),
            "--kube-version" => {
                options.capabilities.kube_version = KubeVersion::parse(&value()).expect("version")
            }
            "--api-versions" | "-a" => options.capabilities.api_versions.push(value()),
            "--skip-schema-validation" => options.skip_schema_validation = true,
            "--include-crds" => output.include_crds = true,
            "--skip-tests" => output.skip_tests = true,
            "--no-hooks" => output.no_hooks = true,
            "--show-only" | "-s" => output.show_only.push(value()),
            "--is-upgrade" => {
                options.release.is_upgrade = true;
                options.release.is_install = false;
            }
            "--lint" => options.lint = true,
            other => panic!("flag {other}"),
        }
    }
    let _ = Capabilities::default();
    let run = || -> Result<String, Box<dyn std::error::Error>> {
        let chart = Chart::load(args[1].as_ref())?;
        ensure_installable(&chart)?;
        let values = values.merge(&mut |path| std::fs::read_to_string(path).map_err(|e| e.to_string()))?;
        let rendered = render(&chart, &values, &options).map_err(|error| {
            let hint = if error.is_of_rendering() {
                "\n\nUse --debug flag to render out invalid YAML"
            } else {
                ""
            };
            format!("{error}{hint}")
        })?;
        Ok(output.text(&rendered)?)
    };
    match run() {
        Ok(text) => print!("{text}"),
        Err(error) => {
            eprintln!("Error: {error}");
            std::process::exit(1);
        }
    }
}
