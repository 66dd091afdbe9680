//! The record of a release, field by field as Helm writes it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::chunks::Layout;
use crate::lease::Lease;
use crate::time::{self, ReleaseTime};

/// One revision of a release.
///
/// The JSON of Helm 3 and Helm 4 reads into it and comes out again with every field, also those that nobody here
/// knows. Labels are kept on the Secret, not in the JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Release {
    /// Name of the release.
    pub name: String,
    /// State, times, notes.
    pub info: Info,
    /// The chart, without its subcharts: Helm does not store those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chart: Option<StoredChart>,
    /// Values that the user gave.
    #[serde(skip_serializing_if = "Map::is_empty", deserialize_with = "null_as_default")]
    pub config: Map<String, Value>,
    /// Objects that are applied, as YAML.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub manifest: String,
    /// Objects that are run at events.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub hooks: Vec<Hook>,
    /// The revision, from 1.
    #[serde(rename = "version", skip_serializing_if = "is_zero")]
    pub revision: u32,
    /// Namespace of the release.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// How the objects were applied.
    #[serde(default, skip_serializing_if = "ApplyMethod::is_unset")]
    pub apply_method: ApplyMethod,
    /// Fields of other versions of Helm, kept.
    #[serde(flatten)]
    pub other: Map<String, Value>,
    /// Labels that the user gave.
    #[serde(skip)]
    pub labels: BTreeMap<String, String>,
    /// All labels of the Secret as it was read, Helm's own with them; empty on a release that was not read.
    #[serde(skip)]
    pub stored_labels: BTreeMap<String, String>,
    /// Who is at work on the revision, as annotations of the Secret say.
    #[serde(skip)]
    pub lease: Option<Lease>,
    /// How the record is kept.
    #[serde(skip)]
    pub layout: Layout,
}

/// State, times and notes of a revision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    /// When the release was first installed.
    #[serde(with = "time::optional", skip_serializing_if = "Option::is_none")]
    pub first_deployed: Option<ReleaseTime>,
    /// When this revision was made.
    #[serde(with = "time::optional", skip_serializing_if = "Option::is_none")]
    pub last_deployed: Option<ReleaseTime>,
    /// When the release was uninstalled.
    #[serde(with = "time::optional", skip_serializing_if = "Option::is_none")]
    pub deleted: Option<ReleaseTime>,
    /// What happened, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// State.
    pub status: ReleaseStatus,
    /// The revision that this one returned to.
    #[serde(skip_serializing_if = "is_zero")]
    pub rollback_revision: u32,
    /// Rendered `NOTES.txt`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// Fields of other versions of Helm, kept.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// State of a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseStatus {
    /// Nothing is known; Helm's first state.
    #[default]
    #[serde(alias = "")]
    Unknown,
    /// In force.
    Deployed,
    /// Uninstalled with its history kept.
    Uninstalled,
    /// A later revision is in force.
    Superseded,
    /// Did not go through.
    Failed,
    /// Being uninstalled.
    Uninstalling,
    /// Being installed.
    PendingInstall,
    /// Being upgraded to.
    PendingUpgrade,
    /// Being rolled back to.
    PendingRollback,
    /// A state of another version of Helm.
    #[serde(untagged)]
    Other(String),
}

/// How the objects of a revision were applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApplyMethod {
    /// Not said: by the client, as Helm 3 does.
    #[default]
    #[serde(rename = "")]
    Unset,
    /// By the client.
    #[serde(rename = "csa")]
    Client,
    /// By the server.
    #[serde(rename = "ssa")]
    Server,
    /// A method of another version of Helm.
    #[serde(untagged)]
    Other(String),
}

/// An object that is run at events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hook {
    /// Name of the object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Kind of the object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Template that rendered it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// The object as YAML.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub manifest: String,
    /// When it is run.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub events: Vec<HookEvent>,
    /// Its last run.
    pub last_run: HookRun,
    /// Lower weights are run first.
    #[serde(skip_serializing_if = "is_zero_weight")]
    pub weight: i64,
    /// When it is deleted.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub delete_policies: Vec<HookDeletePolicy>,
    /// When its logs are printed.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub output_log_policies: Vec<HookLogPolicy>,
    /// Fields of other versions of Helm, kept.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The last run of a hook.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HookRun {
    /// When it began.
    #[serde(with = "time::optional", skip_serializing_if = "Option::is_none")]
    pub started_at: Option<ReleaseTime>,
    /// When it ended.
    #[serde(with = "time::optional", skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<ReleaseTime>,
    /// How it went.
    pub phase: HookPhase,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)*
            /// A word of another version of Helm.
            #[serde(untagged)]
            Other(String),
        }

        impl $name {
            /// The word as it stands in records and annotations.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(text) => text,
                }
            }

            /// Reads a word; unknown words are `None`.
            pub fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($text => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// When a hook is run.
    HookEvent {
        /// Before objects are installed.
        PreInstall = "pre-install",
        /// After objects are installed.
        PostInstall = "post-install",
        /// Before objects are deleted.
        PreDelete = "pre-delete",
        /// After objects are deleted.
        PostDelete = "post-delete",
        /// Before objects are upgraded.
        PreUpgrade = "pre-upgrade",
        /// After objects are upgraded.
        PostUpgrade = "post-upgrade",
        /// Before objects are rolled back.
        PreRollback = "pre-rollback",
        /// After objects are rolled back.
        PostRollback = "post-rollback",
        /// When the release is tested.
        Test = "test",
    }
}

words! {
    /// When a hook's object is deleted.
    HookDeletePolicy {
        /// Before it is run the next time.
        BeforeHookCreation = "before-hook-creation",
        /// When it went well.
        HookSucceeded = "hook-succeeded",
        /// When it failed.
        HookFailed = "hook-failed",
    }
}

words! {
    /// When a hook's logs are printed.
    HookLogPolicy {
        /// When it went well.
        HookSucceeded = "hook-succeeded",
        /// When it failed.
        HookFailed = "hook-failed",
    }
}

words! {
    /// How a run of a hook went.
    #[derive(Default)]
    HookPhase {
        /// It was not run.
        #[default]
        NotRun = "",
        /// It is not known.
        Unknown = "Unknown",
        /// It is going on.
        Running = "Running",
        /// It went well.
        Succeeded = "Succeeded",
        /// It failed.
        Failed = "Failed",
    }
}

/// A chart as a record holds it: a JSON map of which a few parts are read here, kept whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoredChart(pub Map<String, Value>);

impl StoredChart {
    /// A text of `Chart.yaml`, as `version`; empty where absent.
    pub fn metadata_text(&self, field: &str) -> &str {
        let found = self.metadata().and_then(|metadata| metadata.get(field));
        found.and_then(Value::as_str).unwrap_or_default()
    }

    /// `Chart.yaml`.
    pub fn metadata(&self) -> Option<&Map<String, Value>> {
        self.0.get("metadata")?.as_object()
    }

    /// Name of the chart.
    pub fn name(&self) -> &str {
        self.metadata_text("name")
    }

    /// Version of the chart.
    pub fn version(&self) -> &str {
        self.metadata_text("version")
    }

    /// Default values of the chart.
    pub fn values(&self) -> Option<&Map<String, Value>> {
        self.0.get("values")?.as_object()
    }
}

impl Release {
    /// `NAME-VERSION` of the chart, as lists show it.
    pub fn chart_label(&self) -> String {
        match &self.chart {
            Some(chart) if !chart.name().is_empty() => format!("{}-{}", chart.name(), chart.version()),
            // Helm's own word for a record that lost its chart.
            _ => "MISSING".to_owned(),
        }
    }

    /// `appVersion` of the chart.
    pub fn app_version(&self) -> &str {
        match &self.chart {
            Some(chart) if !chart.name().is_empty() => chart.metadata_text("appVersion"),
            _ => "MISSING",
        }
    }

    /// Sets state and description together.
    pub fn set_status(&mut self, status: ReleaseStatus, description: impl Into<String>) {
        self.info.status = status;
        self.info.description = description.into();
    }

    /// The hooks of an event, in the order in which they are run: by weight, then by name.
    pub fn hooks_at(&self, event: &HookEvent) -> Vec<usize> {
        let mut found: Vec<usize> = (0..self.hooks.len())
            .filter(|index| self.hooks[*index].events.contains(event))
            .collect();
        found.sort_by(|a, b| {
            let key = |index: usize| (self.hooks[index].weight, self.hooks[index].name.as_str());
            key(*a).cmp(&key(*b))
        });
        found
    }
}

impl ReleaseStatus {
    /// The states that Helm knows.
    pub const ALL: [Self; 9] = [
        Self::Unknown,
        Self::Deployed,
        Self::Uninstalled,
        Self::Superseded,
        Self::Failed,
        Self::Uninstalling,
        Self::PendingInstall,
        Self::PendingUpgrade,
        Self::PendingRollback,
    ];

    /// The word as it stands in records and labels.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Unknown => "unknown",
            Self::Deployed => "deployed",
            Self::Uninstalled => "uninstalled",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
            Self::Uninstalling => "uninstalling",
            Self::PendingInstall => "pending-install",
            Self::PendingUpgrade => "pending-upgrade",
            Self::PendingRollback => "pending-rollback",
            Self::Other(text) => text,
        }
    }

    /// Reads a word; a word that is not known is kept.
    pub fn from_word(word: &str) -> Self {
        let known = Self::ALL.into_iter().find(|status| status.as_str() == word);
        known.unwrap_or_else(|| Self::Other(word.to_owned()))
    }

    /// Whether somebody was at work when the record was written.
    pub fn is_pending(&self) -> bool {
        matches!(
            self,
            Self::PendingInstall | Self::PendingUpgrade | Self::PendingRollback
        )
    }
}

impl fmt::Display for ReleaseStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ApplyMethod {
    fn is_unset(&self) -> bool {
        *self == Self::Unset
    }

    /// As `get metadata` shows it.
    pub fn describe(&self) -> &str {
        match self {
            Self::Server => "server-side apply",
            Self::Client => "client-side apply",
            Self::Unset => "client-side apply (defaulted)",
            Self::Other(text) => text,
        }
    }
}

impl HookRun {
    /// Whether the hook was never run.
    pub fn is_unset(&self) -> bool {
        self.started_at.is_none()
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_zero_weight(weight: &i64) -> bool {
    *weight == 0
}

/// Go writes absent lists and maps as `null`.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
