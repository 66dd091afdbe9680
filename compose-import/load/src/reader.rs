//! From files to one model: interpolated, extended, included, merged and checked.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::dotenv;
use crate::error::Fault;
use crate::files::Files;
use crate::interpolate::{Environment, interpolate};
use crate::merge::{keep_unique, merge, merge_service, take_away};
use crate::node::{Data, Map, Node, Place, Sources};
use crate::paths::{Base, absolute, relative, resolve};
use crate::project::Warning;
use crate::set_aside::SetAside;
use crate::short::{each, write_out};
use crate::yaml::{Document, NOT_TEXT, read};
use crate::{rules, schema};

/// How deep files may extend or include one another.
const NESTING_MAX: usize = 100;

/// The name of what was read from the standard input.
pub(crate) const STDIN: &str = "(stdin)";

pub(crate) type Faults = Vec<Fault>;

/// What is read, and how far it is taken.
pub(crate) struct Reader<'a> {
    pub(crate) files: &'a dyn Files,
    pub(crate) home: Option<&'a Path>,
    pub(crate) stdin: Option<&'a [u8]>,
    pub(crate) interpolate: bool,
    pub(crate) sources: Sources,
    pub(crate) warnings: Vec<Warning>,
    /// Warnings already given.
    pub(crate) told: BTreeSet<String>,
    /// Files that were read for the project's name, and will be read again for what is in them.
    pub(crate) read_before: HashMap<String, Vec<Document>>,
    /// What is left out of files.
    pub(crate) aside: &'a mut SetAside,
}

/// A project that is being read: the main one, or an included one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// Its folder.
    pub(crate) folder: &'a Path,
    pub(crate) environment: &'a Environment,
    /// The files that include one another down to here.
    pub(crate) including: &'a [String],
}

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// As a part of a project.
    Model,
    /// To find a service in it.
    Base,
}

/// A service on the way along `extends`: its file and name.
type Chain = Vec<(String, String)>;

impl Reader<'_> {
    pub(crate) fn warn(&mut self, message: String, at: Place) {
        if self.told.insert(message.clone()) {
            let position = self.sources.position(at);
            self.warnings.push(Warning { message, position });
        }
    }

    pub(crate) fn fault(&self, message: impl Into<String>, at: Place) -> Faults {
        vec![Fault::new(message).at(self.sources.position(at))]
    }

    /// Reads files, each over the one before. Paths in the result start from `prefix`, if one is given.
    pub(crate) fn model(
        &mut self,
        names: &[String],
        scope: Scope<'_>,
        prefix: Option<&str>,
    ) -> Result<Node, Faults> {
        let mut model = Node::new(Data::Map(Map::new()), Place::default());
        for name in names {
            model = self.file(name, model, scope, Purpose::Model)?.0;
        }
        rules::fill_in(&mut model);
        let faults = rules::check(&mut model, &self.sources);
        if !faults.is_empty() {
            return Err(faults);
        }
        if let Some(folder) = prefix {
            let base = Base {
                folder,
                home: self.home,
            };
            resolve(&mut model, base, &self.sources)?;
        }
        inherit(&mut model, scope.environment);
        Ok(model)
    }

    /// The text of a file.
    pub(crate) fn text(&mut self, name: &str) -> Result<String, Fault> {
        let content = if name == "-" {
            self.stdin.map(<[u8]>::to_vec).unwrap_or_default()
        } else {
            self.files
                .read(Path::new(name))
                .map_err(|error| Fault::new(format!("open {name}: {}", os_words(&error))))?
        };
        String::from_utf8(content).map_err(|error| {
            let name = shown(name);
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = valid.iter().filter(|b| **b == b'\n').count() + 1;
            Fault::new(format!(
                "failed to parse {name}: yaml: line {line}: invalid UTF-8"
            ))
        })
    }

    /// The documents of a file.
    pub(crate) fn documents(&mut self, name: &str) -> Result<Vec<Document>, Faults> {
        if let Some(documents) = self.read_before.remove(name) {
            return Ok(documents);
        }
        let text = self.text(name)?;
        let shown = shown(name);
        let file = self.sources.add(shown);
        let mut documents = read(&text, file, shown, &self.sources)?;
        for document in &mut documents {
            self.aside.leave_out(&mut document.root, &self.sources);
        }
        Ok(documents)
    }

    /// Lays a file over the model. Also gives what its tags take away.
    fn file(
        &mut self,
        name: &str,
        mut model: Node,
        scope: Scope<'_>,
        purpose: Purpose,
    ) -> Result<(Node, Vec<Vec<String>>), Faults> {
        let shown = shown(name).to_owned();
        let mut resets = Vec::new();
        for document in self.documents(name)? {
            for at in document.forgotten {
                self.warn(
                    format!(
                        "`!reset` does not reach line {} by its alias, as in docker compose: write it there",
                        at.line
                    ),
                    at,
                );
            }
            let mut file = document.root;
            if file.as_map().is_none() {
                return Err(self.fault("top-level object must be a mapping", file.at));
            }
            self.check_keys(&file)?;
            if self.interpolate {
                interpolate(
                    &mut file,
                    scope.environment,
                    &self.sources,
                    &mut self.told,
                    &mut self.warnings,
                )?;
            }
            if purpose == Purpose::Model {
                self.extend_all(&mut file, name, scope, &document.resets)?;
            }
            take_away(&mut model, &document.resets);
            if purpose == Purpose::Model {
                self.include_all(&mut file, name, scope, &document.resets)?;
            }
            model = merge(model, file, &self.sources)?;
            keep_unique(&mut model, &self.sources)?;
            if purpose == Purpose::Model {
                let faults = schema::check(&model, &shown, &self.sources);
                if !faults.is_empty() {
                    return Err(faults);
                }
                if let Some(version) = model.as_map_mut().and_then(|map| map.remove("version")) {
                    self.warn(
                        format!(
                            "{shown}: the attribute `version` is obsolete, it will be ignored, please remove it to avoid potential confusion"
                        ),
                        version.at,
                    );
                }
            }
            write_out(&mut model, !self.interpolate, &self.sources, &mut self.warnings)?;
            keep_unique(&mut model, &self.sources)?;
            resets.extend(document.resets);
        }
        Ok((model, resets))
    }

    /// Every key must be a text.
    fn check_keys(&self, root: &Node) -> Result<(), Faults> {
        let mut faults = Vec::new();
        self.key_faults(root, "", &mut faults);
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn key_faults(&self, node: &Node, path: &str, faults: &mut Faults) {
        let below = |step: &str| match path {
            "" => step.to_owned(),
            path => format!("{path}.{step}"),
        };
        match &node.data {
            Data::Map(map) => {
                for (key, entry) in map {
                    if let Some(shown) = key.strip_prefix(NOT_TEXT) {
                        let place = if path.is_empty() {
                            "at top level".to_owned()
                        } else {
                            format!("in {path}")
                        };
                        let fault = Fault::new(format!("non-string key {place}: {shown}"))
                            .at(self.sources.position(entry.at))
                            .with_hint(format!("write it as a text: `\"{shown}\"`"));
                        faults.push(fault);
                    } else if matches!(entry.data, Data::Map(_) | Data::List(_)) {
                        self.key_faults(entry, &below(key), faults);
                    }
                }
            }
            Data::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    if matches!(item.data, Data::Map(_) | Data::List(_)) {
                        self.key_faults(item, &format!("{path}[{index}]"), faults);
                    }
                }
            }
            _ => {}
        }
    }

    // extends

    fn extend_all(
        &mut self,
        file: &mut Node,
        name: &str,
        scope: Scope<'_>,
        resets: &[Vec<String>],
    ) -> Result<(), Faults> {
        let Some(services) = file.as_map_mut().and_then(|map| map.get_mut("services")) else {
            return Ok(());
        };
        let at = services.at;
        if services.is_null() {
            return Ok(());
        }
        let Some(services) = services.as_map_mut() else {
            return Err(self.fault("services must be a mapping", at));
        };
        let names: Vec<String> = services.keys().cloned().collect();
        let mut faults = Vec::new();
        for service in names {
            if let Err(found) = self.extend(&service, services, name, scope, &Chain::new(), resets) {
                faults.extend(found);
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Lays a service over what it extends, and gives it.
    fn extend(
        &mut self,
        name: &str,
        services: &mut Map,
        file: &str,
        scope: Scope<'_>,
        chain: &Chain,
        resets: &[Vec<String>],
    ) -> Result<Option<Node>, Faults> {
        let Some(service) = services.get(name).filter(|service| !service.is_null()) else {
            return Ok(None);
        };
        let Some(map) = service.as_map() else {
            return Err(self.fault(format!("services.{name} must be a mapping"), service.at));
        };
        let Some(extends) = map.get("extends") else {
            return Ok(Some(service.clone()));
        };
        let at = extends.at;
        let (base_name, base_file) = match &extends.data {
            Data::Text(text) => (text.clone(), None),
            Data::Map(map) => match map.get("service").and_then(Node::as_str) {
                Some(service) => (
                    service.to_owned(),
                    map.get("file").and_then(Node::as_str).map(str::to_owned),
                ),
                None => return Err(self.fault(format!("extends.{name}.service is required"), at)),
            },
            _ => return Err(self.fault(format!("services.{name}.extends must be a string or mapping"), at)),
        };
        let link = (base_file.as_deref().unwrap_or(file).to_owned(), name.to_owned());
        let mut chain = chain.clone();
        if chain.contains(&link) || chain.len() >= NESTING_MAX {
            chain.push(link);
            return Err(self.fault(circle(&chain), at));
        }
        chain.push(link);
        let service = service.clone();
        let base = match &base_file {
            None => {
                if !services.contains_key(&base_name) {
                    let message = format!(
                        "cannot extend service \"{name}\" in {file}: service \"{base_name}\" not found"
                    );
                    return Err(self.fault(message, at));
                }
                self.extend(&base_name, services, file, scope, &chain, resets)?
            }
            Some(base_file) => {
                let (mut others, resets) = self.services_of(base_file, name, &base_name, file, scope, at)?;
                self.extend(&base_name, &mut others, base_file, scope, &chain, &resets)?
            }
        };
        let Some(base) = base else {
            return Ok(Some(service));
        };
        let mut wrapped = wrap(name, base);
        take_away(&mut wrapped, resets);
        let base = unwrap(wrapped, name);
        let mut merged = merge_service(name, base, service, &self.sources)?;
        if let Some(map) = merged.as_map_mut() {
            map.remove("extends");
        }
        services.insert(name.to_owned(), merged.clone());
        Ok(Some(merged))
    }

    /// The services of a file that one of them is extended from, with paths that start from the project's folder.
    fn services_of(
        &mut self,
        base_file: &str,
        name: &str,
        base_name: &str,
        file: &str,
        scope: Scope<'_>,
        at: Place,
    ) -> Result<(Map, Vec<Vec<String>>), Faults> {
        let path = absolute(scope.folder, base_file);
        let folder = path.parent().unwrap_or(Path::new("/"));
        let empty = Node::new(Data::Map(Map::new()), Place::default());
        let (mut model, resets) = self
            .file(&path.to_string_lossy(), empty, scope, Purpose::Base)
            .map_err(|faults| {
                let position = self.sources.position(at);
                faults
                    .into_iter()
                    .map(|fault| fault.at(position.clone()))
                    .collect::<Faults>()
            })?;
        let prefix = relative(scope.folder, folder);
        let base = Base {
            folder: &prefix,
            home: self.home,
        };
        resolve(&mut model, base, &self.sources)?;
        let services = model.as_map_mut().and_then(|map| map.remove("services"));
        let shown = path.to_string_lossy();
        let fault = |place: &str, why: &str| format!("cannot extend service \"{name}\" in {place}: {why}");
        let Some(services) = services else {
            return Err(self.fault(fault(&shown, "no services section"), at));
        };
        let Data::Map(services) = services.data else {
            return Err(self.fault(fault(&shown, "services must be a mapping"), at));
        };
        if !services.contains_key(base_name) {
            let why = format!("service \"{base_name}\" not found in {base_file}");
            return Err(self.fault(fault(file, &why), at));
        }
        Ok((services, resets))
    }

    // include

    fn include_all(
        &mut self,
        file: &mut Node,
        name: &str,
        scope: Scope<'_>,
        resets: &[Vec<String>],
    ) -> Result<(), Faults> {
        let Some(include) = file.as_map_mut().and_then(|map| map.remove("include")) else {
            return Ok(());
        };
        let at = include.at;
        let items = match include.data {
            Data::List(items) => items,
            Data::Null => return Ok(()),
            _ => return Err(self.fault("`include` must be a list", at)),
        };
        let mut including = scope.including.to_vec();
        including.push(name.to_owned());
        for item in items {
            let scope = Scope {
                including: &including,
                ..scope
            };
            let imported = self.include(&item, scope)?;
            self.import(file, imported, resets)?;
        }
        Ok(())
    }

    fn include(&mut self, item: &Node, scope: Scope<'_>) -> Result<Node, Faults> {
        let texts = |node: &Node| -> Option<Vec<String>> {
            match &node.data {
                Data::Text(text) => Some(vec![text.clone()]),
                Data::List(items) => items
                    .iter()
                    .map(|item| item.as_str().map(str::to_owned))
                    .collect(),
                _ => None,
            }
        };
        let field = |key: &str| item.get(key).and_then(texts).unwrap_or_default();
        let (paths, directory, env_files) = match &item.data {
            Data::Text(text) => (vec![text.clone()], None, Vec::new()),
            Data::Map(_) => (
                field("path"),
                item.get("project_directory")
                    .and_then(Node::as_str)
                    .map(str::to_owned),
                field("env_file"),
            ),
            _ => return Err(self.fault("include must be a string or mapping", item.at)),
        };
        let mut names = Vec::new();
        for path in &paths {
            let name = absolute(scope.folder, path).to_string_lossy().into_owned();
            if scope.including.contains(&name) || scope.including.len() > NESTING_MAX {
                let mut circle = scope.including.to_vec();
                circle.push(name);
                let message = format!(
                    "include cycle detected:\n{}\n include {}",
                    circle[0],
                    circle[1..].join("\n include ")
                );
                return Err(self.fault(message, item.at));
            }
            names.push(name);
        }
        let Some(first) = names.first() else {
            return Ok(Node::new(Data::Map(Map::new()), item.at));
        };
        let folder: PathBuf = match &directory {
            Some(directory) => absolute(scope.folder, directory),
            None => Path::new(first).parent().unwrap_or(Path::new("/")).to_owned(),
        };
        let env_files: Vec<PathBuf> = if env_files.is_empty() {
            let usual = folder.join(".env");
            if self.files.is_file(&usual) {
                vec![usual]
            } else {
                Vec::new()
            }
        } else {
            env_files
                .iter()
                .filter(|path| *path != "/dev/null")
                .map(|path| absolute(scope.folder, path))
                .collect()
        };
        let mut environment = scope.environment.clone();
        for path in &env_files {
            if !self.files.is_file(path) {
                let shown = path.display();
                return Err(self.fault(format!("stat {shown}: no such file or directory"), item.at));
            }
        }
        let read = self
            .env_files(&env_files, &environment)
            .map_err(|fault| vec![fault.at(self.sources.position(item.at))])?;
        for (key, value) in read {
            environment.entry(key).or_insert(value);
        }
        let prefix = relative(scope.folder, &folder);
        let inner = Scope {
            folder: &folder,
            environment: &environment,
            including: scope.including,
        };
        self.model(&names, inner, Some(&prefix)).map_err(|faults| {
            let position = self.sources.position(item.at);
            faults
                .into_iter()
                .map(|fault| fault.at(position.clone()))
                .collect()
        })
    }

    /// Puts what an included project has into the file that includes it. What both have, the file has the last word on.
    fn import(&mut self, file: &mut Node, imported: Node, resets: &[Vec<String>]) -> Result<(), Faults> {
        let Data::Map(imported) = imported.data else {
            return Ok(());
        };
        let Some(file) = file.as_map_mut() else {
            return Ok(());
        };
        for (kind, entries) in imported {
            if !matches!(
                kind.as_str(),
                "services" | "volumes" | "networks" | "secrets" | "configs" | "models"
            ) {
                continue;
            }
            let mut wrapped = Node::new(Data::Map(Map::from([(kind.clone(), entries)])), Place::default());
            take_away(&mut wrapped, resets);
            let Some(entries) = wrapped.as_map_mut().and_then(|map| map.remove(&kind)) else {
                continue;
            };
            let own = file.remove(&kind).filter(|own| !own.is_null());
            let merged = match own {
                None => entries,
                Some(own) => {
                    if let (Some(theirs), Some(ours)) = (entries.as_map(), own.as_map()) {
                        for (name, theirs) in theirs {
                            if let Some(ours) = ours.get(name)
                                && !ours.same(theirs)
                            {
                                self.warn(
                                    format!("{kind}.{name} is also in an included file; both are merged"),
                                    ours.at,
                                );
                            }
                        }
                    }
                    let wrap = |node: Node| {
                        Node::new(Data::Map(Map::from([(kind.clone(), node)])), Place::default())
                    };
                    let mut merged = merge(wrap(entries), wrap(own), &self.sources)?;
                    match merged.as_map_mut().and_then(|map| map.remove(&kind)) {
                        Some(merged) => merged,
                        None => continue,
                    }
                }
            };
            file.insert(kind, merged);
        }
        Ok(())
    }

    /// The variables of files, of which later ones win.
    pub(crate) fn env_files(
        &mut self,
        paths: &[PathBuf],
        environment: &Environment,
    ) -> Result<Environment, Fault> {
        let mut all = Environment::new();
        for path in paths {
            let shown = path.to_string_lossy().into_owned();
            let content = self.files.read(path).map_err(|error| {
                if error.kind() == std::io::ErrorKind::NotFound {
                    Fault::new(format!("couldn't find env file: {shown}"))
                } else {
                    Fault::new(format!("open {shown}: {}", os_words(&error)))
                }
            })?;
            let text = String::from_utf8_lossy(&content);
            let before = all.clone();
            let outside = |name: &str| environment.get(name).or_else(|| before.get(name)).cloned();
            let read = dotenv::parse(&text, &outside, &|_| None)
                .map_err(|fault| self.dotenv_fault(&shown, &fault, "failed to read"))?;
            for name in read.unset {
                self.warn(unset(&name), Place::default());
            }
            all.extend(read.values);
        }
        Ok(all)
    }

    pub(crate) fn dotenv_fault(&mut self, path: &str, fault: &dotenv::DotenvFault, verb: &str) -> Fault {
        let place = Place {
            file: self.sources.add(path),
            line: fault.line,
            column: 1,
        };
        Fault::new(format!("{verb} {path}: {}", fault.message)).at(self.sources.position(place))
    }
}

/// What is said of a variable without a value.
pub(crate) fn unset(name: &str) -> String {
    format!("The \"{name}\" variable is not set. Defaulting to a blank string.")
}

fn circle(chain: &Chain) -> String {
    let mut lines = vec!["Circular reference:".to_owned()];
    for (index, (file, service)) in chain.iter().enumerate() {
        let verb = if index == 0 { "" } else { "extends " };
        lines.push(format!("  {verb}{service} in {file}"));
    }
    lines.join("\n")
}

fn wrap(name: &str, service: Node) -> Node {
    let services = Node::new(
        Data::Map(Map::from([(name.to_owned(), service)])),
        Place::default(),
    );
    Node::new(
        Data::Map(Map::from([("services".to_owned(), services)])),
        Place::default(),
    )
}

fn unwrap(mut wrapped: Node, name: &str) -> Node {
    wrapped
        .as_map_mut()
        .and_then(|map| map.get_mut("services")?.as_map_mut()?.remove(name))
        .unwrap_or_else(|| Node::new(Data::Null, Place::default()))
}

/// Variables that a service names without a value take the environment's; secrets and configs do, too.
fn inherit(model: &mut Node, environment: &Environment) {
    let Some(file) = model.as_map_mut() else { return };
    each(file, "services", |_, service| {
        let variables = service
            .as_map_mut()
            .and_then(|map| map.get_mut("environment")?.as_list_mut());
        for item in variables.into_iter().flatten() {
            if let Data::Text(text) = &item.data
                && let Some(found) = environment.get(text)
            {
                item.data = Data::Text(format!("{text}={found}"));
            }
        }
    });
}

/// A file as messages name it.
pub(crate) fn shown(name: &str) -> &str {
    if name == "-" { STDIN } else { name }
}

/// What the system says, in the words that people know.
pub(crate) fn os_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.to_string(),
    }
}
