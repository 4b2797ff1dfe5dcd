use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{NAME, timestamp};
use crate::codec::{EncodeError, Node, integer};
use crate::{Map, Value, float};

/// Writes one line in flow style that `yaml.safe_load` reads back equal.
pub(in crate::codec) fn write(node: Node<'_>) -> Result<Vec<u8>, EncodeError> {
    let mut out = String::with_capacity(128);
    write_node(&mut out, node)?;
    out.push('\n');
    Ok(out.into_bytes())
}

fn write_node(out: &mut String, node: Node<'_>) -> Result<(), EncodeError> {
    match node {
        Node::Value(value) => write_value(out, value),
        Node::List(items) => write_list(out, items, write_value),
        Node::Parts(parts) => write_list(out, parts, |out, part| write_node(out, *part)),
        Node::Map(map) => write_map(out, map),
    }
}

fn write_value(out: &mut String, value: &Value) -> Result<(), EncodeError> {
    let unsupported = || EncodeError::unsupported(NAME, value);
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::BigInt(digits) => out.push_str(&integer::canonical(digits).map_err(|_| unsupported())?),
        Value::Float(number) => write_float(out, *number),
        Value::String(text) => write_text(out, text),
        Value::Bytes(bytes) => {
            out.push_str("!!binary \"");
            STANDARD.encode_string(bytes, out);
            out.push('"');
        }
        Value::List(items) => return write_list(out, items, write_value),
        Value::Map(map) => return write_map(out, map),
        Value::DateTime(text) | Value::Date(text) => {
            // In another shape PyYAML would read it as text, or fail.
            let same = |read: &Value| std::mem::discriminant(read) == std::mem::discriminant(value);
            timestamp::read(text).ok().flatten().filter(same).ok_or_else(unsupported)?;
            out.push_str("!!timestamp ");
            write_text(out, text);
        }
        Value::Time(_) | Value::Decimal(_) | Value::Uuid(_) => return Err(unsupported()),
    }
    Ok(())
}

fn write_list<T>(
    out: &mut String,
    items: &[T],
    write: impl Fn(&mut String, &T) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write(out, item)?;
    }
    out.push(']');
    Ok(())
}

fn write_map(out: &mut String, map: &Map) -> Result<(), EncodeError> {
    out.push('{');
    for (index, (key, value)) in map.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        // A key of more than 1024 characters must be announced; escaped, one may be ten times as long.
        if key.len() > 100 {
            out.push_str("? ");
        }
        write_text(out, key);
        out.push_str(": ");
        write_value(out, value)?;
    }
    out.push('}');
    Ok(())
}

/// YAML 1.1 reads a number as a float only with a point.
fn write_float(out: &mut String, number: f64) {
    let text = float::repr(number);
    match text.as_str() {
        "nan" => out.push_str(".nan"),
        "inf" => out.push_str(".inf"),
        "-inf" => out.push_str("-.inf"),
        text if text.contains('.') => out.push_str(text),
        text => out.push_str(&text.replacen('e', ".0e", 1)),
    }
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            ' '..='~' => out.push(char),
            char if char <= '\u{ffff}' => out.push_str(&format!("\\u{:04X}", u32::from(char))),
            char => out.push_str(&format!("\\U{:08X}", u32::from(char))),
        }
    }
    out.push('"');
}
