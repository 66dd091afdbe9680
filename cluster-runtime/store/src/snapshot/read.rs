//! Reading a snapshot: one thread reads the file, several decode, one fills the tables.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use cluster_objects::Object;

use crate::codec::{Malformed, Reader};
use crate::seal::Sealer;
use crate::snapshot::{END, EVENTS, HEADER, OBJECTS, SEALED, SnapshotHeader, TABLE};
use crate::stored::Stored;
use crate::table::Place;
use crate::tables::Tables;
use crate::wal::frame::{self, Found, HEADER_BYTES};
use crate::{Key, Limits, Revision};

/// Threads that decode, at most.
const DECODERS_MAX: usize = 4;

/// Frames that wait between two threads, at most.
const WAITING_MAX: usize = 4;

/// Why a snapshot could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadSnapshotError {
    #[error("cannot read it")]
    Read(#[from] io::Error),
    #[error("it is encrypted, and no key was given")]
    Sealed,
    #[error("frame {frame} is damaged: {reason}")]
    Damaged { frame: u64, reason: String },
}

/// What a frame holds.
enum Part {
    Header(SnapshotHeader),
    Table(Arc<str>, Revision),
    Objects(usize, Vec<(Place, Stored)>),
    Events(Vec<(Key, Revision, Option<Arc<Object>>)>),
    End { objects: u64, events: u64 },
}

/// Reads a snapshot into new tables.
pub(crate) fn read_snapshot(
    path: &Path,
    limits: Limits,
    sealer: Option<&Sealer>,
) -> Result<(SnapshotHeader, Tables), ReadSnapshotError> {
    read_snapshot_from(File::open(path)?, limits, sealer)
}

/// Reads a snapshot from wherever into new tables.
pub(crate) fn read_snapshot_from(
    file: impl Read + Send,
    limits: Limits,
    sealer: Option<&Sealer>,
) -> Result<(SnapshotHeader, Tables), ReadSnapshotError> {
    let file = BufReader::with_capacity(1 << 20, file);
    let decoders = thread::available_parallelism().map_or(1, |count| count.get().min(DECODERS_MAX));
    thread::scope(|scope| {
        let (raw_out, raw_in) = sync_channel(WAITING_MAX);
        let (parts_out, parts_in) = sync_channel(WAITING_MAX);
        scope.spawn(move || read_frames(file, &raw_out));
        let raw_in = Arc::new(Mutex::new(raw_in));
        for _ in 0..decoders {
            let (raw_in, parts_out) = (raw_in.clone(), parts_out.clone());
            scope.spawn(move || decode_frames(&raw_in, &parts_out, sealer));
        }
        // With these gone, threads end when the one that they give to or take from does.
        drop((raw_in, parts_out));
        fill(parts_in, limits)
    })
}

type Raw = (u64, Result<Vec<u8>, ReadSnapshotError>);
type Decoded = (u64, Result<Part, ReadSnapshotError>);

fn read_frames(mut file: impl Read, out: &SyncSender<Raw>) {
    for number in 0.. {
        let Some(frame) = read_frame(&mut file).transpose() else {
            return;
        };
        let is_last = frame.is_err();
        if out.send((number, frame)).is_err() || is_last {
            return;
        }
    }
}

/// The bytes of the next frame; nothing at the end of the file.
fn read_frame(file: &mut impl Read) -> Result<Option<Vec<u8>>, ReadSnapshotError> {
    let mut header = [0; HEADER_BYTES];
    let mut filled = 0;
    while filled < HEADER_BYTES {
        match file.read(&mut header[filled..])? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            count => filled += count,
        }
    }
    let length = frame::length(&header).ok_or_else(|| {
        let reason = "the header of a frame is damaged";
        io::Error::new(io::ErrorKind::InvalidData, reason)
    })?;
    let mut bytes = header.to_vec();
    file.take((length - HEADER_BYTES) as u64)
        .read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn decode_frames(raw_in: &Mutex<Receiver<Raw>>, out: &SyncSender<Decoded>, sealer: Option<&Sealer>) {
    loop {
        let raw = raw_in.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, bytes)) = raw else {
            return;
        };
        if out
            .send((number, bytes.and_then(|bytes| decode(number, &bytes, sealer))))
            .is_err()
        {
            return;
        }
    }
}

fn decode(number: u64, bytes: &[u8], sealer: Option<&Sealer>) -> Result<Part, ReadSnapshotError> {
    let body = body(number, bytes, sealer)?;
    part(&body).map_err(|error| damaged(number, &error.to_string()))
}

/// The body of a frame, opened where it is sealed.
fn body<'a>(
    number: u64,
    bytes: &'a [u8],
    sealer: Option<&Sealer>,
) -> Result<Cow<'a, [u8]>, ReadSnapshotError> {
    let body = match frame::find(bytes, number) {
        Found::Frame { body, .. } => body,
        Found::Damaged { reason } => return Err(damaged(number, reason)),
        Found::Torn | Found::Nothing => return Err(damaged(number, "it was not written whole")),
    };
    let [SEALED, sealed @ ..] = body else {
        return Ok(body.into());
    };
    let sealer = sealer.ok_or(ReadSnapshotError::Sealed)?;
    let opened = sealer.open(&number.to_le_bytes(), sealed);
    opened
        .map(Cow::Owned)
        .map_err(|error| damaged(number, &error.to_string()))
}

/// The bodies of the frames of a snapshot, one after another, to be sent.
pub(crate) struct Bodies {
    file: BufReader<File>,
    sealer: Option<Arc<Sealer>>,
    number: u64,
}

impl Bodies {
    pub(crate) fn open(path: &Path, sealer: Option<Arc<Sealer>>) -> io::Result<Self> {
        Ok(Self {
            file: BufReader::with_capacity(1 << 18, File::open(path)?),
            sealer,
            number: 0,
        })
    }

    /// The next one; nothing at the end of the file.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, ReadSnapshotError> {
        let Some(bytes) = read_frame(&mut self.file)? else {
            return Ok(None);
        };
        let body = body(self.number, &bytes, self.sealer.as_deref())?.into_owned();
        self.number += 1;
        Ok(Some(body))
    }
}

fn part(body: &[u8]) -> Result<Part, Malformed> {
    let mut reader = Reader::new(body);
    Ok(match reader.byte()? {
        HEADER => {
            let header = serde_json::from_slice(reader.bytes()?);
            Part::Header(header.map_err(|_| Malformed { what: "header" })?)
        }
        TABLE => Part::Table(reader.text()?.into(), Revision(reader.number()?)),
        OBJECTS => {
            let table = reader.number()? as usize;
            let mut objects = Vec::new();
            while !reader.is_empty() {
                let place = Place {
                    namespace: reader.text()?.into(),
                    name: reader.text()?.into(),
                };
                let revision = Revision(reader.number()?);
                let weight = reader.number()? as usize;
                let stored = Stored::encoded(reader.bytes()?, revision, weight);
                objects.push((place, stored));
            }
            Part::Objects(table, objects)
        }
        EVENTS => {
            let mut events = Vec::new();
            while !reader.is_empty() {
                let revision = Revision(reader.number()?);
                let key = reader.key()?;
                let object = match reader.byte()? {
                    0 => Some(reader.object()?),
                    _ => None,
                };
                events.push((key, revision, object));
            }
            Part::Events(events)
        }
        END => Part::End {
            objects: reader.number()?,
            events: reader.number()?,
        },
        _ => {
            return Err(Malformed {
                what: "kind of frame",
            });
        }
    })
}

fn fill(parts: Receiver<Decoded>, limits: Limits) -> Result<(SnapshotHeader, Tables), ReadSnapshotError> {
    let mut tables = Tables::new(limits);
    let mut names: Vec<Arc<str>> = Vec::new();
    let mut header = None;
    let mut counted = (0, 0);
    let mut ended = false;
    let mut early = BTreeMap::new();
    let mut next = 0;
    for (number, part) in parts {
        early.insert(number, part?);
        while let Some(part) = early.remove(&next) {
            if ended {
                return Err(damaged(next, "it comes after the end"));
            }
            match part {
                Part::Header(found) => header = Some(found),
                Part::Table(name, compacted) => {
                    tables.load_table(&name, compacted);
                    names.push(name);
                }
                Part::Objects(table, objects) => {
                    let table = names
                        .get(table)
                        .ok_or_else(|| damaged(next, "it is of no known table"))?;
                    counted.0 += objects.len() as u64;
                    for (place, stored) in objects {
                        tables.load_object(table, place, stored);
                    }
                }
                Part::Events(events) => {
                    counted.1 += events.len() as u64;
                    for (key, revision, object) in events {
                        tables.load_event(&key, revision, object);
                    }
                }
                Part::End { objects, events } => {
                    if counted != (objects, events) {
                        return Err(damaged(next, "objects or events are missing before it"));
                    }
                    ended = true;
                }
            }
            next += 1;
        }
    }
    let header = header
        .filter(|_| ended)
        .ok_or_else(|| damaged(next, "the file ends before it"))?;
    tables.loaded(header.revision);
    Ok((header, tables))
}

fn damaged(frame: u64, reason: &str) -> ReadSnapshotError {
    ReadSnapshotError::Damaged {
        frame,
        reason: reason.to_owned(),
    }
}
