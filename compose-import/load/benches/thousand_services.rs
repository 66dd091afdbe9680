//! How long a project of 1,000 services takes to load: `cargo bench -p compose-load`. The promise is 300 ms with conversion.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use compose_load::{MemoryFiles, Options, load};

const SERVICES: usize = 1000;
const RUNS: usize = 20;

fn main() {
    let mut text = "services:\n".to_owned();
    for index in 0..SERVICES {
        text += &format!(
            "  s{index}:
    image: registry.example.org/team/app-{index}:${{TAG:-1.0}}
    command: [serve, --port, '8080']
    environment: {{LOG: info, URL: 'http://s{next}:8080/${{ROOT_PATH:-}}', INDEX: {index}}}
    ports: ['{port}:8080', '9090']
    volumes: ['./conf/{index}:/etc/app:ro', 'data{index}:/var/lib/app']
    depends_on: {{s{next}: {{condition: service_healthy}}}}
    healthcheck: {{test: 'curl -f localhost:8080', interval: 10s, retries: 3}}
    deploy: {{replicas: 2, resources: {{limits: {{cpus: '0.5', memory: 128M}}}}}}
    networks: [front, back]
    labels: [a=b, team=t{index}]
",
            next = index + 1,
            port = 10_000 + index,
        );
    }
    text +=
        &format!("  s{SERVICES}: {{image: x, networks: [back]}}\nnetworks: {{front: , back: }}\nvolumes:\n");
    for index in 0..SERVICES {
        text += &format!("  data{index}:\n");
    }
    let mut files = MemoryFiles::default();
    files.0.insert(
        Path::new("/project/compose.yaml").to_owned(),
        text.clone().into_bytes(),
    );
    let options = Options {
        current_dir: PathBuf::from("/project"),
        ..Options::default()
    };
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            let project = load(&options, &files).expect("the project is well-formed");
            assert_eq!(project.services().count(), SERVICES + 1);
            start.elapsed()
        })
        .collect();
    times.sort();
    #[expect(clippy::print_stdout, reason = "the result of a bench")]
    {
        println!(
            "{SERVICES} services, {} KiB: median {:?}, slowest {:?} of {RUNS} runs",
            text.len() / 1024,
            times[RUNS / 2],
            times[RUNS - 1],
        );
    }
}
