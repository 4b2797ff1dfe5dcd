//! `worker_log_format`: a `%` format of the fields that Python's log records have (`logging.Formatter`).

use std::fmt::Write as _;

use chrono::{DateTime, Local};

use super::level::Level;

/// Celery's default (`celery/app/defaults.py`).
const DEFAULT: &str = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s";

/// How a line of the log looks.
#[derive(Debug, Clone, PartialEq)]
pub struct Format(Vec<Piece>);

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(String),
    Field { name: String, left: bool, width: usize },
}

/// What a line is about.
pub(super) struct Record<'a> {
    pub level: Level,
    pub time: &'a DateTime<Local>,
    pub message: &'a str,
}

impl Default for Format {
    fn default() -> Self {
        Format::parse(DEFAULT)
    }
}

impl Format {
    /// Reads a format. What is no field of a record stays as it is.
    pub fn parse(mut text: &str) -> Self {
        let mut pieces = Vec::new();
        while let Some((before, after)) = text.split_once('%') {
            push(&mut pieces, before);
            let (piece, rest) = match field(after) {
                Some(found) => found,
                None => (Piece::Text("%".to_owned()), after.strip_prefix('%').unwrap_or(after)),
            };
            match piece {
                Piece::Text(text) => push(&mut pieces, &text),
                field => pieces.push(field),
            }
            text = rest;
        }
        push(&mut pieces, text);
        Format(pieces)
    }

    /// Appends a record, the message as it is.
    pub(super) fn write(&self, out: &mut String, record: &Record<'_>) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Field { name, left, width } => {
                    let start = out.len();
                    write_field(out, name, record);
                    let missing = width.saturating_sub(out[start..].chars().count());
                    out.insert_str(if *left { out.len() } else { start }, &" ".repeat(missing));
                }
            }
        }
    }
}

fn push(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        Some(Piece::Text(last)) => last.push_str(text),
        _ if text.is_empty() => {}
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

/// `(name)-8s` behind the percent sign, and what follows it.
fn field(text: &str) -> Option<(Piece, &str)> {
    let (name, rest) = text.strip_prefix('(')?.split_once(')')?;
    let left = rest.starts_with('-');
    let rest = rest.trim_start_matches(['-', '+', '#', '0', ' ']);
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (width, rest) = rest.split_at(digits);
    let rest = rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let rest = rest.strip_prefix(['s', 'd', 'r', 'f'])?;
    let width = width.parse().unwrap_or_default();
    Some((Piece::Field { name: name.to_owned(), left, width }, rest))
}

fn write_field(out: &mut String, name: &str, record: &Record<'_>) {
    let Record { level, time, message } = record;
    let millis = time.timestamp_subsec_millis().min(999);
    let _ = match name {
        "message" => write!(out, "{message}"),
        "asctime" => {
            super::log::push_second(out, time);
            write!(out, ",{millis:03}")
        }
        "levelname" => write!(out, "{}", level.name()),
        "levelno" => write!(out, "{}", level.number()),
        "processName" => write!(out, "MainProcess"),
        "threadName" => write!(out, "MainThread"),
        "process" => write!(out, "{}", std::process::id()),
        "name" => write!(out, "celery.worker"),
        "module" => write!(out, "worker"),
        "created" => write!(out, "{}.{:06}", time.timestamp(), time.timestamp_subsec_micros()),
        "msecs" => write!(out, "{millis}"),
        // What only a line of Python code has, such as `lineno`, or a task's process.
        _ => Ok(()),
    };
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    fn written(format: &str) -> String {
        let time =
            Local.with_ymd_and_hms(2026, 11, 21, 12, 0, 0).unwrap() + chrono::Duration::milliseconds(7);
        let mut out = String::new();
        Format::parse(format)
            .write(&mut out, &Record { level: Level::Info, time: &time, message: "50% done" });
        out
    }

    #[test]
    fn fields_are_those_of_python() {
        for (format, line) in [
            (DEFAULT, "[2026-11-21 12:00:00,007: INFO/MainProcess] 50% done"),
            ("%(levelname)-8s|%(levelname)6s|%(levelno)3d", "INFO    |  INFO| 20"),
            ("100%% %(name)s: %(message)s", "100% celery.worker: 50% done"),
            ("%(lineno)d%(task_id)s.", "."),
            ("50% of %(message", "50% of %(message"),
            ("", ""),
        ] {
            assert_eq!(written(format), line, "{format}");
        }
    }
}
