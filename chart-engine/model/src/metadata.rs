//! `Chart.yaml` and `Chart.lock`.

use std::collections::{BTreeMap, BTreeSet};

use chart_values::constraint::Version;
use chart_values::{Map, Value, number};

use crate::error::{MetadataError, ValidationError};

/// What `Chart.yaml` says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metadata {
    /// The name; an alias once dependencies were processed.
    pub name: String,
    /// The project's page.
    pub home: String,
    /// Where the sources are.
    pub sources: Vec<String>,
    /// The version.
    pub version: String,
    /// One sentence.
    pub description: String,
    /// Words to search for.
    pub keywords: Vec<String>,
    /// Who keeps the chart.
    pub maintainers: Vec<Maintainer>,
    /// A picture.
    pub icon: String,
    /// `v1`, `v2`, or empty.
    pub api_version: String,
    /// An unused condition of old charts.
    pub condition: String,
    /// Unused tags of old charts.
    pub tags: String,
    /// The version of the application inside.
    pub app_version: String,
    /// The chart is given up.
    pub deprecated: bool,
    /// Free texts; templates tell a table without entries from none at all.
    pub annotations: Option<BTreeMap<String, String>>,
    /// The constraint on the cluster's version.
    pub kube_version: String,
    /// The charts it needs.
    pub dependencies: Vec<Dependency>,
    /// `application`, `library`, or empty.
    pub kind: String,
}

/// Who keeps a chart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Maintainer {
    /// The name.
    pub name: String,
    /// The address.
    pub email: String,
    /// A page.
    pub url: String,
}

/// A chart that a chart needs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dependency {
    /// Its name; its alias once dependencies were processed.
    pub name: String,
    /// The constraint on its version.
    pub version: String,
    /// Where to get it.
    pub repository: String,
    /// Paths of values that switch it, separated by commas.
    pub condition: String,
    /// Names of switches in `tags`.
    pub tags: Vec<String>,
    /// Set once dependencies were processed.
    pub enabled: bool,
    /// Values that its parent takes over.
    pub import_values: Vec<ImportValues>,
    /// Another name for it.
    pub alias: String,
    /// Dependencies that must be ready before it, as HIP-0025 has them.
    pub depends_on: Vec<String>,
}

/// Values that a parent takes over from a subchart.
#[derive(Debug, Clone, PartialEq)]
pub enum ImportValues {
    /// The table `exports.NAME` of the subchart, into the root of the parent.
    Export(String),
    /// A table of the subchart into a table of the parent.
    Table {
        /// Its path in the subchart.
        child: String,
        /// Its path in the parent.
        parent: String,
    },
    /// Something that Helm passes over.
    Other(Value),
}

/// What a chart is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChartKind {
    /// Something to install.
    Application,
    /// Definitions for other charts.
    Library,
}

/// What `Chart.lock` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lock {
    /// When it was written, as it stands there.
    pub generated: String,
    /// The digest over the dependencies.
    pub digest: String,
    /// The resolved dependencies.
    pub dependencies: Vec<LockedDependency>,
}

/// A dependency with the version that was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LockedDependency {
    /// The chart's name.
    pub name: String,
    /// The version.
    pub version: String,
    /// Where it comes from.
    pub repository: String,
}

impl Metadata {
    /// Takes the fields out of what `Chart.yaml` holds.
    ///
    /// Numbers and truth values become texts where texts are wanted (`appVersion: 1.10` is `1.1`), fields that nobody
    /// knows are passed over.
    pub fn from_value(value: &Value) -> Result<Metadata, MetadataError> {
        let mut metadata = Metadata::default();
        metadata.update(value)?;
        Ok(metadata)
    }

    /// Takes over the fields that `value` has; `requirements.yaml` adds its dependencies so.
    pub(crate) fn update(&mut self, value: &Value) -> Result<(), MetadataError> {
        let fields = match value {
            Value::Null => return Ok(()),
            Value::Map(map) => Fields {
                map,
                prefix: String::new(),
            },
            other => {
                return Err(MetadataError::NotATable {
                    found: go_json_kind(other),
                });
            }
        };
        fields.text("name", &mut self.name)?;
        fields.text("home", &mut self.home)?;
        fields.texts("sources", &mut self.sources)?;
        fields.text("version", &mut self.version)?;
        fields.text("description", &mut self.description)?;
        fields.texts("keywords", &mut self.keywords)?;
        fields.text("icon", &mut self.icon)?;
        fields.text("apiVersion", &mut self.api_version)?;
        fields.text("condition", &mut self.condition)?;
        fields.text("tags", &mut self.tags)?;
        fields.text("appVersion", &mut self.app_version)?;
        fields.flag("deprecated", &mut self.deprecated)?;
        fields.text_table("annotations", &mut self.annotations)?;
        fields.text("kubeVersion", &mut self.kube_version)?;
        fields.text("type", &mut self.kind)?;
        if let Some(items) = fields.tables("maintainers", "[]*v2.Maintainer")? {
            self.maintainers = items
                .iter()
                .enumerate()
                .map(Maintainer::from_entry)
                .collect::<Result<_, _>>()?;
        }
        if let Some(items) = fields.tables("dependencies", "[]*v2.Dependency")? {
            self.dependencies = items
                .iter()
                .enumerate()
                .map(Dependency::from_entry)
                .collect::<Result<_, _>>()?;
        }
        Ok(())
    }

    /// The fields as `Chart.yaml` has them, empty ones left out.
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        let mut put = |key: &str, text: &str| {
            if !text.is_empty() {
                map.insert(key.to_owned(), text.into());
            }
        };
        put("name", &self.name);
        put("home", &self.home);
        put("version", &self.version);
        put("description", &self.description);
        put("icon", &self.icon);
        put("apiVersion", &self.api_version);
        put("condition", &self.condition);
        put("tags", &self.tags);
        put("appVersion", &self.app_version);
        put("kubeVersion", &self.kube_version);
        put("type", &self.kind);
        let mut put_list = |key: &str, items: Vec<Value>| {
            if !items.is_empty() {
                map.insert(key.to_owned(), Value::List(items));
            }
        };
        let texts = |items: &[String]| items.iter().map(|item| Value::from(item.as_str())).collect();
        put_list("sources", texts(&self.sources));
        put_list("keywords", texts(&self.keywords));
        put_list(
            "maintainers",
            self.maintainers.iter().map(Maintainer::to_value).collect(),
        );
        put_list(
            "dependencies",
            self.dependencies.iter().map(Dependency::to_value).collect(),
        );
        if self.deprecated {
            map.insert("deprecated".to_owned(), true.into());
        }
        if let Some(annotations) = self.annotations.as_ref().filter(|texts| !texts.is_empty()) {
            let annotations = annotations
                .iter()
                .map(|(key, text)| (key.as_str(), text.as_str()));
            map.insert("annotations".to_owned(), annotations.collect());
        }
        Value::Map(map)
    }

    /// What the chart is for; `None` for a type that is neither.
    pub fn chart_kind(&self) -> Option<ChartKind> {
        match self.kind.as_str() {
            "" | "application" => Some(ChartKind::Application),
            "library" => Some(ChartKind::Library),
            _ => None,
        }
    }

    /// Checks the rules that a chart must keep to be loaded, and cleans the texts of control characters.
    pub fn validate(&mut self) -> Result<(), ValidationError> {
        if self.api_version.is_empty() {
            return Err(ValidationError::Required { field: "apiVersion" });
        }
        if self.name.is_empty() {
            return Err(ValidationError::Required { field: "name" });
        }
        self.clean();
        if self.name.contains('/') || self.name == "." || self.name == ".." {
            return Err(ValidationError::Name {
                name: self.name.clone(),
            });
        }
        if self.version.is_empty() {
            return Err(ValidationError::Required { field: "version" });
        }
        if self.version.parse::<Version>().is_err() {
            return Err(ValidationError::Version {
                version: self.version.clone(),
            });
        }
        if self.chart_kind().is_none() {
            return Err(ValidationError::Kind {
                kind: self.kind.clone(),
            });
        }
        if self
            .maintainers
            .iter()
            .any(|maintainer| *maintainer == Maintainer::missing())
        {
            return Err(ValidationError::EmptyMaintainer);
        }
        let mut names = BTreeSet::new();
        for dependency in &self.dependencies {
            if *dependency == Dependency::missing() {
                return Err(ValidationError::EmptyDependency);
            }
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
            if !dependency.alias.bytes().all(allowed) {
                return Err(ValidationError::Alias {
                    name: dependency.name.clone(),
                });
            }
            if !names.insert(dependency.effective_name()) {
                let name = dependency.effective_name().to_owned();
                return Err(ValidationError::DuplicateDependency { name });
            }
        }
        Ok(())
    }

    fn clean(&mut self) {
        let texts = [
            &mut self.name,
            &mut self.home,
            &mut self.description,
            &mut self.version,
            &mut self.icon,
            &mut self.condition,
            &mut self.tags,
            &mut self.app_version,
            &mut self.kube_version,
        ];
        let lists = self.sources.iter_mut().chain(self.keywords.iter_mut());
        let maintainers = self
            .maintainers
            .iter_mut()
            .filter(|maintainer| **maintainer != Maintainer::missing())
            .flat_map(|maintainer| [&mut maintainer.name, &mut maintainer.email, &mut maintainer.url]);
        let dependencies = self
            .dependencies
            .iter_mut()
            .filter(|dependency| **dependency != Dependency::missing())
            .flat_map(|dependency| {
                [
                    &mut dependency.name,
                    &mut dependency.version,
                    &mut dependency.repository,
                    &mut dependency.condition,
                ]
                .into_iter()
                .chain(dependency.tags.iter_mut())
            });
        for text in texts
            .into_iter()
            .chain(lists)
            .chain(maintainers)
            .chain(dependencies)
        {
            if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
                *text = printable(text);
            }
        }
    }
}

/// White space of every kind becomes a plain space, what cannot be printed goes.
fn printable(text: &str) -> String {
    text.chars()
        .filter_map(|c| {
            if c.is_whitespace() {
                Some(' ')
            } else {
                (!c.is_control()).then_some(c)
            }
        })
        .collect()
}

impl Maintainer {
    fn from_entry((index, entry): (usize, &Value)) -> Result<Maintainer, MetadataError> {
        let Value::Map(map) = entry else {
            return Ok(Maintainer::missing());
        };
        let fields = Fields {
            map,
            prefix: format!(".maintainers.{index}"),
        };
        let mut maintainer = Maintainer::default();
        fields.text("name", &mut maintainer.name)?;
        fields.text("email", &mut maintainer.email)?;
        fields.text("url", &mut maintainer.url)?;
        Ok(maintainer)
    }

    fn to_value(&self) -> Value {
        let fields = [("name", &self.name), ("email", &self.email), ("url", &self.url)];
        fields
            .into_iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(key, text)| (key, text.as_str()))
            .collect()
    }

    /// Stands for an entry of the list that is `null`; no text in a file can hold this character and pass cleaning.
    fn missing() -> Maintainer {
        Maintainer {
            name: "\0".to_owned(),
            ..Maintainer::default()
        }
    }
}

impl Dependency {
    fn from_entry((index, entry): (usize, &Value)) -> Result<Dependency, MetadataError> {
        let Value::Map(map) = entry else {
            return Ok(Dependency::missing());
        };
        let fields = Fields {
            map,
            prefix: format!(".dependencies.{index}"),
        };
        let mut dependency = Dependency::default();
        fields.text("name", &mut dependency.name)?;
        fields.text("version", &mut dependency.version)?;
        fields.text("repository", &mut dependency.repository)?;
        fields.text("condition", &mut dependency.condition)?;
        fields.texts("tags", &mut dependency.tags)?;
        fields.texts("depends-on", &mut dependency.depends_on)?;
        fields.flag("enabled", &mut dependency.enabled)?;
        fields.text("alias", &mut dependency.alias)?;
        dependency.import_values = match fields.find("import-values") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::List(items)) => items.iter().map(ImportValues::from_value).collect(),
            Some(other) => return Err(fields.wrong("import-values", other, "[]interface {}")),
        };
        Ok(dependency)
    }

    fn missing() -> Dependency {
        Dependency {
            name: "\0".to_owned(),
            ..Dependency::default()
        }
    }

    fn to_value(&self) -> Value {
        let mut map = Map::new();
        map.insert("name".to_owned(), self.name.as_str().into());
        map.insert("repository".to_owned(), self.repository.as_str().into());
        let optional = [
            ("version", &self.version),
            ("condition", &self.condition),
            ("alias", &self.alias),
        ];
        for (key, text) in optional.into_iter().filter(|(_, text)| !text.is_empty()) {
            map.insert(key.to_owned(), text.as_str().into());
        }
        if !self.tags.is_empty() {
            map.insert("tags".to_owned(), self.tags.clone().into());
        }
        if !self.depends_on.is_empty() {
            map.insert("depends-on".to_owned(), self.depends_on.clone().into());
        }
        if self.enabled {
            map.insert("enabled".to_owned(), true.into());
        }
        if !self.import_values.is_empty() {
            let imports = self.import_values.iter().map(ImportValues::to_value).collect();
            map.insert("import-values".to_owned(), Value::List(imports));
        }
        Value::Map(map)
    }

    /// The alias, or else the name.
    pub fn effective_name(&self) -> &str {
        if self.alias.is_empty() {
            &self.name
        } else {
            &self.alias
        }
    }
}

impl ImportValues {
    fn from_value(value: &Value) -> ImportValues {
        let path = |map: &Map, key: &str| match map.get(key) {
            None | Some(Value::Null) => "<nil>".to_owned(),
            Some(value) => scalar_text(value).unwrap_or_default(),
        };
        match value {
            Value::String(name) => ImportValues::Export(name.clone()),
            Value::Map(map) => ImportValues::Table {
                child: path(map, "child"),
                parent: path(map, "parent"),
            },
            other => ImportValues::Other(other.clone()),
        }
    }
}

impl ImportValues {
    fn to_value(&self) -> Value {
        match self {
            ImportValues::Export(name) => name.as_str().into(),
            ImportValues::Table { child, parent } => [("child", child.as_str()), ("parent", parent.as_str())]
                .into_iter()
                .collect(),
            ImportValues::Other(value) => value.clone(),
        }
    }
}

impl Lock {
    /// The fields as `Chart.lock` has them.
    pub fn to_value(&self) -> Value {
        let dependencies = self.dependencies.iter().map(|locked| {
            let fields = [
                ("name", &locked.name),
                ("repository", &locked.repository),
                ("version", &locked.version),
            ];
            fields
                .into_iter()
                .map(|(key, text)| (key, text.as_str()))
                .collect()
        });
        Value::from_iter([
            ("generated", Value::from(self.generated.as_str())),
            ("digest", self.digest.as_str().into()),
            ("dependencies", Value::List(dependencies.collect())),
        ])
    }

    pub(crate) fn from_value(value: &Value) -> Result<Lock, MetadataError> {
        let mut lock = Lock::default();
        let Value::Map(map) = value else { return Ok(lock) };
        let fields = Fields {
            map,
            prefix: String::new(),
        };
        fields.text("generated", &mut lock.generated)?;
        fields.text("digest", &mut lock.digest)?;
        let entries = fields
            .tables("dependencies", "[]*v2.Dependency")?
            .unwrap_or_default();
        for (index, entry) in entries.iter().enumerate() {
            let Value::Map(map) = entry else { continue };
            let fields = Fields {
                map,
                prefix: format!(".dependencies.{index}"),
            };
            let mut locked = LockedDependency::default();
            fields.text("name", &mut locked.name)?;
            fields.text("version", &mut locked.version)?;
            fields.text("repository", &mut locked.repository)?;
            lock.dependencies.push(locked);
        }
        Ok(lock)
    }
}

/// The fields of a table, which Go finds whatever the case of their names.
struct Fields<'m> {
    map: &'m Map,
    prefix: String,
}

impl<'m> Fields<'m> {
    fn find(&self, name: &str) -> Option<&'m Value> {
        self.map.get(name).or_else(|| {
            self.map
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        })
    }

    fn wrong(&self, name: &str, found: &Value, wanted: &'static str) -> MetadataError {
        let field = format!("{}.{name}", self.prefix);
        MetadataError::WrongType {
            found: go_json_kind(found),
            field,
            item: false,
            wanted,
        }
    }

    fn wrong_item(&self, name: &str, index: usize, found: &Value, wanted: &'static str) -> MetadataError {
        let field = format!("{}.{name}.{index}", self.prefix);
        MetadataError::WrongType {
            found: go_json_kind(found),
            field,
            item: true,
            wanted,
        }
    }

    fn text(&self, name: &str, target: &mut String) -> Result<(), MetadataError> {
        match self.find(name) {
            None | Some(Value::Null) => {}
            Some(value) => {
                *target = scalar_text(value).ok_or_else(|| self.wrong(name, value, "string"))?;
            }
        }
        Ok(())
    }

    fn flag(&self, name: &str, target: &mut bool) -> Result<(), MetadataError> {
        match self.find(name) {
            None | Some(Value::Null) => {}
            Some(Value::Bool(flag)) => *target = *flag,
            Some(other) => return Err(self.wrong(name, other, "bool")),
        }
        Ok(())
    }

    fn texts(&self, name: &str, target: &mut Vec<String>) -> Result<(), MetadataError> {
        match self.find(name) {
            None | Some(Value::Null) => {}
            Some(Value::List(items)) => {
                *target = items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| match item {
                        Value::Null => Ok(String::new()),
                        item => scalar_text(item).ok_or_else(|| self.wrong_item(name, index, item, "string")),
                    })
                    .collect::<Result<_, _>>()?;
            }
            Some(other) => return Err(self.wrong(name, other, "[]string")),
        }
        Ok(())
    }

    fn text_table(
        &self,
        name: &str,
        target: &mut Option<BTreeMap<String, String>>,
    ) -> Result<(), MetadataError> {
        match self.find(name) {
            None | Some(Value::Null) => {}
            Some(Value::Map(map)) => {
                let target = target.get_or_insert_default();
                for (key, value) in map {
                    let text = match value {
                        Value::Null => String::new(),
                        value => scalar_text(value)
                            .ok_or_else(|| self.wrong(&format!("{name}.{key}"), value, "string"))?,
                    };
                    target.insert(key.clone(), text);
                }
            }
            Some(other) => return Err(self.wrong(name, other, "map[string]string")),
        }
        Ok(())
    }

    fn tables(&self, name: &str, wanted: &'static str) -> Result<Option<&'m [Value]>, MetadataError> {
        match self.find(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::List(items)) => {
                match items
                    .iter()
                    .find(|item| !matches!(item, Value::Map(_) | Value::Null))
                {
                    Some(item) => Err(self.wrong(name, item, wanted.trim_start_matches("[]*"))),
                    None => Ok(Some(items)),
                }
            }
            Some(other) => Err(self.wrong(name, other, wanted)),
        }
    }
}

/// A scalar as text; `None` for lists and tables.
fn scalar_text(value: &Value) -> Option<String> {
    Some(match value {
        Value::String(text) => text.clone(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        // Whether a whole number was written with a point is not known any more; without one is by far more common.
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 1e18 => format!("{number:.0}"),
        Value::Float(number) => number::go_g(*number),
        Value::Null | Value::List(_) | Value::Map(_) => return None,
    })
}

fn go_json_kind(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "bool",
        other => other.json_kind(),
    }
}
