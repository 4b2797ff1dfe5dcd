//! Celery's times on the wire: ISO 8601 text, as Python's `isoformat` writes and `fromisoformat` reads it.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc};

/// Reads an ISO 8601 time; one without an offset is UTC (`enable_utc`, Celery's default).
///
/// `None` when it is no time or, as in Python, not of the years 1 to 9999.
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    let offset = || {
        DateTime::parse_from_rfc3339(text)
            .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%#z"))
            .map(|time| time.with_timezone(&Utc))
            .ok()
    };
    let naive = || {
        ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
            .iter()
            .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
    };
    let date = || Some(NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_time(NaiveTime::MIN));
    let time = offset().or_else(|| naive().or_else(date).map(|time| time.and_utc()))?;
    (1..=9999).contains(&time.year()).then_some(time)
}

/// Writes a time as `datetime.isoformat()` does: microseconds, or none when they are zero.
pub fn iso(time: DateTime<Utc>) -> String {
    iso_naive(time.naive_utc()) + "+00:00"
}

pub(crate) fn iso_naive(time: NaiveDateTime) -> String {
    format!("{}T{}", time.date(), iso_clock(time.time()))
}

pub(crate) fn iso_clock(time: NaiveTime) -> String {
    let format = if time.nanosecond() / 1000 == 0 { "%H:%M:%S" } else { "%H:%M:%S%.6f" };
    time.format(format).to_string()
}
