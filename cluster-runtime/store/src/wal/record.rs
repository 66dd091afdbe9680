//! What a frame carries: entries, and marks about them.

use std::ops::Range;

use crate::codec::{Malformed, Reader, put_bytes, put_number};

/// Place of an entry in the replicated log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// Term of the leader that made the entry.
    pub(crate) term: u64,
    /// That leader.
    pub(crate) member: u64,
    /// Index in the log, without holes.
    pub(crate) index: u64,
}

/// One entry of the log; the log does not look inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) position: Position,
    pub(crate) payload: Vec<u8>,
}

/// One record of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// An entry, and where in the frame's body its payload is.
    Entry {
        position: Position,
        payload: Range<usize>,
    },
    /// Everything up to here was known to be committed.
    Committed(Position),
    /// Entries from this index on are void.
    Truncate { since_index: u64 },
    /// Entries up to here are in a snapshot.
    Purge(Position),
}

const ENTRY: u8 = 1;
const COMMITTED: u8 = 2;
const TRUNCATE: u8 = 3;
const PURGE: u8 = 4;

/// Appends an entry and says where its payload is.
pub(crate) fn put_entry(out: &mut Vec<u8>, entry: &Entry) -> Range<usize> {
    out.push(ENTRY);
    put_position(out, entry.position);
    put_bytes(out, &entry.payload);
    out.len() - entry.payload.len()..out.len()
}

pub(crate) fn put_committed(out: &mut Vec<u8>, position: Position) {
    out.push(COMMITTED);
    put_position(out, position);
}

pub(crate) fn put_truncate(out: &mut Vec<u8>, since_index: u64) {
    out.push(TRUNCATE);
    put_number(out, since_index);
}

pub(crate) fn put_purge(out: &mut Vec<u8>, position: Position) {
    out.push(PURGE);
    put_position(out, position);
}

/// Takes the records of a frame apart.
pub(crate) fn records(body: &[u8]) -> Result<Vec<Record>, Malformed> {
    let mut reader = Reader::new(body);
    let mut records = Vec::new();
    while !reader.is_empty() {
        records.push(match reader.byte()? {
            ENTRY => {
                let position = position(&mut reader)?;
                let length = reader.bytes()?.len();
                let end = body.len() - reader.remaining();
                Record::Entry {
                    position,
                    payload: end - length..end,
                }
            }
            COMMITTED => Record::Committed(position(&mut reader)?),
            TRUNCATE => Record::Truncate {
                since_index: reader.number()?,
            },
            PURGE => Record::Purge(position(&mut reader)?),
            _ => return Err(Malformed { what: "record" }),
        });
    }
    Ok(records)
}

fn put_position(out: &mut Vec<u8>, position: Position) {
    put_number(out, position.term);
    put_number(out, position.member);
    put_number(out, position.index);
}

fn position(reader: &mut Reader<'_>) -> Result<Position, Malformed> {
    Ok(Position {
        term: reader.number()?,
        member: reader.number()?,
        index: reader.number()?,
    })
}
