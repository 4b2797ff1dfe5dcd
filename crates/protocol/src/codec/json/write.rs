use super::{NAME, envelope};
use crate::codec::{EncodeError, Node, integer};
use crate::{Map, Value, float};

/// Writes compact JSON that Python's `json` reads.
pub(in crate::codec) fn write(node: Node<'_>) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::with_capacity(128);
    write_node(&mut out, node)?;
    Ok(out)
}

fn write_node(out: &mut Vec<u8>, node: Node<'_>) -> Result<(), EncodeError> {
    match node {
        Node::Value(value) => write_value(out, value),
        Node::List(items) => write_list(out, items),
        Node::Map(map) => write_map(out, map),
        Node::Parts(parts) => {
            for (index, part) in parts.iter().enumerate() {
                out.push(if index == 0 { b'[' } else { b',' });
                write_node(out, *part)?;
            }
            out.push(b']');
            Ok(())
        }
    }
}

fn write_value(out: &mut Vec<u8>, value: &Value) -> Result<(), EncodeError> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::BigInt(digits) => {
            let digits = integer::canonical(digits).map_err(|_| EncodeError::unsupported(NAME, value))?;
            out.extend_from_slice(digits.as_bytes());
        }
        Value::Float(number) if number.is_nan() => out.extend_from_slice(b"NaN"),
        Value::Float(f64::INFINITY) => out.extend_from_slice(b"Infinity"),
        Value::Float(f64::NEG_INFINITY) => out.extend_from_slice(b"-Infinity"),
        Value::Float(number) => out.extend_from_slice(float::repr(*number).as_bytes()),
        Value::String(text) => write_text(out, text),
        Value::List(items) => return write_list(out, items),
        Value::Map(map) => return write_map(out, map),
        Value::Bytes(_)
        | Value::DateTime(_)
        | Value::Date(_)
        | Value::Time(_)
        | Value::Decimal(_)
        | Value::Uuid(_) => {
            let Some((kind, content)) = envelope::seal(value) else {
                return Err(EncodeError::unsupported(NAME, value));
            };
            out.extend_from_slice(b"{\"__type__\":");
            write_text(out, kind);
            out.extend_from_slice(b",\"__value__\":");
            if kind == "uuid" {
                out.extend_from_slice(b"{\"hex\":");
            }
            write_text(out, &content);
            out.extend_from_slice(if kind == "uuid" { b"}}" } else { b"}" });
        }
    }
    Ok(())
}

fn write_list(out: &mut Vec<u8>, items: &[Value]) -> Result<(), EncodeError> {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_value(out, item)?;
    }
    out.push(b']');
    Ok(())
}

fn write_map(out: &mut Vec<u8>, map: &Map) -> Result<(), EncodeError> {
    out.push(b'{');
    for (index, (key, value)) in map.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_text(out, key);
        out.push(b':');
        write_value(out, value)?;
    }
    out.push(b'}');
    Ok(())
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    const ESCAPED: &[u8] = b"\"\\";
    out.push(b'"');
    let mut plain = 0;
    for (index, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && !ESCAPED.contains(&byte) {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[plain..index]);
        plain = index + 1;
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            byte if byte < 0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            byte => out.extend_from_slice(&[b'\\', byte]),
        }
    }
    out.extend_from_slice(&text.as_bytes()[plain..]);
    out.push(b'"');
}
