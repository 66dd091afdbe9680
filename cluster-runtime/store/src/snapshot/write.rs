//! Writing a snapshot.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use crate::Event;
use crate::codec::{put_bytes, put_key, put_number, put_object};
use crate::directory::sync_directory;
use crate::snapshot::{END, EVENTS, HEADER, OBJECTS, SnapshotHeader, TABLE};
use crate::tables::TablesView;
use crate::wal::frame;

/// Frames are ended when they grew beyond this.
const FRAME_BYTES: usize = 256 << 10;

/// Writes the tables into a file; when this returns, the file is durable under its name.
pub(crate) fn write_snapshot(path: &Path, log: serde_json::Value, view: &TablesView) -> io::Result<u64> {
    let temporary = path.with_extension("tmp");
    let mut frames = Frames {
        file: File::create(&temporary)?,
        buffer: Vec::with_capacity(FRAME_BYTES * 2),
        sequence: 0,
        bytes: 0,
    };
    let header = SnapshotHeader {
        revision: view.revision,
        log,
    };
    frames.begin(HEADER);
    put_bytes(&mut frames.buffer, &serde_json::to_vec(&header)?);
    frames.end()?;
    for (name, compacted, _) in &view.tables {
        frames.begin(TABLE);
        put_bytes(&mut frames.buffer, name.as_bytes());
        put_number(&mut frames.buffer, compacted.0);
        frames.end()?;
    }
    let mut objects = 0;
    for (number, (_, compacted, table)) in view.tables.iter().enumerate() {
        let begin = |frames: &mut Frames| {
            frames.begin(OBJECTS);
            put_number(&mut frames.buffer, number as u64);
        };
        begin(&mut frames);
        for (place, object) in table.objects_at(*compacted, Bound::Unbounded) {
            objects += 1;
            put_bytes(&mut frames.buffer, place.namespace.as_bytes());
            put_bytes(&mut frames.buffer, place.name.as_bytes());
            put_object(&mut frames.buffer, object);
            if frames.buffer.len() > FRAME_BYTES {
                frames.end()?;
                begin(&mut frames);
            }
        }
        frames.end()?;
    }
    let mut events: Vec<&Arc<Event>> = view
        .tables
        .iter()
        .flat_map(|(_, _, table)| table.events())
        .collect();
    events.sort_unstable_by_key(|event| event.revision);
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
    frames.file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), sync_directory)?;
    Ok(frames.bytes)
}

struct Frames {
    file: File,
    buffer: Vec<u8>,
    sequence: u64,
    bytes: u64,
}

impl Frames {
    fn begin(&mut self, kind: u8) {
        frame::begin(&mut self.buffer);
        self.buffer.push(kind);
    }

    fn end(&mut self) -> io::Result<()> {
        frame::finish(&mut self.buffer, self.sequence);
        self.sequence += 1;
        self.bytes += self.buffer.len() as u64;
        self.file.write_all(&self.buffer)
    }
}
