//! What members send each other, as bytes.

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{LogId, Vote};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::{Malformed, Reader, put_bytes, put_number};
use crate::raft::batch::{decode_entry, encode_entry};
use crate::raft::types::{SnapshotMeta, TypeConfig};
use crate::wal::{self, Position};

const APPEND: u8 = 1;
const VOTE: u8 = 2;
const SNAPSHOT: u8 = 3;
const READ_INDEX: u8 = 4;

/// What one member asks of another.
pub(crate) enum Request {
    Append(AppendEntriesRequest<TypeConfig>),
    Vote(VoteRequest<u64>),
    Snapshot(SnapshotPart),
    /// How many entries have to be done for a read to show all that was acknowledged.
    ReadIndex,
}

/// What stands beside the entries of an append request.
#[derive(Serialize, Deserialize)]
struct AppendHeader {
    vote: Vote<u64>,
    prev_log_id: Option<LogId<u64>>,
    leader_commit: Option<LogId<u64>>,
}

/// A piece of a snapshot: some of its frames, opened, so that the other member seals them with a key of its own.
pub(crate) struct SnapshotPart {
    pub(crate) header: SnapshotPartHeader,
    pub(crate) bodies: Vec<Vec<u8>>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct SnapshotPartHeader {
    pub(crate) vote: Vote<u64>,
    pub(crate) meta: SnapshotMeta,
    /// Number of the first frame of the piece.
    pub(crate) first: u64,
    /// Whether it is the last one.
    pub(crate) is_last: bool,
}

/// What a member answers.
#[derive(Serialize, Deserialize)]
pub(crate) enum Response {
    Append(AppendEntriesResponse<u64>),
    Vote(VoteResponse<u64>),
    /// The piece is there, and more are waited for.
    SnapshotPart,
    Snapshot(SnapshotResponse<u64>),
    ReadIndex(u64),
    /// The member cannot answer now.
    Failed(String),
}

/// Whether a message is part of something long that others should not wait for.
pub(crate) fn is_bulk(message: &[u8]) -> bool {
    message.first() == Some(&SNAPSHOT)
}

impl Request {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Append(request) => {
                out.push(APPEND);
                let header = AppendHeader {
                    vote: request.vote,
                    prev_log_id: request.prev_log_id,
                    leader_commit: request.leader_commit,
                };
                put_json(&mut out, &header);
                put_number(&mut out, request.entries.len() as u64);
                for entry in &request.entries {
                    let wal::Entry { position, payload } = encode_entry(entry);
                    for number in [position.term, position.member, position.index] {
                        put_number(&mut out, number);
                    }
                    put_bytes(&mut out, &payload);
                }
            }
            Self::Vote(request) => {
                out.push(VOTE);
                put_json(&mut out, request);
            }
            Self::Snapshot(part) => {
                out.push(SNAPSHOT);
                put_json(&mut out, &part.header);
                put_number(&mut out, part.bodies.len() as u64);
                for body in &part.bodies {
                    put_bytes(&mut out, body);
                }
            }
            Self::ReadIndex => out.push(READ_INDEX),
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        Ok(match reader.byte()? {
            APPEND => {
                let header: AppendHeader = json(&mut reader)?;
                let count = reader.number()?;
                let mut entries = Vec::new();
                for _ in 0..count {
                    let entry = wal::Entry {
                        position: Position {
                            term: reader.number()?,
                            member: reader.number()?,
                            index: reader.number()?,
                        },
                        payload: reader.bytes()?.to_vec(),
                    };
                    entries.push(decode_entry(&entry)?);
                }
                Self::Append(AppendEntriesRequest {
                    vote: header.vote,
                    prev_log_id: header.prev_log_id,
                    entries,
                    leader_commit: header.leader_commit,
                })
            }
            VOTE => Self::Vote(json(&mut reader)?),
            SNAPSHOT => {
                let header = json(&mut reader)?;
                let count = reader.number()?;
                let mut bodies = Vec::new();
                for _ in 0..count {
                    bodies.push(reader.bytes()?.to_vec());
                }
                Self::Snapshot(SnapshotPart { header, bodies })
            }
            READ_INDEX => Self::ReadIndex,
            _ => return Err(Malformed { what: "message" }),
        })
    }
}

impl Response {
    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an answer can always be written as JSON")
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        serde_json::from_slice(bytes).map_err(|_| Malformed { what: "answer" })
    }
}

fn put_json(out: &mut Vec<u8>, value: &impl Serialize) {
    let text = serde_json::to_vec(value).expect("a message can always be written as JSON");
    put_bytes(out, &text);
}

fn json<T: DeserializeOwned>(reader: &mut Reader<'_>) -> Result<T, Malformed> {
    serde_json::from_slice(reader.bytes()?).map_err(|_| Malformed { what: "message" })
}

#[cfg(test)]
mod tests {
    use openraft::{Entry, EntryPayload};

    use super::*;
    use crate::raft::batch::{Batch, Proposal};
    use crate::raft::types::log_id;
    use test_history::Random;

    fn requests() -> Vec<Request> {
        let vote = Vote::new_committed(3, 1);
        let id = |index| {
            log_id(Position {
                term: 3,
                member: 1,
                index,
            })
        };
        let entry = |index, payload| Entry {
            log_id: id(index),
            payload,
        };
        let batch = Batch::from(Vec::<Proposal>::new());
        let entries = vec![
            entry(8, EntryPayload::Blank),
            entry(9, EntryPayload::Normal(batch)),
        ];
        let meta = SnapshotMeta {
            last_log_id: Some(id(7)),
            ..SnapshotMeta::default()
        };
        let header = SnapshotPartHeader {
            vote,
            meta,
            first: 4,
            is_last: true,
        };
        vec![
            Request::Append(AppendEntriesRequest {
                vote,
                prev_log_id: Some(id(7)),
                entries,
                leader_commit: None,
            }),
            Request::Vote(VoteRequest::new(vote, Some(id(9)))),
            Request::Snapshot(SnapshotPart {
                header,
                bodies: vec![vec![1, 2, 3], vec![]],
            }),
            Request::ReadIndex,
        ]
    }

    #[test]
    fn requests_are_read_as_written() {
        for request in requests() {
            let bytes = request.encode();
            assert_eq!(Request::decode(&bytes).unwrap().encode(), bytes);
        }
    }

    #[test]
    fn err_any_bytes_are_a_message_or_refused() {
        let mut random = Random::new(1);
        for request in requests() {
            let bytes = request.encode();
            for length in 0..bytes.len() {
                assert!(Request::decode(&bytes[..length]).is_err(), "cut at {length}");
            }
            for _ in 0..20_000 {
                let mut changed = bytes.clone();
                for _ in 0..=random.below(4) {
                    let place = random.below(changed.len() as u64) as usize;
                    changed[place] = random.next() as u8;
                }
                if random.percent(20) {
                    changed.truncate(random.below(changed.len() as u64) as usize);
                }
                // Without a panic, and without more memory than came.
                if let Ok(request) = Request::decode(&changed) {
                    request.encode();
                }
                _ = Response::decode(&changed);
            }
        }
    }
}
