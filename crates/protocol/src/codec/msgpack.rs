//! msgpack as `msgpack.packb(use_bin_type=True)` writes and `unpackb(raw=False)` reads it.

use std::borrow::Cow;

use rmp::Marker;
use rmp::decode::RmpRead;
use rmp::encode;

use super::{DecodeError, EncodeError, Node};
use crate::{Map, Value};

const NAME: &str = "msgpack";

/// For so many items room is made before they are read: lengths may lie, and lie in each other.
const RESERVE: usize = 1024;

/// Reads one value, nested `max_depth` levels at most.
pub(super) fn read(data: &[u8], max_depth: usize) -> Result<Value, DecodeError> {
    let mut reader = Reader { rest: data, max_depth };
    let value = reader.value(0)?;
    if reader.rest.is_empty() { Ok(value) } else { Err(DecodeError::malformed(NAME, "data after the value")) }
}

struct Reader<'a> {
    rest: &'a [u8],
    max_depth: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, DecodeError> {
        let marker = rmp::decode::read_marker(&mut self.rest).map_err(|_| cut_off())?;
        let rest = &mut self.rest;
        let number = match marker {
            Marker::FixPos(number) => Ok(number.into()),
            Marker::FixNeg(number) => Ok(number.into()),
            Marker::U8 => rest.read_data_u8().map(i64::from),
            Marker::U16 => rest.read_data_u16().map(i64::from),
            Marker::U32 => rest.read_data_u32().map(i64::from),
            Marker::I8 => rest.read_data_i8().map(i64::from),
            Marker::I16 => rest.read_data_i16().map(i64::from),
            Marker::I32 => rest.read_data_i32().map(i64::from),
            Marker::I64 => rest.read_data_i64(),
            Marker::U64 => return rest.read_data_u64().map(Value::from).map_err(|_| cut_off()),
            Marker::F32 => {
                return rest.read_data_f32().map(|n| Value::Float(n.into())).map_err(|_| cut_off());
            }
            Marker::F64 => return rest.read_data_f64().map(Value::Float).map_err(|_| cut_off()),
            marker => return self.compound(marker, depth),
        };
        number.map(Value::Int).map_err(|_| cut_off())
    }

    fn compound(&mut self, marker: Marker, depth: usize) -> Result<Value, DecodeError> {
        match marker {
            Marker::Null => Ok(Value::Null),
            Marker::True => Ok(Value::Bool(true)),
            Marker::False => Ok(Value::Bool(false)),
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => {
                let text = self.bytes(marker)?;
                let text = std::str::from_utf8(text).map_err(|error| DecodeError::malformed(NAME, error))?;
                Ok(Value::String(text.to_owned()))
            }
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => Ok(Value::Bytes(self.bytes(marker)?.to_vec())),
            Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => {
                let (length, depth) = (self.length(marker)?, self.deeper(depth)?);
                let mut items = Vec::with_capacity(length.min(RESERVE));
                for _ in 0..length {
                    items.push(self.value(depth)?);
                }
                Ok(Value::List(items))
            }
            Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => {
                let (length, depth) = (self.length(marker)?, self.deeper(depth)?);
                let mut entries = Vec::with_capacity(length.min(RESERVE));
                for _ in 0..length {
                    let key = self.value(depth)?;
                    entries.push((key_text(key)?, self.value(depth)?));
                }
                Ok(Value::Map(entries.into_iter().collect()))
            }
            marker => Err(DecodeError::malformed(NAME, format_args!("unsupported type {marker:?}"))),
        }
    }

    fn bytes(&mut self, marker: Marker) -> Result<&'a [u8], DecodeError> {
        let length = self.length(marker)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or_else(cut_off)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn length(&mut self, marker: Marker) -> Result<usize, DecodeError> {
        let rest = &mut self.rest;
        let length = match marker {
            Marker::FixStr(length) | Marker::FixArray(length) | Marker::FixMap(length) => Ok(length.into()),
            Marker::Str8 | Marker::Bin8 => rest.read_data_u8().map(u32::from),
            Marker::Str16 | Marker::Bin16 | Marker::Array16 | Marker::Map16 => {
                rest.read_data_u16().map(u32::from)
            }
            _ => rest.read_data_u32(),
        };
        length.map(|length| length as usize).map_err(|_| cut_off())
    }

    fn deeper(&self, depth: usize) -> Result<usize, DecodeError> {
        if depth == self.max_depth { Err(DecodeError::TooDeep { limit: depth }) } else { Ok(depth + 1) }
    }
}

fn cut_off() -> DecodeError {
    DecodeError::malformed(NAME, "the data is cut off")
}

fn key_text(key: Value) -> Result<Cow<'static, str>, DecodeError> {
    match key {
        Value::String(text) => Ok(Cow::Owned(text)),
        Value::Int(number) => Ok(Cow::Owned(number.to_string())),
        Value::BigInt(digits) => Ok(Cow::Owned(digits)),
        Value::Bytes(bytes) => String::from_utf8(bytes)
            .map(Cow::Owned)
            .map_err(|error| DecodeError::malformed(NAME, error.utf8_error())),
        key => Err(DecodeError::malformed(NAME, format_args!("a key cannot be {}", key.type_name()))),
    }
}

/// Writes a value.
pub(super) fn write(node: Node<'_>) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::with_capacity(64);
    write_node(&mut out, node)?;
    Ok(out)
}

fn write_node(out: &mut Vec<u8>, node: Node<'_>) -> Result<(), EncodeError> {
    match node {
        Node::Value(value) => write_value(out, value),
        Node::List(items) => {
            written(encode::write_array_len(out, length(items.len())?))?;
            items.iter().try_for_each(|item| write_value(out, item))
        }
        Node::Map(map) => write_map(out, map),
        Node::Parts(parts) => {
            written(encode::write_array_len(out, length(parts.len())?))?;
            parts.iter().try_for_each(|part| write_node(out, *part))
        }
    }
}

fn write_value(out: &mut Vec<u8>, value: &Value) -> Result<(), EncodeError> {
    match value {
        Value::Null => written(encode::write_nil(out)),
        Value::Bool(flag) => written(encode::write_bool(out, *flag)),
        Value::Int(number) => written(encode::write_sint(out, *number)),
        Value::BigInt(digits) => match digits.parse() {
            Ok(number) => written(encode::write_uint(out, number)),
            Err(_) => Err(EncodeError::unsupported(NAME, value)),
        },
        Value::Float(number) => written(encode::write_f64(out, *number)),
        Value::String(text) => write_text(out, text),
        Value::Bytes(bytes) => {
            written(encode::write_bin_len(out, length(bytes.len())?))?;
            out.extend_from_slice(bytes);
            Ok(())
        }
        Value::List(items) => write_node(out, Node::List(items)),
        Value::Map(map) => write_map(out, map),
        Value::DateTime(_) | Value::Date(_) | Value::Time(_) | Value::Decimal(_) | Value::Uuid(_) => {
            Err(EncodeError::unsupported(NAME, value))
        }
    }
}

fn write_map(out: &mut Vec<u8>, map: &Map) -> Result<(), EncodeError> {
    written(encode::write_map_len(out, length(map.len())?))?;
    map.iter().try_for_each(|(key, value)| {
        write_text(out, key)?;
        write_value(out, value)
    })
}

fn write_text(out: &mut Vec<u8>, text: &str) -> Result<(), EncodeError> {
    written(encode::write_str_len(out, length(text.len())?))?;
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn length(length: usize) -> Result<u32, EncodeError> {
    u32::try_from(length).map_err(|_| EncodeError::TooLarge { serializer: NAME })
}

/// Writing to a vector cannot fail, but its type says that it may.
fn written<T, E>(result: Result<T, E>) -> Result<(), EncodeError> {
    result.map(drop).map_err(|_| EncodeError::TooLarge { serializer: NAME })
}
