//! What a Compose file may say: the attributes of the specification and the types of their values.
//!
//! The table follows the Compose specification (<https://github.com/compose-spec/compose-spec/blob/main/spec.md>), the
//! checks follow its JSON schema: of several forms that a value may have, the fault of the one that it comes nearest to is
//! told.

mod check;
mod compose;
mod shape;

pub(crate) use check::check;
