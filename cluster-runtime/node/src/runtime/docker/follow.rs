//! Following a container: its output into the log, and then its end.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::{InspectContainerOptions, LogsOptions, WaitContainerOptions};
use futures::StreamExt;
use jiff::Timestamp;

use super::super::api::{ContainerExit, LogLimits};
use super::super::log::{LogWriter, Stream};
use super::engine::{Engine, exit_of, is_not_found, lost, words};

const WAIT_MIN: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Writes what a container says until it has ended, and gives its end. An engine that is away is waited for.
pub(super) async fn follow(
    engine: Arc<Engine>,
    name: String,
    log: std::path::PathBuf,
    limits: LogLimits,
) -> ContainerExit {
    let mut writer = match LogWriter::open(&log, limits) {
        Ok(writer) => Some(writer),
        Err(error) => {
            tracing::warn!(log = %log.display(), %error, "cannot write the log of a container");
            None
        }
    };
    let mut last = LastTimes::read(&log);
    let mut wait = WAIT_MIN;
    loop {
        if let Some(writer) = &mut writer
            && let Err(error) = copy_log(&engine, &name, writer, &mut last).await
        {
            tracing::debug!(name, error = words(&error), "the log of a container breaks off");
        }
        match end(&engine, &name).await {
            Ok(exit) => {
                if let Some(writer) = &mut writer {
                    let _ = writer.finish(exit.finished);
                }
                return exit;
            }
            Err(error) if is_not_found(&error) => return lost(),
            Err(error) => {
                tracing::warn!(
                    name,
                    error = words(&error),
                    "the engine does not answer; asking again"
                );
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(WAIT_MAX);
    }
}

/// Waits for the end of a container.
async fn end(engine: &Engine, name: &str) -> Result<ContainerExit, Error> {
    let options = WaitContainerOptions {
        condition: "not-running".into(),
    };
    let mut ended = std::pin::pin!(engine.patient.wait_container(name, Some(options)));
    match ended.next().await {
        Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) | None => {}
        Some(Err(error)) => return Err(error),
    }
    let found = engine
        .docker
        .inspect_container(name, None::<InspectContainerOptions>)
        .await?;
    let state = found.state.unwrap_or_default();
    if state.running == Some(true) {
        return Err(Error::RequestTimeoutError);
    }
    Ok(exit_of(&state))
}

/// Writes the lines that are newer than the last one, as they come.
async fn copy_log(
    engine: &Engine,
    name: &str,
    writer: &mut LogWriter,
    last: &mut LastTimes,
) -> Result<(), Error> {
    let options = LogsOptions {
        follow: true,
        stdout: true,
        stderr: true,
        timestamps: true,
        since: last.since(),
        ..LogsOptions::default()
    };
    let before = *last;
    let mut lines = std::pin::pin!(engine.patient.logs(name, Some(options)));
    while let Some(line) = lines.next().await {
        let (stream, bytes) = match line? {
            LogOutput::StdErr { message } => (Stream::Stderr, message),
            LogOutput::StdOut { message } | LogOutput::Console { message } => (Stream::Stdout, message),
            LogOutput::StdIn { .. } => continue,
        };
        let (time, content) = split_time(&bytes);
        // The engine knows seconds only, so what was written in that second comes again.
        if time
            .zip(before.of(stream))
            .is_some_and(|(time, before)| time <= before)
        {
            continue;
        }
        let now = time.unwrap_or_else(Timestamp::now);
        last.set(stream, now);
        if let Err(error) = writer.write(stream, content, now) {
            tracing::warn!(name, %error, "a line of a container's log is lost");
        }
    }
    Ok(())
}

/// A line without the time that the engine puts before it.
fn split_time(line: &[u8]) -> (Option<Timestamp>, &[u8]) {
    let end = line.iter().position(|byte| *byte == b' ');
    let parsed = end.and_then(|end| {
        let time = std::str::from_utf8(&line[..end]).ok()?.parse().ok()?;
        Some((time, &line[end + 1..]))
    });
    match parsed {
        Some((time, content)) => (Some(time), content),
        None => (None, line),
    }
}

/// When the last line of each stream was said. Each stream comes in its order; the two of them need not.
#[derive(Clone, Copy, Default)]
struct LastTimes([Option<Timestamp>; 2]);

impl LastTimes {
    /// Those of the whole lines at the end of a log; of none if it cannot be read.
    fn read(log: &Path) -> Self {
        Self::read_tail(log).unwrap_or_default()
    }

    fn read_tail(log: &Path) -> io::Result<Self> {
        const TAIL_BYTES: u64 = 64 * 1024;
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut tail = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut tail)?;
        Ok(Self::of_lines(&String::from_utf8_lossy(&tail)))
    }

    fn of_lines(text: &str) -> Self {
        let mut last = Self::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            let time = words.next().and_then(|time| time.parse().ok());
            let stream = words.next().and_then(Stream::of_name);
            if let Some((time, stream)) = time.zip(stream) {
                last.set(stream, time);
            }
        }
        last
    }

    fn of(self, stream: Stream) -> Option<Timestamp> {
        self.0[stream as usize]
    }

    fn set(&mut self, stream: Stream, time: Timestamp) {
        self.0[stream as usize] = Some(time);
    }

    /// The second of the earlier one, from which on the engine is to tell.
    fn since(self) -> i32 {
        let earlier = self.0.into_iter().flatten().min();
        earlier
            .and_then(|time| i32::try_from(time.as_second()).ok())
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_time_is_taken_off_a_line() {
        let (time, content) = split_time(b"2026-11-22T09:00:00.5Z hello there\n");
        assert_eq!(time, "2026-11-22T09:00:00.5Z".parse().ok());
        assert_eq!(content, b"hello there\n");
        assert_eq!(split_time(b"no time"), (None, &b"no time"[..]));
    }

    #[test]
    fn each_stream_has_its_last_time_in_whatever_order_they_came() {
        let last = LastTimes::of_lines(
            "00:00.1Z stdout F cut off\n\
             2026-11-22T09:00:02.5Z stdout F two\n\
             2026-11-22T09:00:03.5Z stdout F three\n\
             2026-11-22T09:00:01.5Z stderr F one\n",
        );
        assert_eq!(last.of(Stream::Stdout), "2026-11-22T09:00:03.5Z".parse().ok());
        let stderr = last.of(Stream::Stderr);
        assert_eq!(stderr, "2026-11-22T09:00:01.5Z".parse().ok());
        assert_eq!(i64::from(last.since()), stderr.unwrap().as_second());
        assert_eq!(LastTimes::of_lines("").since(), 0);
    }
}
