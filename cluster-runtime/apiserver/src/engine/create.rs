//! Making objects.

use std::sync::Arc;

use cluster_client::{Collection, WriteOptions};
use cluster_objects::registry::KindRow;
use cluster_objects::{Object, Status};
use cluster_store::{Change, Precondition};

use super::admission::{self, Admission, check_body};
use super::commit::{CommitFailure, Settle};
use super::stage::{Decision, Stage, stored_form};
use super::{ATTEMPTS_MAX, Engine, Written, key_of};
use crate::user::Caller;

/// An object as a client sent it.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// The object.
    pub object: Object,
    /// Paths of fields that stood twice in the text; the last one counted.
    pub duplicates: Vec<String>,
}

impl From<Object> for Body {
    fn from(object: Object) -> Self {
        Self {
            object,
            duplicates: Vec::new(),
        }
    }
}

impl Engine {
    /// Creates an object of a collection.
    ///
    /// Without a namespace in the collection the object's own is taken.
    pub async fn create(
        &self,
        caller: &Caller,
        collection: &Collection,
        body: Body,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let mut collection = collection.clone();
        if collection.namespace.is_none() {
            collection.namespace = body.object.namespace().map(str::to_owned);
        }
        let row = self.enter_collection(caller, "create", &collection, "")?;
        if row.namespaced && collection.namespace.is_none() {
            return Err(Status::bad_request(
                "an empty namespace may not be set during creation",
            ));
        }
        let Body {
            mut object,
            duplicates,
        } = body;
        let warnings = check_body(&row, &mut object, options.field_validation, &duplicates)?;
        if !row.is_stored() {
            return self
                .answer(caller, &row, collection.namespace.as_deref(), object, options)
                .await;
        }
        let request = NewObject {
            row: &row,
            namespace: collection.namespace.as_deref(),
            object,
            tracked: false,
            warnings,
        };
        self.insert(caller, request, options).await
    }

    /// Takes a new object through admission and stores it.
    pub(super) async fn insert(
        &self,
        caller: &Caller,
        request: NewObject<'_>,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let row = request.row;
        let wants_name = request.object.name().is_empty();
        for _ in 0..ATTEMPTS_MAX {
            let decide = || self.decide_insert(caller, &request, options, &Stage::default());
            let decision = self.decide(decide, |decision| decision.write.is_some()).await?;
            let name = decision.object.name().to_owned();
            if options.dry_run {
                if self.store().get(&decision.key).is_some() {
                    return Err(Status::already_exists(&row.resource(), &name));
                }
                return Ok(decision.into_written());
            }
            match self.carry_out(row, decision).await {
                Ok(written) => return Ok(written),
                Err(CommitFailure::Stale) if !wants_name => {
                    return Err(Status::already_exists(&row.resource(), &name));
                }
                Err(CommitFailure::Stale | CommitFailure::DependencyChanged) => {}
                Err(CommitFailure::Refused(status)) => return Err(status),
            }
        }
        Err(Status::unavailable("the namespace changes too fast, try again"))
    }

    /// Decides what a new object becomes. Whether one of its name is there already is for the caller, or for the
    /// store, to find out.
    pub(super) fn decide_insert(
        &self,
        caller: &Caller,
        request: &NewObject<'_>,
        options: &WriteOptions,
        stage: &Stage,
    ) -> Result<Decision, Status> {
        let row = request.row;
        let mut admission = Admission {
            engine: self,
            stage,
            row,
            caller,
            options,
            now: self.now(),
            namespace: request.namespace,
            subresource: "",
            old: None,
            object: request.object.clone(),
            tracked: request.tracked,
            warnings: request.warnings.clone(),
            dependencies: Vec::new(),
            reservation: None,
        };
        admission.run(admission::CREATE)?;
        let Admission {
            object,
            warnings,
            dependencies,
            reservation,
            ..
        } = admission;
        let key = key_of(row, request.namespace, object.name());
        let object = Arc::new(object);
        Ok(Decision {
            key,
            write: Some((Precondition::Absent, Change::Put(stored_form(row, &object)))),
            object,
            dependencies,
            settle: reservation.map_or(Settle::Nothing, Settle::Keep),
            warnings,
            created: true,
        })
    }
}

/// An object that is to be made.
pub(super) struct NewObject<'a> {
    pub(super) row: &'a KindRow,
    pub(super) namespace: Option<&'a str>,
    pub(super) object: Object,
    /// Whether field ownership was recorded already.
    pub(super) tracked: bool,
    pub(super) warnings: Vec<String>,
}
