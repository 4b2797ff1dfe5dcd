//! Python's `repr` of values, as `argsrepr` and `kwargsrepr` show them (`celery/utils/saferepr.py`): at most three
//! levels deep, and cut at [`MAX_LENGTH`].

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

use crate::{Map, Value, float};

/// About how many bytes are shown (`argsrepr_maxsize`); what is open is closed after them.
pub const MAX_LENGTH: usize = 1024;

/// Deeper lists are shown as `[...]` (`saferepr`'s `maxlevels`).
const MAX_LEVELS: usize = 3;

/// `(2, 2)`.
pub fn args(args: &[Value]) -> String {
    let mut out = String::new();
    let end = if args.len() == 1 { ",)" } else { ")" };
    sequence(&mut out, "(", end, args, |out, item| write(out, item, 1));
    out
}

/// `{'x': 2}`.
pub fn kwargs(kwargs: &Map) -> String {
    let mut out = String::new();
    dict(&mut out, kwargs, 0);
    out
}

/// The `repr` of one value.
pub fn value(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, 0);
    out
}

/// The first `length` bytes of a text, or less, so that no character is cut in two.
pub(crate) fn cut(text: &str, length: usize) -> &str {
    let boundary = (0..=length.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
    &text[..boundary.unwrap_or(0)]
}

fn write(out: &mut String, value: &Value, level: usize) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::BigInt(digits) => out.push_str(cut(digits, MAX_LENGTH)),
        Value::Float(number) => out.push_str(&float::repr(*number)),
        Value::String(text) => quote_str(out, text),
        Value::Bytes(bytes) => quote_bytes(out, bytes),
        Value::List(_) if level >= MAX_LEVELS => out.push_str("[...]"),
        Value::List(items) => sequence(out, "[", "]", items, |out, item| write(out, item, level + 1)),
        Value::Map(_) if level >= MAX_LEVELS => out.push_str("{...}"),
        Value::Map(map) => dict(out, map, level),
        Value::DateTime(text) => called(out, "datetime.datetime", datetime(text), text),
        Value::Date(text) => called(out, "datetime.date", text.parse().ok().map(day), text),
        Value::Time(text) => called(out, "datetime.time", text.parse().ok().map(clock), text),
        Value::Decimal(text) => called(out, "Decimal", None, text),
        Value::Uuid(text) => called(out, "UUID", hyphens(text), text),
    }
}

fn dict(out: &mut String, map: &Map, level: usize) {
    sequence(out, "{", "}", map.iter(), |out, (key, value)| {
        quote_str(out, key);
        out.push_str(": ");
        write(out, value, level + 1);
    });
}

fn sequence<T>(
    out: &mut String,
    start: &str,
    end: &str,
    items: impl IntoIterator<Item = T>,
    write: impl Fn(&mut String, T),
) {
    out.push_str(start);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        if out.len() >= MAX_LENGTH {
            out.push_str("...");
            break;
        }
        write(out, item);
    }
    out.push_str(end);
}

/// `kind(arguments)`, or `kind('text')` for a text that gives no arguments.
fn called(out: &mut String, kind: &str, arguments: Option<String>, text: &str) {
    out.push_str(kind);
    out.push('(');
    match arguments {
        Some(arguments) => out.push_str(&arguments),
        None => quote_str(out, text),
    }
    out.push(')');
}

fn datetime(text: &str) -> Option<String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        let zone = match time.offset().local_minus_utc() {
            0 => "datetime.timezone.utc".to_owned(),
            seconds if seconds > 0 => format!("datetime.timezone(datetime.timedelta(seconds={seconds}))"),
            seconds => format!(
                "datetime.timezone(datetime.timedelta(days=-1, seconds={}))",
                seconds.rem_euclid(24 * 60 * 60)
            ),
        };
        let local = time.naive_local();
        return Some(format!("{}, {}, tzinfo={zone}", day(local.date()), clock(local.time())));
    }
    let time: NaiveDateTime = text.parse().ok()?;
    Some(format!("{}, {}", day(time.date()), clock(time.time())))
}

fn day(date: NaiveDate) -> String {
    format!("{}, {}, {}", date.year(), date.month(), date.day())
}

fn clock(time: NaiveTime) -> String {
    let mut out = format!("{}, {}", time.hour(), time.minute());
    let micros = time.nanosecond() / 1000;
    if time.second() > 0 || micros > 0 {
        out.push_str(&format!(", {}", time.second()));
    }
    if micros > 0 {
        out.push_str(&format!(", {micros}"));
    }
    out
}

/// A UUID's text in quotes, with the hyphens that Python prints.
fn hyphens(text: &str) -> Option<String> {
    let hex: String =
        text.chars().filter(|char| *char != '-').take(33).collect::<String>().to_ascii_lowercase();
    if hex.len() != 32 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some(format!("'{}-{}-{}-{}-{}'", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

fn quote_str(out: &mut String, text: &str) {
    let shown = cut(text, MAX_LENGTH.saturating_sub(out.len()));
    let quote = quote_for(shown.contains('\''), shown.contains('"'));
    out.push(quote);
    for char in shown.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            char if char == quote => out.extend(['\\', char]),
            char if printable(char) => out.push(char),
            char => out.push_str(&match u32::from(char) {
                code @ ..=0xff => format!("\\x{code:02x}"),
                code @ ..=0xffff => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            }),
        }
    }
    out.push_str(if shown.len() < text.len() { "..." } else { "" });
    out.push(quote);
}

fn quote_bytes(out: &mut String, bytes: &[u8]) {
    let shown = &bytes[..bytes.len().min(MAX_LENGTH.saturating_sub(out.len()))];
    let quote = quote_for(shown.contains(&b'\''), shown.contains(&b'"'));
    out.extend(['b', quote]);
    for byte in shown {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            byte if char::from(*byte) == quote => out.extend(['\\', quote]),
            b' '..=b'~' => out.push(char::from(*byte)),
            byte => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push_str(if shown.len() < bytes.len() { "..." } else { "" });
    out.push(quote);
}

fn quote_for(single: bool, double: bool) -> char {
    if single && !double { '"' } else { '\'' }
}

/// Nearly `str.isprintable`: control, format, separator and private characters are not.
fn printable(char: char) -> bool {
    let hidden = char.is_control() || (char.is_whitespace() && char != ' ');
    let format = matches!(char, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
    let private = matches!(char, '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..);
    !hidden && !format && !private
}
