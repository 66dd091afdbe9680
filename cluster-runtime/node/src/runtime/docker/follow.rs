//! Following a container: its output into the log, and then its end.

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
    let mut last = last_time(&log);
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
    last: &mut Option<Timestamp>,
) -> Result<(), Error> {
    let options = LogsOptions {
        follow: true,
        stdout: true,
        stderr: true,
        timestamps: true,
        since: last
            .and_then(|last| i32::try_from(last.as_second()).ok())
            .unwrap_or(0),
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
        if time.zip(before).is_some_and(|(time, before)| time <= before) {
            continue;
        }
        let now = time.unwrap_or_else(Timestamp::now);
        *last = Some(now);
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

/// The time of the last whole line of a log.
fn last_time(log: &Path) -> Option<Timestamp> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    const TAIL_BYTES: u64 = 64 * 1024;
    let mut file = std::fs::File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))
        .ok()?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail).ok()?;
    let text = String::from_utf8_lossy(&tail);
    let times = text
        .lines()
        .rev()
        .filter_map(|line| line.split(' ').next()?.parse().ok());
    times.into_iter().next()
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
}
