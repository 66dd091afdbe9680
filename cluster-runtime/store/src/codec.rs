//! Numbers, byte strings and transactions as bytes: the encoding of log entries and snapshots.
//!
//! An object is its JSON text, everything around it is binary. The encoding is part of the format of a data
//! directory: a change here is a new [format](crate::directory::FORMAT).

use std::sync::Arc;

use cluster_objects::Object;

use crate::stored::object_text;
use crate::{Change, Key, Precondition, Revision, Transaction, Write};

/// Bytes that are not what they should be, though their checksum was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what}")]
pub(crate) struct Malformed {
    pub(crate) what: &'static str,
}

/// Takes a byte string apart from its front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

/// Appends a number in as few bytes as it needs, seven bits in each, lowest first.
pub(crate) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a length and as many bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn put_key(out: &mut Vec<u8>, key: &Key) {
    put_bytes(out, key.table.as_bytes());
    put_bytes(out, key.namespace.as_bytes());
    put_bytes(out, key.name.as_bytes());
}

/// Appends an object as JSON text.
pub(crate) fn put_object(out: &mut Vec<u8>, object: &Object) {
    put_bytes(out, &object_text(object));
}

pub(crate) fn put_transaction(out: &mut Vec<u8>, transaction: &Transaction) {
    put_number(out, transaction.writes.len() as u64);
    for write in &transaction.writes {
        put_key(out, &write.key);
        match &write.precondition {
            Precondition::None => out.push(0),
            Precondition::Absent => out.push(1),
            Precondition::Present => out.push(2),
            Precondition::At(revision) => {
                out.push(3);
                put_number(out, revision.0);
            }
        }
        match &write.change {
            Change::Check => out.push(0),
            Change::Delete => out.push(1),
            Change::Put(object) => {
                out.push(2);
                put_object(out, object);
            }
        }
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.rest.split_first().ok_or(Malformed { what: "byte" })?;
        self.rest = rest;
        Ok(*first)
    }

    pub(crate) fn number(&mut self) -> Result<u64, Malformed> {
        let malformed = Malformed { what: "number" };
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte().map_err(|_| malformed)?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return Err(malformed);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(malformed)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.number()?;
        let malformed = Malformed { what: "byte string" };
        let length = usize::try_from(length).map_err(|_| malformed)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(malformed)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed { what: "text" })
    }

    pub(crate) fn key(&mut self) -> Result<Key, Malformed> {
        Ok(Key {
            table: self.text()?.into(),
            namespace: self.text()?.into(),
            name: self.text()?.into(),
        })
    }

    pub(crate) fn object(&mut self) -> Result<Arc<Object>, Malformed> {
        let object = serde_json::from_slice(self.bytes()?);
        object.map(Arc::new).map_err(|_| Malformed { what: "object" })
    }

    pub(crate) fn transaction(&mut self) -> Result<Transaction, Malformed> {
        let count = self.number()?;
        let mut writes = Vec::new();
        for _ in 0..count {
            let key = self.key()?;
            let precondition = match self.byte()? {
                0 => Precondition::None,
                1 => Precondition::Absent,
                2 => Precondition::Present,
                3 => Precondition::At(Revision(self.number()?)),
                _ => return Err(Malformed { what: "precondition" }),
            };
            let change = match self.byte()? {
                0 => Change::Check,
                1 => Change::Delete,
                2 => Change::Put(self.object()?),
                _ => return Err(Malformed { what: "change" }),
            };
            writes.push(Write {
                key,
                precondition,
                change,
            });
        }
        Ok(Transaction { writes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_read_back_as_written() {
        let key = |name| Key::new("pods", "default", name);
        let write = |name, precondition, change| Write {
            key: key(name),
            precondition,
            change,
        };
        let mut object = Object::new("v1", "Pod", Some("default"), "web");
        object.set(&["spec", "text"], "ünïcode \u{0} \"quoted\"");
        object.set(&["spec", "number"], -3);
        let transaction = Transaction {
            writes: vec![
                write("a", Precondition::None, Change::Check),
                write("b", Precondition::Absent, Change::Put(Arc::new(object))),
                write("c", Precondition::Present, Change::Delete),
                write("d", Precondition::At(Revision(u64::MAX)), Change::Delete),
            ],
        };
        let mut bytes = Vec::new();
        put_transaction(&mut bytes, &transaction);
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.transaction(), Ok(transaction));
        assert!(reader.is_empty());
        for length in 0..bytes.len() {
            assert!(
                Reader::new(&bytes[..length]).transaction().is_err(),
                "cut at {length}"
            );
        }
    }

    #[test]
    fn numbers_are_read_back() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            assert_eq!(Reader::new(&bytes).number(), Ok(number));
        }
    }

    #[test]
    fn err_a_number_too_long() {
        assert!(Reader::new(&[0xff; 10]).number().is_err());
        assert!(Reader::new(&[0xff; 11]).number().is_err());
    }
}
