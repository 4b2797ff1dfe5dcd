//! The log, in Celery's format: `[2026-11-21 05:14:32,123: INFO/MainProcess] Task tasks.add[id] received`.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::io::Write;

use chrono::{DateTime, Local};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::console::clean;
use super::format::{Format, Record as Entry};
use super::level::Level;
use super::logfile::LogFile;

/// Gives events of a level and graver to a function; spans are not shown.
pub struct Lines<W> {
    level: Level,
    write: W,
}

impl<W: Fn(&Event<'_>) + Send + Sync + 'static> Lines<W> {
    /// To be set as the process's subscriber.
    pub fn new(level: Level, write: W) -> Self {
        Lines { level, write }
    }
}

/// Writes lines, each as one write.
pub struct Log {
    level: Level,
    format: Format,
    colour: bool,
    /// Standard error, unless there is a file.
    file: Option<LogFile>,
}

impl Log {
    /// For lines of this level and graver.
    pub fn new(level: Level, format: Format, colour: bool, file: Option<LogFile>) -> Self {
        Log { level, format, colour, file }
    }

    /// Writes events from now on.
    pub fn lines(self) -> impl Subscriber + Send + Sync + 'static {
        Lines::new(self.level, move |event: &Event<'_>| {
            self.write(Level::of(event.metadata()), &text(event));
        })
    }

    /// Writes one line now, whatever its level.
    pub fn write(&self, level: Level, message: &str) {
        let colour = level.colour().filter(|_| self.colour);
        let line = line(&self.format, level, &Local::now(), message, colour);
        // Who cannot log cannot log that either.
        let _ = match &self.file {
            Some(file) => file.write(&line),
            None => std::io::stderr().lock().write_all(line.as_bytes()),
        };
    }
}

/// One line of the log (`worker_log_format`).
fn line(
    format: &Format,
    level: Level,
    time: &DateTime<Local>,
    message: &str,
    colour: Option<&str>,
) -> String {
    let mut line = String::with_capacity(message.len() + 64);
    line.push_str(colour.unwrap_or_default());
    // A task's name or error may carry what would drive a terminal.
    format.write(&mut line, &Entry { level, time, message: &clean(message) });
    line.push_str(if colour.is_some() { "\x1b[0m\n" } else { "\n" });
    line
}

/// Appends date and time; a second is formatted once, not for each line.
pub(super) fn push_second(line: &mut String, time: &DateTime<Local>) {
    thread_local! {
        static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
    }
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != time.timestamp() {
            *second = time.timestamp();
            *text = time.format("%Y-%m-%d %H:%M:%S").to_string();
        }
        line.push_str(text);
    });
}

impl<W: Fn(&Event<'_>) + Send + Sync + 'static> Subscriber for Lines<W> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !metadata.is_span() && *metadata.level() <= tracing::Level::DEBUG && Level::of(metadata) >= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level.filter())
    }

    fn event(&self, event: &Event<'_>) {
        (self.write)(event);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// An event's message, and its other fields behind it.
pub fn text(event: &Event<'_>) -> String {
    let mut message = Message::default();
    event.record(&mut message);
    message.text + &message.fields
}

#[derive(Default)]
struct Message {
    text: String,
    fields: String,
}

impl Visit for Message {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.text, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    fn at_noon(level: Level, message: &str, colour: Option<&str>) -> String {
        let time =
            Local.with_ymd_and_hms(2026, 11, 21, 12, 0, 0).unwrap() + chrono::Duration::milliseconds(7);
        line(&Format::default(), level, &time, message, colour)
    }

    #[test]
    fn a_line_looks_like_celerys() {
        assert_eq!(
            at_noon(Level::Info, "Task tasks.add[id] received", None),
            "[2026-11-21 12:00:00,007: INFO/MainProcess] Task tasks.add[id] received\n"
        );
    }

    #[test]
    fn colours_span_the_whole_line() {
        let line = at_noon(Level::Error, "two\nlines", Level::Error.colour());
        assert!(line.starts_with("\x1b[1;31m[") && line.ends_with("two\nlines\x1b[0m\n"), "{line:?}");
    }

    #[test]
    fn a_message_cannot_drive_the_terminal() {
        let line = at_noon(Level::Info, "\x1b[2J\rgone", None);
        assert!(line.ends_with("\\u{1b}[2J\\rgone\n"), "{line:?}");
    }

    #[test]
    fn what_is_below_the_level_is_not_written() {
        let dir = std::env::temp_dir().join(format!("celeriac-log-{}", std::process::id()));
        let log = Log::new(Level::Info, Format::default(), false, Some(LogFile::open(&dir).unwrap()));
        tracing::subscriber::with_default(log.lines(), || {
            tracing::debug!("no");
            assert!(tracing::enabled!(tracing::Level::INFO) && !tracing::enabled!(tracing::Level::DEBUG));
            tracing::info!(queue = "q", "yes {}", 1);
            tracing::info_span!("span").in_scope(|| tracing::error!("in a span"));
        });
        let written = std::fs::read_to_string(&dir).unwrap();
        std::fs::remove_file(&dir).unwrap();
        let lines: Vec<_> = written.lines().map(|line| line.split_once("] ").unwrap().1).collect();
        assert_eq!(lines, ["yes 1 queue=q", "in a span"]);
    }
}
