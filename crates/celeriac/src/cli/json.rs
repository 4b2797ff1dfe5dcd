//! JSON as Python's `json.dumps` prints it, for people and for scripts that compare.

use std::fmt::Write;

use celeriac_protocol::{Map, Value, repr};

/// In one line, dicts in their own order.
pub(super) fn line(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, None);
    out
}

/// In many lines, indented by four blanks, the keys of dicts sorted.
pub(super) fn pretty(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, Some(0));
    out
}

/// `level` is how deep the value lies, in many lines; `None` for one. Whoever decoded it has bounded its depth.
fn write(out: &mut String, value: &Value, level: Option<usize>) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::BigInt(digits) => out.push_str(digits),
        Value::Float(number) if number.is_nan() => out.push_str("NaN"),
        Value::Float(f64::INFINITY) => out.push_str("Infinity"),
        Value::Float(f64::NEG_INFINITY) => out.push_str("-Infinity"),
        Value::Float(_) => out.push_str(&repr::value(value)),
        Value::String(text) | Value::DateTime(text) | Value::Date(text) | Value::Time(text) => {
            write_text(out, text);
        }
        Value::Decimal(text) | Value::Uuid(text) => write_text(out, text),
        Value::Bytes(_) => write_text(out, &repr::value(value)),
        Value::List(items) => sequence(out, ['[', ']'], items, level, write),
        Value::Map(map) => {
            sequence(out, ['{', '}'], entries(map, level.is_some()), level, |out, (key, value), level| {
                write_text(out, key);
                out.push_str(": ");
                write(out, value, level);
            });
        }
    }
}

fn entries(map: &Map, sorted: bool) -> Vec<(&str, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    if sorted {
        entries.sort_by_key(|(key, _)| *key);
    }
    entries
}

fn sequence<T>(
    out: &mut String,
    [start, end]: [char; 2],
    items: impl IntoIterator<Item = T>,
    level: Option<usize>,
    write: impl Fn(&mut String, T, Option<usize>),
) {
    let inner = level.map(|level| level + 1);
    let newline = |out: &mut String, level: Option<usize>| {
        if let Some(level) = level {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', 4 * level));
        }
    };
    out.push(start);
    let mut is_empty = true;
    for item in items {
        if !is_empty {
            out.push_str(if level.is_some() { "," } else { ", " });
        }
        is_empty = false;
        newline(out, inner);
        write(out, item, inner);
    }
    if !is_empty {
        newline(out, level);
    }
    out.push(end);
}

/// Python escapes all that is not ASCII, by UTF-16.
fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(char),
            char => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Value {
        let inner: Map = [("z", Value::List(vec![Value::Int(1), Value::Float(2.0)])), ("a", Value::Null)]
            .into_iter()
            .collect();
        let entries = [
            ("b", Value::Map(inner)),
            ("a", "h\u{e9}\u{1f980}\"\\\n\u{7f}".into()),
            ("e", Value::List(vec![])),
            ("m", Map::new().into()),
            ("t", Value::Bool(true)),
        ];
        Value::Map(entries.into_iter().collect())
    }

    /// `json.dumps` of the same value.
    #[test]
    fn a_line_is_pythons() {
        let text = r#"{"b": {"z": [1, 2.0], "a": null}, "a": "h\u00e9\ud83e\udd80\"\\\n\u007f", "e": [], "m": {}, "t": true}"#;
        assert_eq!(line(&sample()), text);
    }

    /// `json.dumps(..., sort_keys=True, indent=4)` of the same value.
    #[test]
    fn many_lines_are_pythons() {
        let text = r#"{
    "a": "h\u00e9\ud83e\udd80\"\\\n\u007f",
    "b": {
        "a": null,
        "z": [
            1,
            2.0
        ]
    },
    "e": [],
    "m": {},
    "t": true
}"#;
        assert_eq!(pretty(&sample()), text);
    }
}
