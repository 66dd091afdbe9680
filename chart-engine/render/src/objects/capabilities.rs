//! `.Capabilities`

use std::any::Any;
use std::borrow::Cow;

use chart_template::{Contents, Fault, Kind, Object, Signature, Text, Type, Value};

use crate::capabilities::{Capabilities, KubeVersion};

/// What charts are told about Helm: the release whose behaviour is followed.
const HELM: [(&str, &str); 5] = [
    ("Version", "v4.3.1"),
    ("GitCommit", "c0d08d0d6d9424d4a14febb5e8a3e51b0dd00dff"),
    ("GitTreeState", "clean"),
    ("GoVersion", "go1.27.2"),
    ("KubeClientVersion", "v1.37"),
];

/// `.Capabilities`: what the cluster can do.
#[derive(Debug)]
pub(crate) struct CapabilitiesObject {
    capabilities: Capabilities,
}

impl CapabilitiesObject {
    pub(crate) fn new(capabilities: Capabilities) -> Self {
        CapabilitiesObject { capabilities }
    }
}

impl Object for CapabilitiesObject {
    fn type_name(&self) -> Cow<'_, str> {
        Cow::Borrowed("*common.Capabilities")
    }

    fn kind(&self) -> Kind {
        Kind::Pointer
    }

    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "KubeVersion" => Some(Value::object(KubeVersionObject {
                version: self.capabilities.kube_version.clone(),
            })),
            "APIVersions" => Some(Value::object(VersionSet {
                versions: self.capabilities.api_versions.clone(),
            })),
            "HelmVersion" => Some(Value::object(HelmVersion)),
            _ => None,
        }
    }

    fn print(&self) -> Cow<'_, str> {
        let KubeVersion {
            version,
            normalized,
            major,
            minor,
        } = &self.capabilities.kube_version;
        let versions = self.capabilities.api_versions.join(" ");
        Cow::Owned(format!(
            "&{{{{{version} {normalized} {major} {minor}}} [{versions}] {}}}",
            HelmVersion.print()
        ))
    }

    fn json_fields(&self) -> Option<Vec<(Text, Value)>> {
        fields(self, ["KubeVersion", "APIVersions", "HelmVersion"])
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The fields of those names, which are the same in JSON.
fn fields<const N: usize>(object: &impl Object, names: [&str; N]) -> Option<Vec<(Text, Value)>> {
    let field = |name| Some((Text::from(name), object.field(name)?));
    names.into_iter().map(field).collect()
}

#[derive(Debug)]
struct KubeVersionObject {
    version: KubeVersion,
}

impl Object for KubeVersionObject {
    fn type_name(&self) -> Cow<'_, str> {
        Cow::Borrowed("common.KubeVersion")
    }

    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "Version" => Some(self.version.version.as_str().into()),
            "Major" => Some(self.version.major.as_str().into()),
            "Minor" => Some(self.version.minor.as_str().into()),
            _ => None,
        }
    }

    fn method(&self, name: &str) -> Option<Signature> {
        matches!(name, "String" | "GitVersion").then_some(Signature::new(&[]))
    }

    fn call(&self, name: &str, _args: &[Value]) -> Result<Value, Fault> {
        let text = match name {
            "String" => &self.version.normalized,
            _ => &self.version.version,
        };
        Ok(text.as_str().into())
    }

    fn print(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.version.normalized)
    }

    fn json_fields(&self) -> Option<Vec<(Text, Value)>> {
        fields(self, ["Version", "Major", "Minor"])
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[derive(Debug)]
struct VersionSet {
    versions: Vec<String>,
}

impl Object for VersionSet {
    fn type_name(&self) -> Cow<'_, str> {
        Cow::Borrowed("common.VersionSet")
    }

    fn kind(&self) -> Kind {
        Kind::Slice
    }

    fn method(&self, name: &str) -> Option<Signature> {
        (name == "Has").then_some(Signature::new(&[Type::String]))
    }

    fn call(&self, _name: &str, args: &[Value]) -> Result<Value, Fault> {
        let wanted = args.first().and_then(Value::as_text);
        let has = wanted.is_some_and(|wanted| {
            self.versions
                .iter()
                .any(|known| known.as_bytes() == wanted.as_bytes())
        });
        Ok(has.into())
    }

    fn contents(&self) -> Option<Contents> {
        Some(Contents::Items(
            self.versions
                .iter()
                .map(|version| version.as_str().into())
                .collect(),
        ))
    }

    fn len(&self) -> Option<usize> {
        Some(self.versions.len())
    }

    fn print(&self) -> Cow<'_, str> {
        Cow::Owned(format!("[{}]", self.versions.join(" ")))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[derive(Debug)]
struct HelmVersion;

impl Object for HelmVersion {
    fn type_name(&self) -> Cow<'_, str> {
        Cow::Borrowed("version.BuildInfo")
    }

    fn field(&self, name: &str) -> Option<Value> {
        HELM.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| Value::from(*value))
    }

    fn print(&self) -> Cow<'_, str> {
        Cow::Owned(format!("{{{}}}", HELM.map(|(_, value)| value).join(" ")))
    }

    fn json_fields(&self) -> Option<Vec<(Text, Value)>> {
        let names = [
            "version",
            "git_commit",
            "git_tree_state",
            "go_version",
            "kube_client_version",
        ];
        let values = HELM.map(|(_, value)| Value::from(value));
        Some(names.map(Text::from).into_iter().zip(values).collect())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
