//! Hooks: manifests that run at a point of a release's life and are not part of it.

use crate::manifest::Head;

const WEIGHT: &str = "helm.sh/hook-weight";
const DELETE_POLICY: &str = "helm.sh/hook-delete-policy";
const OUTPUT_LOG_POLICY: &str = "helm.sh/hook-output-log-policy";

/// A hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The name of the object.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// The template it comes from.
    pub path: String,
    /// Its YAML.
    pub manifest: String,
    /// When it runs.
    pub events: Vec<HookEvent>,
    /// Hooks of one event run from the lowest weight up.
    pub weight: i64,
    /// When its object is deleted.
    pub delete_policies: Vec<HookDeletePolicy>,
    /// When its logs are kept.
    pub output_log_policies: Vec<HookOutputLogPolicy>,
}

macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$word_about:meta])* $variant:ident = $word:literal $(| $also:literal)*,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$word_about])* $variant,)*
        }

        impl $name {
            /// Reads the word of an annotation.
            pub fn parse(word: &str) -> Option<Self> {
                match word {
                    $($word $(| $also)* => Some($name::$variant),)*
                    _ => None,
                }
            }

            /// The word for it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)*
                }
            }
        }
    };
}

words! {
    /// When a hook runs.
    HookEvent {
        /// Before the first install.
        PreInstall = "pre-install",
        /// After it.
        PostInstall = "post-install",
        /// Before everything is deleted.
        PreDelete = "pre-delete",
        /// After it.
        PostDelete = "post-delete",
        /// Before an upgrade.
        PreUpgrade = "pre-upgrade",
        /// After it.
        PostUpgrade = "post-upgrade",
        /// Before a rollback.
        PreRollback = "pre-rollback",
        /// After it.
        PostRollback = "post-rollback",
        /// When the release is tested.
        Test = "test" | "test-success",
    }
}

words! {
    /// When the object of a hook is deleted.
    HookDeletePolicy {
        /// Once it has done its work.
        HookSucceeded = "hook-succeeded",
        /// Once it has failed.
        HookFailed = "hook-failed",
        /// Before it is made anew.
        BeforeHookCreation = "before-hook-creation",
    }
}

words! {
    /// When the logs of a hook are kept.
    HookOutputLogPolicy {
        /// When it has done its work.
        HookSucceeded = "hook-succeeded",
        /// When it has failed.
        HookFailed = "hook-failed",
    }
}

impl Hook {
    /// The hook that a manifest is, given its `helm.sh/hook` annotation; `None` if that names an event nobody knows.
    pub(crate) fn new(events: &str, head: &Head, path: &str, manifest: String) -> Option<Hook> {
        let events = events
            .split(',')
            .map(|word| HookEvent::parse(&word.trim().to_lowercase()))
            .collect::<Option<Vec<_>>>()?;
        let annotation = |name: &str| head.annotations.get(name).map(String::as_str);
        let list = |name: &str| {
            let words = annotation(name).into_iter().flat_map(|words| words.split(','));
            words.map(|word| word.trim().to_lowercase())
        };
        Some(Hook {
            name: head.name.clone(),
            kind: head.kind.clone(),
            path: path.to_owned(),
            manifest,
            events,
            weight: annotation(WEIGHT)
                .and_then(|weight| weight.parse().ok())
                .unwrap_or(0),
            delete_policies: list(DELETE_POLICY)
                .filter_map(|word| HookDeletePolicy::parse(&word))
                .collect(),
            output_log_policies: list(OUTPUT_LOG_POLICY)
                .filter_map(|word| HookOutputLogPolicy::parse(&word))
                .collect(),
        })
    }

    /// Tells whether it is a test.
    pub fn is_test(&self) -> bool {
        self.events.contains(&HookEvent::Test)
    }
}
