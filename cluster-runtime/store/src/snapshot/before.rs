//! The snapshot before: what has not changed since is copied from it and not written anew.
//!
//! Most of a large cluster is as it was, and making text of objects is most of the work of a snapshot. Both snapshots have
//! their objects in the same order, so that one pass over the file is enough.

use std::cmp::Ordering;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::Revision;
use crate::codec::{Malformed, Reader};
use crate::seal::Sealer;
use crate::snapshot::read::Bodies;
use crate::snapshot::{EVENTS, OBJECTS, TABLE};
use crate::table::Place;

/// A snapshot that is read beside one that is written.
pub(crate) struct Before {
    bodies: Bodies,
    /// Names of the tables that it has, by number.
    tables: Vec<String>,
    /// The frame that is being read, how far it was, and the table whose objects are in it.
    body: Vec<u8>,
    at: usize,
    table: usize,
    next: Option<Record>,
}

/// An object of a frame; where in it its parts are.
struct Record {
    namespace: Range<usize>,
    name: Range<usize>,
    revision: Revision,
    text: Range<usize>,
}

impl Before {
    pub(crate) fn open(path: &Path, sealer: Option<Arc<Sealer>>) -> io::Result<Self> {
        let mut before = Self {
            bodies: Bodies::open(path, sealer)?,
            tables: Vec::new(),
            body: Vec::new(),
            at: 0,
            table: 0,
            next: None,
        };
        before.advance();
        Ok(before)
    }

    /// The text of an object at the revision that wrote it, if it was written before. Asked for in the order of tables and
    /// places; a snapshot that is damaged has nothing from there on.
    pub(crate) fn text(&mut self, table: &str, place: &Place, revision: Revision) -> Option<&[u8]> {
        loop {
            let Record { namespace, name, .. } = self.next.as_ref()?;
            let part = |range: &Range<usize>| &self.body[range.clone()];
            let own = (
                self.tables.get(self.table)?.as_bytes(),
                part(namespace),
                part(name),
            );
            let wanted = (
                table.as_bytes(),
                place.namespace.as_bytes(),
                place.name.as_bytes(),
            );
            match own.cmp(&wanted) {
                Ordering::Less => self.advance(),
                Ordering::Equal => break,
                Ordering::Greater => return None,
            }
        }
        let record = self.next.as_ref().filter(|record| record.revision == revision)?;
        Some(&self.body[record.text.clone()])
    }

    /// Goes on to the next object; there is none after the last and after damage.
    fn advance(&mut self) {
        self.next = None;
        while self.at >= self.body.len() {
            let Ok(Some(body)) = self.bodies.next() else {
                return;
            };
            self.body = body;
            match self.begin_frame() {
                Ok(true) => {}
                Ok(false) | Err(Malformed { .. }) => return,
            }
        }
        self.next = self.record().ok();
    }

    /// Reads what a frame begins with; tells whether objects may follow.
    fn begin_frame(&mut self) -> Result<bool, Malformed> {
        let mut reader = Reader::new(&self.body);
        self.at = self.body.len();
        match reader.byte()? {
            TABLE => self.tables.push(reader.text()?.to_owned()),
            OBJECTS => {
                self.table = reader.number()? as usize;
                self.at = self.body.len() - reader.remaining();
            }
            EVENTS => return Ok(false),
            _ => {}
        }
        Ok(true)
    }

    fn record(&mut self) -> Result<Record, Malformed> {
        let mut reader = Reader::new(&self.body[self.at..]);
        let part = |reader: &mut Reader<'_>| {
            let length = reader.bytes()?.len();
            let end = self.body.len() - reader.remaining();
            Ok(end - length..end)
        };
        let (namespace, name) = (part(&mut reader)?, part(&mut reader)?);
        let revision = Revision(reader.number()?);
        let _weight = reader.number()?;
        let text = part(&mut reader)?;
        self.at = text.end;
        Ok(Record {
            namespace,
            name,
            revision,
            text,
        })
    }
}
