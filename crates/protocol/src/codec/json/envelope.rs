//! `{"__type__": ..., "__value__": ...}`: how kombu's JSON carries what JSON has no form for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::{Map, Value};

const TYPE: &str = "__type__";
const CONTENT: &str = "__value__";

/// The value in an envelope; any other dict comes back as it is.
pub(super) fn open(mut map: Map) -> Result<Value, String> {
    if map.len() != 2 || map.get(TYPE).is_none() {
        return Ok(Value::Map(map));
    }
    let Some(content) = map.remove(CONTENT) else { return Ok(Value::Map(map)) };
    let Some(Value::String(kind)) = map.remove(TYPE) else { return Err(format!("{TYPE} must be str")) };
    match (kind.as_str(), content) {
        ("datetime", Value::String(text)) => Ok(Value::DateTime(text)),
        ("date", Value::String(text)) => Ok(Value::Date(text)),
        ("time", Value::String(text)) => Ok(Value::Time(text)),
        ("decimal", Value::String(text)) => Ok(Value::Decimal(text)),
        ("bytes", Value::String(text)) => Ok(Value::Bytes(text.into_bytes())),
        ("base64", Value::String(text)) => {
            STANDARD.decode(&text).map(Value::Bytes).map_err(|error| format!("base64: {error}"))
        }
        ("uuid", Value::Map(mut fields)) => match fields.remove("hex") {
            Some(Value::String(hex)) if fields.is_empty() && is_uuid(&hex) => Ok(Value::Uuid(hex)),
            _ => Err("a uuid must be {\"hex\": 32 hexadecimal digits}".to_owned()),
        },
        ("datetime" | "date" | "time" | "decimal" | "bytes" | "base64" | "uuid", content) => {
            Err(format!("{TYPE} {kind:?} cannot hold {}", content.type_name()))
        }
        _ => Err(format!("unsupported {TYPE} {kind:?}")),
    }
}

/// The name and content of a value's envelope; `None` when JSON has a form for it.
pub(super) fn seal(value: &Value) -> Option<(&'static str, String)> {
    match value {
        Value::DateTime(text) => Some(("datetime", text.clone())),
        Value::Date(text) => Some(("date", text.clone())),
        Value::Time(text) => Some(("time", text.clone())),
        Value::Decimal(text) => Some(("decimal", text.clone())),
        Value::Uuid(text) => Some(("uuid", text.clone())),
        Value::Bytes(bytes) => Some(match std::str::from_utf8(bytes) {
            Ok(text) => ("bytes", text.to_owned()),
            Err(_) => ("base64", STANDARD.encode(bytes)),
        }),
        _ => None,
    }
}

fn is_uuid(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
        && text.bytes().filter(|byte| *byte != b'-').count() == 32
}
