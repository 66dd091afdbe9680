//! Writing a snapshot.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use crate::codec::{put_bytes, put_key, put_number, put_object};
use crate::directory::sync_directory;
use crate::seal::Sealer;
use crate::snapshot::{Before, END, EVENTS, HEADER, OBJECTS, SEALED, SnapshotHeader, TABLE};
use crate::table::TableView;
use crate::tables::TablesView;
use crate::wal::frame;
use crate::weight::weigh;
use crate::{Event, Revision};

/// Frames are ended when they grew beyond this.
const FRAME_BYTES: usize = 256 << 10;

/// Events that are written, newest ones: enough for watchers that come back at once. A start has to decode them.
const EVENTS_MAX: usize = 4096;
const EVENTS_BYTES_MAX: usize = 16 << 20;

/// How much of the past goes into a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// The newest part.
    Newest,
    /// Nothing, to be small: watchers that come back after a restart begin anew.
    Nothing,
}

/// Writes the tables into a file; when this returns, the file is durable under its name. What is in the snapshot before
/// and has not changed since is copied from there.
pub(crate) fn write_snapshot(
    path: &Path,
    log: serde_json::Value,
    view: &TablesView,
    past: Past,
    sealer: Option<&Sealer>,
    before: Option<Before>,
) -> io::Result<u64> {
    let temporary = path.with_extension("tmp");
    let create = || {
        let frames = write_frames(File::create(&temporary)?, log, view, past, sealer, before)?;
        frames.file.sync_all()?;
        Ok(frames.bytes)
    };
    let written = create().and_then(|bytes| {
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), sync_directory)?;
        Ok(bytes)
    });
    written.inspect_err(|_| {
        // On a full disk the room is needed.
        _ = fs::remove_file(&temporary);
    })
}

/// Writes the tables to wherever; gives it back.
pub(crate) fn write_frames<'a, W: Write>(
    file: W,
    log: serde_json::Value,
    view: &TablesView,
    past: Past,
    sealer: Option<&'a Sealer>,
    mut before: Option<Before>,
) -> io::Result<Frames<'a, W>> {
    let mut frames = Frames::new(file, sealer);
    let header = SnapshotHeader {
        revision: view.revision,
        log,
    };
    frames.begin(HEADER);
    put_bytes(&mut frames.buffer, &serde_json::to_vec(&header)?);
    frames.end()?;
    let (forgotten, events) = split_events(view, past);
    let forgotten = forgotten.iter().map(|event| (&event.key.table, event.revision));
    let forgotten: HashMap<_, _> = forgotten.collect();
    let begin = |(name, compacted, _): &(Arc<str>, Revision, TableView)| {
        (*compacted).max(forgotten.get(name).copied().unwrap_or_default())
    };
    let begins: Vec<Revision> = view.tables.iter().map(begin).collect();
    for ((name, ..), begin) in view.tables.iter().zip(&begins) {
        frames.begin(TABLE);
        put_bytes(&mut frames.buffer, name.as_bytes());
        put_number(&mut frames.buffer, begin.0);
        frames.end()?;
    }
    let mut objects = 0;
    for (number, ((name, _, table), at)) in view.tables.iter().zip(begins).enumerate() {
        let begin = |frames: &mut Frames<'_, W>| {
            frames.begin(OBJECTS);
            put_number(&mut frames.buffer, number as u64);
        };
        begin(&mut frames);
        for (place, version) in table.objects_at(at, Bound::Unbounded) {
            let stored = version.stored();
            objects += 1;
            put_bytes(&mut frames.buffer, place.namespace.as_bytes());
            put_bytes(&mut frames.buffer, place.name.as_bytes());
            put_number(&mut frames.buffer, stored.revision().0);
            put_number(&mut frames.buffer, stored.bytes() as u64);
            let copied = before
                .as_mut()
                .and_then(|before| before.text(name, place, stored.revision()));
            match copied {
                Some(text) => put_bytes(&mut frames.buffer, text),
                None => put_bytes(&mut frames.buffer, &stored.text()),
            }
            if frames.buffer.len() > FRAME_BYTES {
                frames.end()?;
                begin(&mut frames);
            }
        }
        frames.end()?;
    }
    frames.begin(EVENTS);
    for event in &events {
        put_number(&mut frames.buffer, event.revision.0);
        put_key(&mut frames.buffer, &event.key);
        frames.buffer.push(u8::from(event.deleted));
        if !event.deleted {
            put_object(&mut frames.buffer, &event.object);
        }
        if frames.buffer.len() > FRAME_BYTES {
            frames.end()?;
            frames.begin(EVENTS);
        }
    }
    frames.end()?;
    frames.begin(END);
    put_number(&mut frames.buffer, objects);
    put_number(&mut frames.buffer, events.len() as u64);
    frames.end()?;
    Ok(frames)
}

/// The retained events in order, cut in two: those that are left out, and those that are written.
fn split_events(view: &TablesView, past: Past) -> (Vec<&Arc<Event>>, Vec<&Arc<Event>>) {
    let tables = view.tables.iter();
    let mut events: Vec<&Arc<Event>> = tables.flat_map(|(_, _, table)| table.events()).collect();
    events.sort_unstable_by_key(|event| event.revision);
    let mut bytes = 0;
    let count_max = match past {
        Past::Newest => EVENTS_MAX,
        Past::Nothing => 0,
    };
    let written = events.iter().rev().take(count_max).take_while(|event| {
        bytes += weigh(&event.object);
        bytes <= EVENTS_BYTES_MAX
    });
    let count = written.count();
    let written = events.split_off(events.len() - count);
    (events, written)
}

/// Frames on their way into a file.
pub(crate) struct Frames<'a, W> {
    pub(crate) file: W,
    sealer: Option<&'a Sealer>,
    buffer: Vec<u8>,
    sealed: Vec<u8>,
    sequence: u64,
    pub(crate) bytes: u64,
}

impl<'a, W: Write> Frames<'a, W> {
    fn new(file: W, sealer: Option<&'a Sealer>) -> Self {
        Self {
            file,
            sealer,
            buffer: Vec::with_capacity(FRAME_BYTES * 2),
            sealed: Vec::new(),
            sequence: 0,
            bytes: 0,
        }
    }

    /// Goes on where others were written.
    pub(crate) fn continuing(file: W, sealer: Option<&'a Sealer>, sequence: u64) -> Self {
        Self {
            sequence,
            ..Self::new(file, sealer)
        }
    }

    /// Writes a frame that was read elsewhere.
    pub(crate) fn put(&mut self, body: &[u8]) -> io::Result<()> {
        frame::begin(&mut self.buffer);
        self.buffer.extend_from_slice(body);
        self.end()
    }

    fn begin(&mut self, kind: u8) {
        frame::begin(&mut self.buffer);
        self.buffer.push(kind);
    }

    fn end(&mut self) -> io::Result<()> {
        if let Some(sealer) = self.sealer {
            frame::begin(&mut self.sealed);
            self.sealed.push(SEALED);
            let body = &self.buffer[frame::HEADER_BYTES..];
            sealer.seal(&self.sequence.to_le_bytes(), body, &mut self.sealed);
            std::mem::swap(&mut self.buffer, &mut self.sealed);
        }
        frame::finish(&mut self.buffer, self.sequence);
        self.sequence += 1;
        self.bytes += self.buffer.len() as u64;
        self.file.write_all(&self.buffer)
    }
}
