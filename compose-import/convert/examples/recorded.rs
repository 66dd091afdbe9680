//! Converts what `docker compose config --format json` printed: `recorded FOLDER OUT [--chart | --jinja] < MODEL`.
//!
//! For comparing conversion alone, with the loading done by docker compose itself.

use std::io::Read as _;
use std::path::PathBuf;

use compose_convert::chart::{self, ChartOptions, Dialect};
use compose_convert::{DiskSources, Options, convert, to_yaml};
use serde_json::Value;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(out)) = (arguments.next(), arguments.next()) else {
        return Err("usage: recorded FOLDER OUT < MODEL".into());
    };
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let mut model: Value = serde_json::from_str(&text)?;
    single_dollars(&mut model);
    let mut project = compose_load::Project::default();
    project.name = model["name"].as_str().unwrap_or("project").to_owned();
    project.working_dir = PathBuf::from(folder);
    project.environment = std::env::vars().collect();
    project.model = model;
    let conversion = convert(&project, &DiskSources, &Options::default());
    std::fs::create_dir_all(&out)?;
    let dialect = match arguments.next().as_deref() {
        Some("--chart") => Some(Dialect::Go),
        Some("--jinja") => Some(Dialect::Jinja),
        _ => None,
    };
    if let Some(dialect) = dialect {
        let options = ChartOptions {
            name: conversion.instance.clone(),
            version: "0.1.0".to_owned(),
            dialect,
            with_secrets: false,
        };
        std::fs::create_dir_all(format!("{out}/templates"))?;
        for (name, content) in chart::files(&conversion, &options) {
            std::fs::write(format!("{out}/{name}"), content)?;
        }
    } else {
        for object in &conversion.objects {
            std::fs::write(
                format!("{out}/{}.yaml", object.file_stem()),
                to_yaml(&object.value),
            )?;
        }
    }
    for warning in &conversion.warnings {
        #[expect(clippy::print_stderr, reason = "an example is a program")]
        {
            eprintln!("warning: {warning}");
        }
    }
    Ok(())
}

/// The printed form doubles each dollar.
fn single_dollars(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.replace("$$", "$"),
        Value::Array(items) => items.iter_mut().for_each(single_dollars),
        Value::Object(entries) => entries.values_mut().for_each(single_dollars),
        _ => {}
    }
}
