//! `tug compose build`: images by an engine that is there.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use cluster_node::image::ImageStore;
use compose_convert::{Conversion, Role};
use compose_load::Project;
use serde_json::{Value, json};

use super::place::load;
use super::project::ProjectArgs;
use crate::bundled;
use crate::connection;
use crate::failure::Failure;
use crate::settings::Settings;

/// Build the images of services by a Docker engine
///
/// They are loaded into the bundled cluster where that is the one in use; other clusters pull what `--push` pushes.
#[derive(clap::Args)]
pub(crate) struct BuildArgs {
    /// Only these services
    services: Vec<String>,
    /// Set a variable of the build, may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    build_arg: Vec<String>,
    /// Use nothing of builds before
    #[arg(long)]
    no_cache: bool,
    /// Pull newer versions of what images are based on
    #[arg(long)]
    pull: bool,
    /// Push the images to their registries
    #[arg(long)]
    push: bool,
    /// Print no progress
    #[arg(short, long)]
    quiet: bool,
    // docker compose's flag that says what is so anyway.
    #[arg(long, hide = true)]
    with_dependencies: bool,
}

/// The annotation of pods with the digest of the image that was built for them.
const IMAGE: &str = "compose.tug.dev/image";

/// Programs that build images, in the order in which they are tried.
const ENGINES: [&str; 2] = ["docker", "podman"];

/// Attributes of `build` that become flags, each with its flag.
const FLAGS: [(&str, &str); 12] = [
    ("target", "--target"),
    ("network", "--network"),
    ("shm_size", "--shm-size"),
    ("isolation", "--isolation"),
    ("cache_from", "--cache-from"),
    ("cache_to", "--cache-to"),
    ("platforms", "--platform"),
    ("tags", "--tag"),
    ("ssh", "--ssh"),
    ("labels", "--label"),
    ("provenance", "--provenance"),
    ("sbom", "--sbom"),
];
/// Those that are read in another way.
const READ: [&str; 9] = [
    "context",
    "dockerfile",
    "dockerfile_inline",
    "args",
    "no_cache",
    "pull",
    "extra_hosts",
    "additional_contexts",
    "ulimits",
];

/// How images are built, whatever the service.
#[derive(Clone, Debug, Default)]
struct Manner {
    build_args: Vec<String>,
    no_cache: bool,
    pull: bool,
    push: bool,
    quiet: bool,
}

pub(super) fn run(arguments: &BuildArgs, project: &ProjectArgs, settings: &Settings) -> Result<(), Failure> {
    let project = load(project, &[], settings)?;
    for service in &arguments.services {
        if !project.services().any(|(name, _)| name == service) {
            return Err(Failure::new(format!("no such service: {service}")));
        }
    }
    let is_bundled = connection::is_bundled(settings)?;
    let manner = Manner {
        build_args: arguments.build_arg.clone(),
        no_cache: arguments.no_cache,
        pull: arguments.pull,
        push: arguments.push,
        quiet: arguments.quiet,
    };
    let services: Vec<&str> = project
        .services()
        .filter(|(name, model)| {
            model.contains_key("build")
                && (arguments.services.is_empty() || arguments.services.iter().any(|one| one == name))
        })
        .map(|(name, _)| name)
        .collect();
    if services.is_empty() {
        settings.console.warn("no service to build");
    }
    build(&project, &services, &manner, is_bundled, settings)
}

/// Builds what `up` needs: with `all` every image, else those that the bundled cluster does not have.
pub(super) fn for_up(
    project: &Project,
    all: bool,
    is_bundled: bool,
    settings: &Settings,
) -> Result<(), Failure> {
    let built = project
        .services()
        .filter(|(_, model)| model.contains_key("build"));
    let mut services: Vec<&str> = built.map(|(name, _)| name).collect();
    if !all {
        if !is_bundled || services.is_empty() {
            return Ok(());
        }
        let store = ImageStore::open(bundled::directory(settings).images())?;
        services.retain(|service| store.resolve(&project.image(service)).is_err());
    }
    build(project, &services, &Manner::default(), is_bundled, settings)
}

/// Writes into the pods of services that are built which image they run, so that another of the same name replaces them.
pub(super) fn tell_images(
    conversion: &mut Conversion,
    project: &Project,
    settings: &Settings,
) -> Result<(), Failure> {
    let store = ImageStore::open(bundled::directory(settings).images())?;
    for (service, model) in project.services() {
        if !model.contains_key("build") {
            continue;
        }
        // One that is not there is told where its pod cannot start.
        let Ok(image) = store.resolve(&project.image(service)) else {
            continue;
        };
        let workloads = conversion
            .objects
            .iter_mut()
            .filter(|object| object.role == Role::Workload && object.of == service);
        for workload in workloads {
            let spec = &mut workload.value["spec"];
            let spec = match spec.get("jobTemplate") {
                Some(_) => &mut spec["jobTemplate"]["spec"],
                None => spec,
            };
            spec["template"]["metadata"]["annotations"][IMAGE] = json!(image.id.to_string());
        }
    }
    Ok(())
}

/// Builds the image of one service anew, and loads it into the bundled cluster.
pub(super) fn again(
    project: &Project,
    service: &str,
    is_bundled: bool,
    settings: &Settings,
) -> Result<(), Failure> {
    build(project, &[service], &Manner::default(), is_bundled, settings)
}

fn build(
    project: &Project,
    services: &[&str],
    manner: &Manner,
    is_bundled: bool,
    settings: &Settings,
) -> Result<(), Failure> {
    if services.is_empty() {
        return Ok(());
    }
    let engine = engine(services)?;
    for service in services {
        let model = &project.model["services"][service]["build"];
        let image = project.image(service);
        for key in unknown(model) {
            settings.console.warn(format!(
                "service `{service}`: build.{key} is not passed on to the engine"
            ));
        }
        let words = arguments(model, &image, manner);
        let inline = model["dockerfile_inline"].as_str();
        settings.console.say(format!("building `{image}`"));
        invoke(&engine, &words, inline)
            .map_err(|failure| failure.prefixed(&format!("cannot build `{service}`: ")))?;
        if manner.push {
            invoke(&engine, &["push".to_owned(), image.clone()], None)?;
        }
        if is_bundled {
            load_from(&engine, &image, settings)?;
        }
    }
    Ok(())
}

/// A program that builds, with an engine behind it.
fn engine(services: &[&str]) -> Result<String, Failure> {
    let mut reason = "neither `docker` nor `podman` is on the path".to_owned();
    for name in ENGINES {
        let asked = Command::new(name)
            .args(["version", "--format", "{{.Server.Version}}"])
            .stdin(Stdio::null())
            .output();
        match asked {
            Ok(answer) if answer.status.success() => return Ok(name.to_owned()),
            Ok(answer) => {
                let said = String::from_utf8_lossy(&answer.stderr).trim().to_owned();
                reason = said
                    .lines()
                    .last()
                    .unwrap_or("its engine does not answer")
                    .to_owned();
            }
            Err(_) => {}
        }
    }
    Err(Failure::new(format!(
        "cannot build {}: there is no Docker engine",
        services.join(", ")
    ))
    .because(reason)
    .hint("build the images elsewhere, and `tug image load ARCHIVE` or push them")
    .hint("`tug compose up --no-build` goes on without"))
}

/// Keys of `build` that no engine is told.
fn unknown(build: &Value) -> Vec<&str> {
    let keys = build
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str());
    keys.filter(|key| {
        !key.starts_with("x-") && !READ.contains(key) && !FLAGS.iter().any(|(known, _)| known == key)
    })
    .collect()
}

/// The words of `docker build`.
fn arguments(build: &Value, image: &str, manner: &Manner) -> Vec<String> {
    let text = |key: &str| build[key].as_str();
    let context = text("context").unwrap_or(".");
    let mut words = vec!["build".to_owned(), "--tag".to_owned(), image.to_owned()];
    let mut add = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
    if build["dockerfile_inline"].is_string() {
        add("--file", "-".to_owned());
    } else if let Some(file) = text("dockerfile") {
        add("--file", Path::new(context).join(file).display().to_string());
    }
    for pair in pairs(&build["args"]) {
        add("--build-arg", pair);
    }
    for pair in &manner.build_args {
        add("--build-arg", pair.clone());
    }
    for (key, flag) in FLAGS {
        for value in pairs(&build[key]) {
            add(flag, value);
        }
    }
    for (name, value) in build["additional_contexts"].as_object().into_iter().flatten() {
        add(
            "--build-context",
            format!("{name}={}", value.as_str().unwrap_or_default()),
        );
    }
    for (name, addresses) in build["extra_hosts"].as_object().into_iter().flatten() {
        for address in pairs(addresses) {
            add("--add-host", format!("{name}:{address}"));
        }
    }
    for entry in build["extra_hosts"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        add("--add-host", entry.replacen('=', ":", 1));
    }
    for (name, limit) in build["ulimits"].as_object().into_iter().flatten() {
        let shown = match limit {
            Value::Object(both) => format!("{}:{}", both["soft"], both["hard"]),
            one => one.to_string(),
        };
        add("--ulimit", format!("{name}={shown}"));
    }
    for (flag, is_set) in [
        ("--no-cache", manner.no_cache || build["no_cache"] == true),
        ("--pull", manner.pull || build["pull"] == true),
        ("--quiet", manner.quiet),
    ] {
        if is_set {
            words.push(flag.to_owned());
        }
    }
    words.push(context.to_owned());
    words
}

/// A text, the entries of a list, or of a mapping as `KEY=VALUE`.
fn pairs(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(pairs).collect(),
        Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| match value {
                Value::Null => key.clone(),
                Value::String(text) => format!("{key}={text}"),
                other => format!("{key}={other}"),
            })
            .collect(),
        other => vec![other.to_string()],
    }
}

/// Runs the engine; what it says goes to stderr.
fn invoke(engine: &str, words: &[String], input: Option<&str>) -> Result<(), Failure> {
    let mut command = Command::new(engine);
    command.args(words).stdout(std::io::stderr());
    command.stdin(if input.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    });
    let failed = |error: std::io::Error| Failure::new(format!("cannot run `{engine}`")).because_error(&error);
    let mut child = command.spawn().map_err(failed)?;
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(text.as_bytes()).map_err(failed)?;
    }
    let status = child.wait().map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "`{engine} {}` ended with {status}",
        words.first().map_or("", String::as_str)
    )))
}

/// Takes an image from the engine into the bundled cluster.
fn load_from(engine: &str, image: &str, settings: &Settings) -> Result<(), Failure> {
    let store = ImageStore::open(bundled::directory(settings).images())?;
    let failed =
        |error: std::io::Error| Failure::new(format!("cannot run `{engine} save`")).because_error(&error);
    let mut child = Command::new(engine)
        .args(["save", image])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let Some(archive) = child.stdout.take() else {
        return Err(Failure::new(format!("`{engine} save` gives nothing")));
    };
    let loaded = store.load(archive);
    let status = child.wait().map_err(failed)?;
    if !status.success() {
        return Err(Failure::new(format!(
            "`{engine} save {image}` ended with {status}"
        )));
    }
    for name in loaded? {
        settings.console.say(format!("loaded {name}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(build: Value, manner: &Manner, expected: &str) {
        assert_eq!(arguments(&build, "shop-web", manner).join(" "), expected);
    }

    #[test]
    fn attributes_of_a_build_are_flags_of_the_engine() {
        let plain = Manner::default();
        check(
            json!({"context": "/p/web", "dockerfile": "Dockerfile"}),
            &plain,
            "build --tag shop-web --file /p/web/Dockerfile /p/web",
        );
        check(
            json!({"context": "/p", "dockerfile": "/q/D", "args": {"A": "1", "B": null}, "target": "run", "no_cache": true,
                   "platforms": ["linux/amd64"], "labels": {"l": "x"}, "extra_hosts": ["h=10.0.0.1"],
                   "ulimits": {"nofile": {"soft": 1, "hard": 2}, "nproc": 3}}),
            &plain,
            "build --tag shop-web --file /q/D --build-arg A=1 --build-arg B --target run --platform linux/amd64 --label l=x \
             --add-host h:10.0.0.1 --ulimit nofile=1:2 --ulimit nproc=3 --no-cache /p",
        );
        let manner = Manner {
            build_args: vec!["A=2".to_owned()],
            pull: true,
            quiet: true,
            ..Manner::default()
        };
        check(
            json!({"context": "/p", "dockerfile_inline": "FROM scratch"}),
            &manner,
            "build --tag shop-web --file - --build-arg A=2 --pull --quiet /p",
        );
    }

    #[test]
    fn what_no_engine_is_told_is_known() {
        let build = json!({"context": ".", "entitlements": ["network.host"], "x-y": 1, "target": "t"});
        assert_eq!(unknown(&build), ["entitlements"]);
    }
}
