//! YAML timestamps (`SafeConstructor.timestamp_regexp`), kept as the text that Python's `isoformat` gives them.

use chrono::{FixedOffset, NaiveDate};

use crate::Value;

/// A date or a datetime; `None` when the text has not their shape.
///
/// # Errors
/// When it has, but there is no such day or hour.
pub(super) fn read(text: &str) -> Result<Option<Value>, String> {
    match parse(text) {
        None => Ok(None),
        Some(None) => Err(format!("{text:?} is out of range")),
        Some(value) => Ok(value),
    }
}

fn parse(text: &str) -> Option<Option<Value>> {
    let mut rest = text;
    let year = digits(&mut rest, 4, 4)?;
    literal(&mut rest, '-')?;
    let month = digits(&mut rest, 1, 2)?;
    literal(&mut rest, '-')?;
    let day = digits(&mut rest, 1, 2)?;
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day).filter(|_| year > 0);
    if rest.is_empty() {
        // Shorter ones are text to the resolver.
        return (text.len() == 10).then(|| date.map(|date| Value::Date(date.to_string())));
    }
    rest = match rest.strip_prefix(['T', 't']) {
        Some(rest) => rest,
        None => rest.strip_prefix(BLANK)?.trim_start_matches(BLANK),
    };
    let hour = digits(&mut rest, 1, 2)?;
    literal(&mut rest, ':')?;
    let minute = digits(&mut rest, 2, 2)?;
    literal(&mut rest, ':')?;
    let second = digits(&mut rest, 2, 2)?;
    let micros = fraction(&mut rest)?;
    let offset = offset(rest.trim_start_matches(BLANK))?;
    let time = date.and_then(|date| date.and_hms_micro_opt(hour, minute, second, micros));
    Some(time.zip(offset).map(|(time, offset)| {
        let format = if micros == 0 { "%Y-%m-%dT%H:%M:%S" } else { "%Y-%m-%dT%H:%M:%S%.6f" };
        let offset = offset.map(|offset| offset.to_string()).unwrap_or_default();
        Value::DateTime(format!("{}{offset}", time.format(format)))
    }))
}

const BLANK: [char; 2] = [' ', '\t'];

/// Microseconds; further digits are cut off, as Python does.
fn fraction(rest: &mut &str) -> Option<u32> {
    let Some(after) = rest.strip_prefix('.') else { return Some(0) };
    let end = after.find(|char: char| !char.is_ascii_digit()).unwrap_or(after.len());
    let (fraction, after) = after.split_at(end);
    *rest = after;
    format!("{fraction:0<6.6}").parse().ok()
}

/// Nothing, `Z`, or hours and perhaps minutes from UTC; the inner `None` is an offset of a day or more.
fn offset(mut rest: &str) -> Option<Option<Option<FixedOffset>>> {
    if rest.is_empty() {
        return Some(Some(None));
    }
    if rest == "Z" {
        return Some(FixedOffset::east_opt(0).map(Some));
    }
    let sign = if rest.starts_with('-') { -1 } else { 1 };
    rest = rest.strip_prefix(['-', '+'])?;
    let hours = digits(&mut rest, 1, 2)?;
    let minutes = match literal(&mut rest, ':') {
        Some(()) => digits(&mut rest, 2, 2)?,
        None => 0,
    };
    let seconds = i32::try_from(hours * 3600 + minutes * 60).ok()?;
    rest.is_empty().then(|| FixedOffset::east_opt(sign * seconds).map(Some))
}

fn literal(rest: &mut &str, char: char) -> Option<()> {
    *rest = rest.strip_prefix(char)?;
    Some(())
}

fn digits(rest: &mut &str, least: usize, most: usize) -> Option<u32> {
    let count = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (digits, after) = rest.split_at(count);
    *rest = after;
    if count < least { None } else { digits.parse().ok() }
}
