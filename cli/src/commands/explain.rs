//! What a person is told when an action does not go through, and what to type next.

use chart_release::StorageError;
use chart_release::action::ActionError;
use chart_release::apply::ApplyError;
use chart_release::render::RenderReleaseError;
use chart_render::RenderError;
use cluster_objects::{Status, StatusReason};

use crate::failure::{Failure, INTERRUPTED};

/// Adds hints to the error of an action.
pub(super) fn explain(error: &ActionError) -> Failure {
    let failure = Failure::from_error(error);
    if error.is_cancelled() {
        return failure.with_code(INTERRUPTED);
    }
    match error {
        ActionError::NameInUse { name, status } => {
            let failure = failure.because(format!("release `{name}` is {status}"));
            if status.is_pending() {
                failure.hint(format!(
                    "if nobody is at work on it: `tug uninstall {name}`, then install"
                ))
            } else {
                failure.hint(format!(
                    "`tug upgrade --install {name} CHART` changes it, `tug uninstall {name}` removes it"
                ))
            }
        }
        ActionError::NothingDeployed { name } => failure.hint(format!(
            "`tug upgrade --install {name} CHART` installs it; `tug list -A` lists releases"
        )),
        ActionError::InProgress {
            name,
            revision,
            status,
            holder,
        } => {
            let who = holder
                .as_ref()
                .map_or(String::new(), |holder| format!(", in the hands of {holder}"));
            failure
                .because(format!("revision {revision} of `{name}` is {status}{who}"))
                .hint(format!("if nobody is at work on it: `tug unlock {name}`"))
        }
        ActionError::NoRevision { known, .. } => with_revisions(failure, known),
        ActionError::Storage(storage) => explain_storage(failure, storage),
        ActionError::Apply(ApplyError::Conflict { .. }) => {
            failure.hint("`--force-conflicts` takes the fields over")
        }
        ActionError::Apply(apply) if apply.is_immutable() => {
            failure.hint("`--force-replace` deletes the object and makes it anew, `tug plan --detailed` shows what is lost")
        }
        ActionError::NotReplaced { .. } => {
            failure.hint("move what it holds, delete it by hand, and try again; or leave the field as it was")
        }
        ActionError::Apply(apply) => explain_status(failure, apply.status()),
        ActionError::Namespace { status, .. } | ActionError::Unreachable(status) => {
            explain_status(failure, Some(status))
        }
        ActionError::Render(error) => explain_rendering(error),
        ActionError::NotOwned { .. } => failure.hint("`--take-ownership` takes the object over"),
        _ => failure,
    }
}

fn explain_storage(failure: Failure, error: &StorageError) -> Failure {
    match error {
        StorageError::NotFound { name } => failure
            .because(format!("there is no release `{name}` in this namespace"))
            .hint("`tug list -A` lists releases of every namespace"),
        StorageError::NoRevision { known, .. } => with_revisions(failure, known),
        StorageError::Api { source, .. } => explain_status(failure, Some(source)),
        _ => failure,
    }
}

fn explain_status(failure: Failure, status: Option<&Status>) -> Failure {
    let Some(status) = status else {
        return failure;
    };
    let is_namespace = status.kind.as_deref() == Some("namespaces");
    match status.reason {
        StatusReason::NotFound if is_namespace => failure.hint("`--create-namespace` makes the namespace"),
        StatusReason::Unauthorized => failure.hint("the credentials of the kubeconfig are not accepted"),
        _ => failure,
    }
}

fn with_revisions(failure: Failure, known: &[u32]) -> Failure {
    let texts: Vec<String> = known.iter().map(ToString::to_string).collect();
    failure.hint(format!("revisions are: {}", texts.join(", ")))
}

/// Adds to an error of rendering the line of the template, and what to type next.
pub(super) fn explain_rendering(error: &RenderReleaseError) -> Failure {
    let failure = Failure::from_error(error);
    let RenderReleaseError::Render(error) = error else {
        return failure;
    };
    // What lies below the texts of templates is in them already.
    let failure = Failure::new(failure.heading());
    match error {
        RenderError::Template(fault) => match fault.place() {
            Some(place) if place.file != "gotpl" => {
                let snippet = place.snippet().replace('\n', "\n  ");
                failure.because(format!("{}:{}\n  {snippet}", place.file, place.line))
            }
            _ => failure,
        },
        RenderError::Schema(_) => failure.hint("`--skip-schema-validation` renders all the same"),
        RenderError::Manifests(fault) => match fault.line() {
            Some((number, line)) => failure.because(format!("line {number} of what it rendered: {line}")),
            None => failure,
        },
        _ => failure,
    }
}
