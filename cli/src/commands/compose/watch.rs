//! `tug compose watch`

use std::collections::{BTreeMap, BTreeSet};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chart_release::cluster::Cluster;
use cluster_client::{ExecExit, ExecRequest};
use compose_load::Project;
use regex::Regex;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use serde_json::Value;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::build;
use super::exec;
use super::place::{Place, load};
use super::project::ProjectArgs;
use super::restart;
use super::up::{self, UpArgs};
use crate::commands::block_on;
use crate::connection::{self, Start};
use crate::failure::Failure;
use crate::settings::Settings;

/// Follow the files of services: copy what changes into their containers, build again, or restart
#[derive(clap::Args)]
pub(crate) struct WatchArgs {
    /// Only these services
    services: Vec<String>,
    /// Do not bring the project up first
    #[arg(long)]
    no_up: bool,
    /// Say nothing of each change
    #[arg(long)]
    quiet: bool,
    // docker compose's flag that says what is so anyway.
    #[arg(long, hide = true)]
    prune: bool,
}

/// Changes that come so soon after each other are one.
const QUIET: Duration = Duration::from_millis(200);
/// Folders that are followed, at most.
const FOLDERS_MAX: usize = 50_000;

/// What is done about a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Sync,
    SyncAndExec,
    Restart,
    Rebuild,
}

/// A rule of `develop.watch`.
#[derive(Clone, Debug)]
struct Rule {
    service: String,
    path: PathBuf,
    target: PathBuf,
    action: Action,
    ignore: Vec<Regex>,
    include: Vec<Regex>,
    exec: Vec<String>,
}

pub(super) fn run(arguments: &WatchArgs, project: &ProjectArgs, settings: &Settings) -> Result<(), Failure> {
    let loaded = load(project, &[], settings)?;
    let rules = rules(&loaded, &arguments.services)?;
    if rules.is_empty() {
        return Err(Failure::new("none of the services has rules in `develop.watch`"));
    }
    if !arguments.no_up {
        up::run(&UpArgs::of(arguments.services.clone()), project, settings)?;
    }
    let place = Place::of(&loaded.name, settings);
    let config = connection::choose(&place.settings, Start::IfThere)?;
    let is_bundled = connection::is_bundled(settings)?;
    block_on(async {
        let cluster = connection::connect(&place.settings, &config).await?;
        let mut folders = Folders::open()?;
        for rule in &rules {
            folders.follow(&rule.path)?;
        }
        place
            .settings
            .console
            .say(format!("watching {} folders", folders.paths.len()));
        let follow = async {
            loop {
                let changed = folders.changes().await?;
                for (service, work) in decide(&rules, &changed) {
                    if !arguments.quiet {
                        let words = work.words();
                        place.settings.console.say(format!("`{service}`: {words}"));
                    }
                    let done = work
                        .carry_out(&service, &place, &cluster, &loaded, is_bundled)
                        .await;
                    // The next change may succeed where this one did not.
                    if let Err(failure) = done {
                        place.settings.console.failure(&failure);
                    }
                }
            }
        };
        // An interrupt ends the work that is under way, too.
        tokio::select! {
            failed = follow => failed,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })
}

/// The rules of services, of all or some.
fn rules(project: &Project, services: &[String]) -> Result<Vec<Rule>, Failure> {
    let mut rules = Vec::new();
    for (service, model) in project.services() {
        if !services.is_empty() && !services.iter().any(|one| one == service) {
            continue;
        }
        let entries = model
            .get("develop")
            .and_then(|develop| develop["watch"].as_array());
        for entry in entries.into_iter().flatten() {
            rules.push(rule(service, entry)?);
        }
    }
    Ok(rules)
}

fn rule(service: &str, entry: &Value) -> Result<Rule, Failure> {
    let text = |key: &str| entry[key].as_str().unwrap_or_default();
    let action = match text("action") {
        "sync" => Action::Sync,
        "sync+exec" => Action::SyncAndExec,
        "restart" => Action::Restart,
        "rebuild" => Action::Rebuild,
        other => {
            return Err(Failure::new(format!(
                "service `{service}`: `action: {other}` cannot be carried out"
            ))
            .because("a container that is restarted begins with the files of its image")
            .hint("`action: rebuild` builds the image again"));
        }
    };
    let patterns = |key: &str| -> Vec<Regex> {
        let list = entry[key].as_array().into_iter().flatten();
        list.filter_map(|pattern| glob(pattern.as_str()?)).collect()
    };
    let command = &entry["exec"]["command"];
    let exec = match command {
        Value::String(line) => ["sh", "-c", line].map(str::to_owned).to_vec(),
        words => words
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|word| word.as_str().map(str::to_owned))
            .collect(),
    };
    Ok(Rule {
        service: service.to_owned(),
        path: PathBuf::from(text("path")),
        target: PathBuf::from(text("target")),
        action,
        ignore: patterns("ignore"),
        include: patterns("include"),
        exec,
    })
}

/// A pattern of `.dockerignore`: `*`, `?` and `**`; it means what lies below as well.
fn glob(pattern: &str) -> Option<Regex> {
    let pattern = pattern.trim_start_matches("./").trim_matches('/');
    let mut text = String::from("^");
    let mut rest = pattern;
    while let Some(char) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("**/") {
            text.push_str("(.*/)?");
            rest = after;
        } else if let Some(after) = rest.strip_prefix("**") {
            text.push_str(".*");
            rest = after;
        } else {
            match char {
                '*' => text.push_str("[^/]*"),
                '?' => text.push_str("[^/]"),
                char => text.push_str(&regex::escape(&char.to_string())),
            }
            rest = &rest[char.len_utf8()..];
        }
    }
    text.push_str("(/.*)?$");
    Regex::new(&text).ok()
}

impl Rule {
    /// Where a changed path is below the rule's, unless it is ignored.
    fn matches<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        let inside = path.strip_prefix(&self.path).ok()?;
        let text = inside.to_string_lossy();
        let is_one = |patterns: &[Regex]| patterns.iter().any(|pattern| pattern.is_match(&text));
        let own = inside.components().any(|part| part.as_os_str() == ".git");
        let is_wanted = !own && !is_one(&self.ignore) && (self.include.is_empty() || is_one(&self.include));
        is_wanted.then_some(inside)
    }
}

/// What is to be done for a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Work {
    /// Where each changed path goes.
    sync: BTreeMap<PathBuf, PathBuf>,
    exec: Vec<Vec<String>>,
    restart: bool,
    rebuild: bool,
}

/// What follows from changes, for each service; who is built again needs nothing else.
fn decide(rules: &[Rule], changed: &BTreeSet<PathBuf>) -> BTreeMap<String, Work> {
    let mut all: BTreeMap<String, Work> = BTreeMap::new();
    for rule in rules {
        for path in changed {
            let Some(inside) = rule.matches(path) else {
                continue;
            };
            let work = all.entry(rule.service.clone()).or_default();
            match rule.action {
                Action::Rebuild => work.rebuild = true,
                Action::Restart => work.restart = true,
                Action::Sync | Action::SyncAndExec => {
                    let target = if inside.as_os_str().is_empty() {
                        rule.target.clone()
                    } else {
                        rule.target.join(inside)
                    };
                    work.sync.insert(path.clone(), target);
                }
            }
            if rule.action == Action::SyncAndExec && !work.exec.contains(&rule.exec) {
                work.exec.push(rule.exec.clone());
            }
        }
    }
    for work in all.values_mut().filter(|work| work.rebuild) {
        *work = Work {
            rebuild: true,
            ..Work::default()
        };
    }
    all
}

impl Work {
    fn words(&self) -> String {
        if self.rebuild {
            return "builds again".to_owned();
        }
        let mut words = Vec::new();
        if !self.sync.is_empty() {
            words.push(format!("copies {}", self.sync.len()));
        }
        if !self.exec.is_empty() {
            words.push("runs its command".to_owned());
        }
        if self.restart {
            words.push("restarts".to_owned());
        }
        words.join(", ")
    }

    async fn carry_out(
        &self,
        service: &str,
        place: &Place,
        cluster: &Cluster,
        project: &Project,
        is_bundled: bool,
    ) -> Result<(), Failure> {
        if self.rebuild {
            build::again(project, service, is_bundled, &place.settings)?;
            return restart::restart(place, cluster, &[service.to_owned()]).await;
        }
        if !self.sync.is_empty() {
            let present = |path: &&PathBuf| path.symlink_metadata().is_ok();
            let (there, gone): (Vec<_>, Vec<_>) = self.sync.keys().partition(present);
            if !there.is_empty() {
                let archive = archive(
                    there
                        .into_iter()
                        .map(|path| (path.as_path(), self.sync[path].as_path())),
                )?;
                let words = ["tar", "-xof", "-", "-C", "/"].map(str::to_owned).to_vec();
                in_container(place, cluster, service, words, &archive).await?;
            }
            if !gone.is_empty() {
                let mut words = ["rm", "-rf", "--"].map(str::to_owned).to_vec();
                words.extend(gone.iter().map(|path| self.sync[*path].display().to_string()));
                in_container(place, cluster, service, words, &[]).await?;
            }
        }
        for words in &self.exec {
            in_container(place, cluster, service, words.clone(), &[]).await?;
        }
        if self.restart {
            restart::restart(place, cluster, &[service.to_owned()]).await?;
        }
        Ok(())
    }
}

/// Files and folders as an archive, each at its place in the container.
fn archive<'a>(paths: impl Iterator<Item = (&'a Path, &'a Path)>) -> Result<Vec<u8>, Failure> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.follow_symlinks(false);
    for (path, target) in paths {
        let inside = target.strip_prefix("/").unwrap_or(target);
        let added = if path.is_dir() {
            builder.append_dir_all(inside, path)
        } else {
            builder.append_path_with_name(path, inside)
        };
        match added {
            // It was only there for a moment.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            other => other.map_err(|error| {
                Failure::new(format!("cannot read `{}`", path.display())).because_error(&error)
            })?,
        }
    }
    builder
        .into_inner()
        .map_err(|error| Failure::new("cannot make an archive").because_error(&error))
}

/// Runs a command in the containers of a service, with input; what it says is told when it fails.
async fn in_container(
    place: &Place,
    cluster: &Cluster,
    service: &str,
    command: Vec<String>,
    input: &[u8],
) -> Result<(), Failure> {
    let mut index = 1;
    loop {
        let (pod, container) = match exec::find(place, cluster, service, index).await {
            Ok(found) => found,
            Err(_) if index > 1 => return Ok(()),
            Err(failure) => return Err(failure),
        };
        let request = ExecRequest {
            command: command.clone(),
            stdin: true,
            stdout: true,
            stderr: true,
            tty: false,
        };
        let target = exec::target(&pod).subresource("exec");
        let mut session = cluster.api.exec(&target, &container, &request).await?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let write = async {
            if let Some(mut stdin) = session.stdin.take() {
                // A command that reads no more says why on its own.
                let _ = stdin.write_all(input).await;
                let _ = stdin.shutdown().await;
            }
        };
        let (mut out, mut err) = (session.stdout.take(), session.stderr.take());
        let read_out = async {
            if let Some(out) = &mut out {
                let _ = out.read_to_end(&mut stdout).await;
            }
        };
        let read_err = async {
            if let Some(err) = &mut err {
                let _ = err.read_to_end(&mut stderr).await;
            }
        };
        let ((), (), ()) = tokio::join!(write, read_out, read_err);
        let said = String::from_utf8_lossy(&stderr).trim().to_owned();
        let what = command.first().cloned().unwrap_or_default();
        match session.exit.await {
            Ok(ExecExit::Code(0)) => {}
            Ok(ExecExit::Code(code)) => {
                return Err(Failure::new(format!("`{what}` in `{service}` ended with {code}")).because(said));
            }
            Ok(ExecExit::Failed(why)) => {
                return Err(Failure::new(format!("`{what}` cannot be run in `{service}`")).because(why));
            }
            Err(_) => return Err(Failure::new("the connection was lost")),
        }
        index += 1;
    }
}

/// Folders that are followed, with all that is below them.
struct Folders {
    inotify: AsyncFd<OwnedFd>,
    paths: BTreeMap<i32, PathBuf>,
}

impl Folders {
    fn open() -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::new("cannot follow files").because_error(&error);
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
            .map_err(|error| failed(error.into()))?;
        #[expect(
            unsafe_code,
            reason = "an `OwnedFd` stays open, and the same, as long as it is owned"
        )]
        // SAFETY: the descriptor is valid, nobody else closes or replaces it, and `OwnedFd` always names the same.
        let inotify = unsafe { AsyncFd::register(inotify) };
        Ok(Self {
            inotify: inotify.map_err(|error| failed(error.into()))?,
            paths: BTreeMap::new(),
        })
    }

    /// Follows a folder and those below it, or a file's folder.
    fn follow(&mut self, path: &Path) -> Result<(), Failure> {
        let mut waiting = vec![if path.is_dir() {
            path.to_owned()
        } else {
            path.parent().unwrap_or(path).to_owned()
        }];
        let is_tree = path.is_dir();
        while let Some(folder) = waiting.pop() {
            if folder.ends_with(".git") {
                continue;
            }
            if self.paths.len() >= FOLDERS_MAX {
                return Err(Failure::new(format!(
                    "more than {FOLDERS_MAX} folders are to be followed"
                )));
            }
            let flags = WatchFlags::CLOSE_WRITE
                | WatchFlags::CREATE
                | WatchFlags::DELETE
                | WatchFlags::MOVED_FROM
                | WatchFlags::MOVED_TO
                | WatchFlags::ONLYDIR;
            match inotify::add_watch(self.inotify.get_ref(), &folder, flags) {
                Ok(id) => {
                    self.paths.insert(id, folder.clone());
                }
                // It is gone again.
                Err(rustix::io::Errno::NOENT) => continue,
                Err(error) => {
                    let error = std::io::Error::from(error);
                    return Err(
                        Failure::new(format!("cannot follow `{}`", folder.display())).because_error(&error)
                    );
                }
            }
            if !is_tree {
                return Ok(());
            }
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            waiting.extend(
                entries
                    .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                    .map(|entry| entry.path()),
            );
        }
        Ok(())
    }

    /// Waits for changes, until no more come for a moment; gives the paths.
    async fn changes(&mut self) -> Result<BTreeSet<PathBuf>, Failure> {
        let mut changed = BTreeSet::new();
        loop {
            let readable = self.inotify.readable();
            let mut guard = if changed.is_empty() {
                readable.await
            } else {
                match tokio::time::timeout(QUIET, readable).await {
                    Ok(guard) => guard,
                    Err(_) => return Ok(changed),
                }
            }
            .map_err(|error| Failure::new("cannot follow files").because_error(&error))?;
            let mut folders = Vec::new();
            {
                let mut buffer = [MaybeUninit::uninit(); 4096];
                let mut events = inotify::Reader::new(guard.get_inner(), &mut buffer);
                while let Ok(event) = events.next() {
                    let Some(folder) = self.paths.get(&event.wd()) else {
                        continue;
                    };
                    let Some(name) = event.file_name() else { continue };
                    let path = folder.join(name.to_string_lossy().as_ref());
                    let flags = event.events();
                    let is_folder = flags.contains(inotify::ReadFlags::ISDIR);
                    if is_folder
                        && flags.intersects(inotify::ReadFlags::CREATE | inotify::ReadFlags::MOVED_TO)
                    {
                        folders.push(path.clone());
                    }
                    // A file that was made says more when it is closed.
                    if is_folder || !flags.contains(inotify::ReadFlags::CREATE) || path.is_symlink() {
                        changed.insert(path);
                    }
                }
            }
            guard.clear_ready();
            drop(guard);
            for folder in folders {
                self.follow(&folder)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patterns_are_those_of_dockerignore() {
        let check = |pattern: &str, path: &str, expected: bool| {
            assert_eq!(
                glob(pattern).unwrap().is_match(path),
                expected,
                "{pattern} {path}"
            );
        };
        check("node_modules/", "node_modules/a/b.js", true);
        check("node_modules", "src/node_modules", false);
        check("**/node_modules", "src/node_modules/x", true);
        check("*.md", "README.md", true);
        check("*.md", "docs/README.md", false);
        check("**/*.md", "docs/README.md", true);
        check("a?c", "abc", true);
    }

    #[test]
    fn changes_are_work_for_services() {
        let entries = [
            (
                "web",
                json!({"action": "sync", "path": "/p/web", "target": "/srv", "ignore": ["tmp/"]}),
            ),
            ("web", json!({"action": "rebuild", "path": "/p/web/package.json"})),
            (
                "api",
                json!({"action": "sync+exec", "path": "/p/api", "target": "/api", "exec": {"command": "reload"}}),
            ),
            (
                "api",
                json!({"action": "restart", "path": "/p/etc", "include": ["*.conf"]}),
            ),
        ];
        let rules: Vec<Rule> = entries
            .iter()
            .map(|(service, entry)| rule(service, entry).unwrap())
            .collect();
        let check = |paths: &[&str], expected: &[(&str, &str)]| {
            let changed = paths.iter().map(PathBuf::from).collect();
            let work: Vec<(String, String)> = decide(&rules, &changed)
                .into_iter()
                .map(|(service, work)| (service, work.words()))
                .collect();
            let expected: Vec<(String, String)> = expected
                .iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect();
            assert_eq!(work, expected);
        };
        check(&["/p/web/a.js", "/p/web/b/c.js"], &[("web", "copies 2")]);
        check(&["/p/web/tmp/x", "/p/other"], &[]);
        check(
            &["/p/web/a.js", "/p/web/package.json"],
            &[("web", "builds again")],
        );
        check(
            &["/p/api/x", "/p/etc/a.conf"],
            &[("api", "copies 1, runs its command, restarts")],
        );
        check(&["/p/etc/a.txt"], &[]);
        let one = decide(&rules, &BTreeSet::from([PathBuf::from("/p/web/b/c.js")]));
        assert_eq!(
            one["web"].sync[Path::new("/p/web/b/c.js")],
            Path::new("/srv/b/c.js")
        );
    }

    #[test]
    fn err_an_action_that_a_cluster_cannot_carry_out() {
        let refused = rule(
            "web",
            &json!({"action": "sync+restart", "path": "/p", "target": "/srv"}),
        )
        .unwrap_err();
        assert!(
            refused.heading().contains("sync+restart"),
            "{}",
            refused.heading()
        );
    }
}
