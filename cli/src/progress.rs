//! What an action does, told on stderr: warnings and logs always, progress on a terminal.

use std::sync::Mutex;
use std::sync::PoisonError;

use chart_release::progress::{Event, Observer};

use crate::console::Console;

/// A line at the foot of the terminal that says what is waited for.
pub(crate) struct ProgressLine {
    console: Console,
    shown: Mutex<bool>,
}

/// Goes to the beginning of the line and clears it.
const CLEAR: &str = "\r\u{1b}[2K";

impl ProgressLine {
    pub(crate) fn new(console: Console) -> Self {
        Self {
            console,
            shown: Mutex::new(false),
        }
    }

    fn show(&self, text: &str) {
        if !self.console.shows_progress() {
            return;
        }
        let width = self.console.width().saturating_sub(1);
        let cut: String = text.chars().take(width).collect();
        self.console.progress(&format!("{CLEAR}{cut}"));
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    fn clear(&self) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut *shown) {
            self.console.progress(CLEAR);
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Observer for ProgressLine {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Warning(text) => {
                self.clear();
                self.console.warn(text);
            }
            Event::Log { pod, container, text } => {
                self.clear();
                for line in text.lines() {
                    self.console.say(format!("{pod}/{container}: {line}"));
                }
            }
            Event::Hook { event, hook } => self.show(&format!("Running {event} hook {hook}")),
            Event::Applied { object, done, total } => {
                self.show(&format!(
                    "Applied {done} of {total}: {}/{}",
                    object.kind(),
                    object.name()
                ));
            }
            Event::Deleted { label } => self.show(&format!("Deleted {label}")),
            Event::Waiting { pending, total } => {
                let Some((label, reason)) = pending.first() else {
                    return self.clear();
                };
                let ready = total - pending.len();
                self.show(&format!("{ready} of {total} ready; {label}: {reason}"));
            }
        }
    }
}
