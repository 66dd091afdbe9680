//! A batch of transactions: the content of one entry of the replicated log.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::{Entry, EntryPayload};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::codec::{Malformed, Reader, put_bytes, put_number, put_transaction};
use crate::raft::types::{TypeConfig, log_id, position};
use crate::wal;
use crate::{Committed, StoreError, Transaction};

const BLANK: u8 = 0;
const BATCH: u8 = 1;
const MEMBERSHIP: u8 = 2;
/// An entry of any kind that is sealed, as it is on the disk only.
pub(crate) const SEALED: u8 = 3;

/// How a transaction ends.
pub(crate) type Outcome = Result<Committed, StoreError>;

/// A transaction on its way through the log.
///
/// The bytes are what is written and sent. On the member where it came in, the transaction itself goes along until
/// it is done, so that nothing is decoded again and the answer finds its way back.
pub(crate) struct Proposal {
    encoded: Vec<u8>,
    pending: Mutex<Option<Pending>>,
}

/// What goes along with the bytes.
pub(crate) struct Pending {
    transaction: Transaction,
    /// Absent where the transaction came from the log.
    waiting: Option<Waiting>,
}

/// Who waits for a transaction.
struct Waiting {
    reply: oneshot::Sender<Outcome>,
    /// Its share of the memory that waiting transactions may take.
    _budget: OwnedSemaphorePermit,
}

/// Transactions that are committed together, each on its own terms.
#[derive(Clone)]
pub(crate) struct Batch {
    proposals: Arc<[Proposal]>,
}

impl Proposal {
    pub(crate) fn new(
        transaction: Transaction,
        encoded: Vec<u8>,
        budget: OwnedSemaphorePermit,
    ) -> (Self, oneshot::Receiver<Outcome>) {
        let (reply, answer) = oneshot::channel();
        let pending = Pending {
            transaction,
            waiting: Some(Waiting {
                reply,
                _budget: budget,
            }),
        };
        let proposal = Self {
            encoded,
            pending: Mutex::new(Some(pending)),
        };
        (proposal, answer)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.encoded.len()
    }

    /// The transaction, and where its outcome is waited for.
    pub(crate) fn take(&self) -> Result<(Transaction, Option<oneshot::Sender<Outcome>>), Malformed> {
        match self.take_pending() {
            Some(pending) => Ok((pending.transaction, pending.waiting.map(|waiting| waiting.reply))),
            None => Ok((Reader::new(&self.encoded).transaction()?, None)),
        }
    }

    /// Whether [`Self::take`] would have to decode.
    pub(crate) fn is_encoded(&self) -> bool {
        self.pending().is_none()
    }

    /// Decodes now what [`Self::take`] would have to decode; a fault is told there.
    pub(crate) fn decode(&self) {
        if let Ok(transaction) = Reader::new(&self.encoded).transaction() {
            *self.pending() = Some(Pending {
                transaction,
                waiting: None,
            });
        }
    }

    fn pending(&self) -> MutexGuard<'_, Option<Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_pending(&self) -> Option<Pending> {
        self.pending().take()
    }
}

impl Batch {
    pub(crate) fn proposals(&self) -> &[Proposal] {
        &self.proposals
    }

    /// Answers all transactions that were not done.
    pub(crate) fn refuse(&self, error: &StoreError) {
        let pending = self.proposals.iter().filter_map(Proposal::take_pending);
        for waiting in pending.filter_map(|pending| pending.waiting) {
            // Who no longer waits does not want to know.
            _ = waiting.reply.send(Err(error.clone()));
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, self.proposals.len() as u64);
        for proposal in &*self.proposals {
            put_bytes(out, &proposal.encoded);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let count = reader.number()?;
        let mut proposals = Vec::new();
        for _ in 0..count {
            proposals.push(Proposal {
                encoded: reader.bytes()?.to_vec(),
                pending: Mutex::new(None),
            });
        }
        Ok(proposals.into())
    }
}

impl<T: Into<Arc<[Proposal]>>> From<T> for Batch {
    fn from(proposals: T) -> Self {
        Self {
            proposals: proposals.into(),
        }
    }
}

/// Encodes a transaction as its proposal carries it.
pub(crate) fn encode_transaction(transaction: &Transaction) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(512);
    put_transaction(&mut encoded, transaction);
    encoded
}

/// Encodes an entry for the log.
pub(crate) fn encode_entry(entry: &Entry<TypeConfig>) -> wal::Entry {
    let mut payload = Vec::new();
    match &entry.payload {
        EntryPayload::Blank => payload.push(BLANK),
        EntryPayload::Normal(batch) => {
            payload.reserve(batch.proposals.iter().map(|proposal| proposal.bytes() + 4).sum());
            payload.push(BATCH);
            batch.encode(&mut payload);
        }
        EntryPayload::Membership(membership) => {
            payload.push(MEMBERSHIP);
            let text = serde_json::to_vec(membership).expect("a membership can always be written as JSON");
            payload.extend_from_slice(&text);
        }
    }
    wal::Entry {
        position: position(&entry.log_id),
        payload,
    }
}

/// Decodes an entry of the log.
pub(crate) fn decode_entry(entry: &wal::Entry) -> Result<Entry<TypeConfig>, Malformed> {
    let mut reader = Reader::new(&entry.payload);
    let payload = match reader.byte()? {
        BLANK => EntryPayload::Blank,
        BATCH => EntryPayload::Normal(Batch::decode(&mut reader)?),
        MEMBERSHIP => {
            let membership = serde_json::from_slice(&entry.payload[1..]);
            EntryPayload::Membership(membership.map_err(|_| Malformed { what: "membership" })?)
        }
        _ => return Err(Malformed { what: "entry" }),
    };
    Ok(Entry {
        log_id: log_id(entry.position),
        payload,
    })
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} transactions", self.proposals.len())
    }
}

// Openraft asks for these of whatever it replicates; members send each other the encoding of the log instead.

impl Serialize for Batch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        bytes.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Batch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::deserialize(deserializer)?;
        Self::decode(&mut Reader::new(&bytes)).map_err(serde::de::Error::custom)
    }
}
