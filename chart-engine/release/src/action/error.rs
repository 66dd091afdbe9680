//! Why an action did not go through.

use cluster_objects::Status;

use crate::action::saved::SavedPlanError;
use crate::apply::ApplyError;
use crate::hooks::HookError;
use crate::manifest::ManifestError;
use crate::name::NameError;
use crate::order::Cycle;
use crate::ownership::NotOwned;
use crate::render::RenderReleaseError;
use crate::resource::UnknownKinds;
use crate::storage::StorageError;
use crate::wait::WaitError;

/// Why an action did not go through. Where Helm has a wording, it is Helm's.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    /// The name is no name of a release.
    #[error("release name check failed: {0}")]
    Name(#[from] NameError),
    /// The name is no name of a release, for actions on one that is there.
    #[error("release name is invalid: {name}")]
    InvalidName {
        /// The name.
        name: String,
    },
    /// A release of that name is there.
    #[error("cannot reuse a name that is still in use")]
    NameInUse {
        /// The name.
        name: String,
        /// Its last state.
        status: crate::ReleaseStatus,
    },
    /// There is nothing that could be upgraded.
    #[error("\"{name}\" has no deployed releases")]
    NothingDeployed {
        /// The name.
        name: String,
    },
    /// Somebody is at work on the release, or was and died.
    #[error("another operation (install/upgrade/rollback) is in progress")]
    InProgress {
        /// The name.
        name: String,
        /// The revision that is pending.
        revision: u32,
        /// Its state.
        status: crate::ReleaseStatus,
        /// Who is at work, where that is known.
        holder: Option<String>,
    },
    /// What is to be carried out is no plan.
    #[error(transparent)]
    Plan(SavedPlanError),
    /// A plan is no longer what would happen.
    #[error("the plan is out of date: {reason}")]
    PlanMoved {
        /// What has moved.
        reason: String,
    },
    /// A resource definition would take away what is in use.
    #[error("CustomResourceDefinition {name:?} is not changed: {reason}")]
    Definition {
        /// The definition.
        name: String,
        /// What is in use.
        reason: String,
    },
    /// Objects wait for each other in a circle.
    #[error("the objects of the release cannot be put in order: {0}")]
    Order(#[from] Cycle),
    /// A transaction was refused as a whole.
    #[error("the transaction was refused: {0}")]
    Transaction(#[source] Status),
    /// The release has no such revision.
    #[error("release has no {revision} version")]
    NoRevision {
        /// The name.
        name: String,
        /// The revision asked for.
        revision: u32,
        /// The revisions there are.
        known: Vec<u32>,
    },
    /// The release is uninstalled and only its history is kept.
    #[error("the release named {name:?} is already deleted")]
    AlreadyUninstalled {
        /// The name.
        name: String,
    },
    /// Labels that only Helm itself may set.
    #[error(
        "user supplied labels contains system reserved label name. System labels: [{}]",
        crate::SYSTEM_LABELS.join(" ")
    )]
    ReservedLabels {
        /// The labels.
        labels: Vec<String>,
    },
    /// The description is too long.
    #[error("description must be 256 characters or less, got {length}")]
    LongDescription {
        /// Its length.
        length: usize,
    },
    /// A library chart was to be installed.
    #[error("library charts are not installable")]
    LibraryChart,
    /// Records cannot be read or written.
    #[error(transparent)]
    Storage(StorageError),
    /// The chart does not render.
    #[error(transparent)]
    Render(#[from] Box<RenderReleaseError>),
    /// A rendered document is no object.
    #[error("unable to build kubernetes objects from release manifest: {0}")]
    Manifest(#[source] ManifestError),
    /// The cluster does not serve a kind.
    #[error("unable to build kubernetes objects from release manifest: {0}")]
    UnknownKinds(#[source] UnknownKinds),
    /// An object is there that is not the release's.
    #[error(
        "unable to continue with {action}: {kind} {name:?} in namespace {namespace:?} exists and cannot be imported into the current release: {source}"
    )]
    NotOwned {
        /// `install`, `update`.
        action: &'static str,
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// Namespace of the object.
        namespace: String,
        /// What is missing on it.
        source: NotOwned,
    },
    /// An object was refused.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// An object cannot be changed, and must not be deleted to be made anew.
    #[error("{label} is not made anew, what it holds would be lost: {source}")]
    NotReplaced {
        /// `Kind/name`.
        label: String,
        /// Why it cannot be changed.
        source: ApplyError,
    },
    /// A hook did not go well.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// Objects did not become ready, or did not go.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// The namespace could not be made.
    #[error("cannot create namespace {namespace:?}: {status}")]
    Namespace {
        /// The namespace.
        namespace: String,
        /// Why.
        status: Status,
    },
    /// The cluster does not answer.
    #[error("kubernetes cluster unreachable: {0}")]
    Unreachable(#[source] Status),
    /// It failed, and what was done is undone.
    #[error("release {name} failed, and has been {undone} due to rollback-on-failure being set: {source}")]
    Undone {
        /// The name.
        name: String,
        /// `uninstalled` or `rolled back`.
        undone: &'static str,
        /// Why it failed.
        source: Box<ActionError>,
    },
    /// It failed, and so did undoing it.
    #[error("an error occurred while {undoing} the release. original error: {source}: {failure}")]
    NotUndone {
        /// `uninstalling` or `rolling back`.
        undoing: &'static str,
        /// Why it failed.
        source: Box<ActionError>,
        /// Why it could not be undone.
        failure: Box<ActionError>,
    },
}

impl From<StorageError> for ActionError {
    fn from(error: StorageError) -> Self {
        match error {
            // It is not about the records when nobody answers.
            StorageError::Api { source, .. } if source.code == 503 => Self::Unreachable(source),
            error => Self::Storage(error),
        }
    }
}

impl From<RenderReleaseError> for ActionError {
    fn from(error: RenderReleaseError) -> Self {
        Self::Render(Box::new(error))
    }
}

impl ActionError {
    /// Whether somebody ended the action.
    pub fn is_cancelled(&self) -> bool {
        match self {
            Self::Apply(ApplyError::Cancelled) | Self::Wait(WaitError::Cancelled) => true,
            Self::Hook(error) => matches!(
                error.fault,
                crate::hooks::HookFault::Wait(WaitError::Cancelled)
                    | crate::hooks::HookFault::Apply(ApplyError::Cancelled)
            ),
            Self::Undone { source, .. } | Self::NotUndone { source, .. } => source.is_cancelled(),
            _ => false,
        }
    }

    /// Whether the release or revision is not there.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Storage(error) => error.is_not_found(),
            Self::NoRevision { .. } | Self::NothingDeployed { .. } => true,
            _ => false,
        }
    }
}
