//! The replicated multi-version object store.
//!
//! Start with [`Store`], the seam: a memory store for tests and a raft store for clusters stand behind it.

mod api;

pub use api::{
    Change, Committed, Event, EventStream, Key, ListAnswer, Precondition, Revision, Selection, Store,
    StoreError, Transaction, Write,
};
