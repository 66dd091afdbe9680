//! Any files are a project, or are refused with reasons.
//!
//! The input is a Compose file; after lines with only `@@` follow an override file, a `.env` file, and a file to include or extend
//! (`other.yaml`).

#![no_main]

use std::path::{Path, PathBuf};

use compose_load::{MemoryFiles, Options, load};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut files = MemoryFiles::default();
    let names = ["compose.yaml", "compose.override.yaml", ".env", "other.yaml"];
    for (name, content) in names.into_iter().zip(text.split("\n@@\n")) {
        files.0.insert(Path::new("/project").join(name), content.as_bytes().to_vec());
    }
    let options = Options {
        current_dir: PathBuf::from("/project"),
        home: Some(PathBuf::from("/home/ann")),
        profiles: vec!["*".to_owned()],
        ..Options::default()
    };
    match load(&options, &files) {
        Err(error) => {
            assert!(!error.faults.is_empty());
            assert!(error.faults.iter().all(|fault| !fault.message.is_empty()));
        }
        Ok(project) => {
            assert!(!project.name.is_empty());
            for (name, service) in project.services() {
                for key in service.keys() {
                    let _ = project.position(&["services", name, key]);
                }
            }
            assert_eq!(project.services_in_order().count(), project.services().count());
            let _ = (project.config_json(), project.config_yaml());
        }
    }
    let raw = Options {
        no_interpolate: true,
        no_normalize: true,
        ..options
    };
    if let Ok(project) = load(&raw, &files) {
        let _ = compose_load::variables(&project.model);
    }
});
