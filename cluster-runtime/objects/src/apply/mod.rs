//! Server-side apply and the tracking of who owns which field.

use jiff::Timestamp;

use crate::schema::Schema;
use crate::{Object, Status};

/// Who writes, and through what.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// Field manager: what the request names, else the first part of the user agent.
    pub manager: &'a str,
    /// Version in which the fields are written, as `apps/v1`.
    pub api_version: &'a str,
    /// Subresource, as `status`; empty for the object itself.
    pub subresource: &'a str,
    /// Time of the write.
    pub now: Timestamp,
}

/// Applies a configuration: gives the object as it is afterwards, with `metadata.managedFields` up to date.
///
/// `live` is the object now, `None` when it is to be made. The result is neither defaulted nor validated.
/// Fails with 409 and one cause a field when another manager owns a field and wants another value, unless `force`;
/// with 400 when the configuration carries managed fields itself.
pub fn apply(
    live: Option<&Object>,
    configuration: &Object,
    _writer: Writer<'_>,
    _force: bool,
    _schema: &Schema,
) -> Result<Object, Status> {
    let Some(live) = live else {
        return Ok(configuration.clone());
    };
    crate::patch::merge(live, &configuration.clone().into_value())
}

/// Records an ordinary write (create, update, any patch but apply) in `metadata.managedFields` of the new object.
///
/// `old` is the object before, `None` when it was made. Call it after defaulting and preparation, before storing.
pub fn track(_old: Option<&Object>, _new: &mut Object, _writer: Writer<'_>, _schema: &Schema) {}
