//! From bytes to values.

use std::borrow::Cow;

use celeriac_protocol::{Map, Value};

use super::{MarshalError, code, integer};

/// Deeper than any report; a stack holds it easily.
const DEPTH: usize = 100;

/// Reads one value; tuples and lists are [`Value::List`], keys that are no text become what JSON makes of them.
///
/// # Errors
/// When the bytes are anything else than one value of plain data.
pub fn loads(bytes: &[u8]) -> Result<Value, MarshalError> {
    let mut reader = Reader { rest: bytes };
    let value = reader.value(DEPTH)?;
    if reader.rest.is_empty() { Ok(value) } else { Err(MarshalError::Trailing) }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, MarshalError> {
        let kind = self.byte()?;
        self.value_of(kind, depth)
    }

    fn value_of(&mut self, kind: u8, depth: usize) -> Result<Value, MarshalError> {
        Ok(match kind {
            code::NONE => Value::Null,
            code::TRUE => Value::Bool(true),
            code::FALSE => Value::Bool(false),
            code::INT => Value::Int(self.int()?.into()),
            code::LONG => self.long()?,
            code::FLOAT => Value::Float(f64::from_le_bytes(self.array()?)),
            code::STR => Value::String(self.text()?),
            code::BYTES => Value::Bytes(self.counted()?.to_vec()),
            code::TUPLE | code::LIST => self.items(depth)?,
            code::DICT => self.dict(depth)?,
            other => return Err(MarshalError::Type(other)),
        })
    }

    fn items(&mut self, depth: usize) -> Result<Value, MarshalError> {
        let depth = depth.checked_sub(1).ok_or(MarshalError::Deep)?;
        let count = self.count()?;
        // An item takes a byte at least, so this is bounded by what came.
        if count > self.rest.len() {
            return Err(MarshalError::Short);
        }
        (0..count).map(|_| self.value(depth)).collect::<Result<_, _>>().map(Value::List)
    }

    fn dict(&mut self, depth: usize) -> Result<Value, MarshalError> {
        let depth = depth.checked_sub(1).ok_or(MarshalError::Deep)?;
        let mut entries: Vec<(Cow<'static, str>, Value)> = Vec::new();
        loop {
            let kind = self.byte()?;
            if kind == code::END {
                return Ok(Value::Map(entries.into_iter().collect::<Map>()));
            }
            let key = key(self.value_of(kind, depth)?)?;
            entries.push((key, self.value(depth)?));
        }
    }

    /// Text; what is half a surrogate pair in Python has no place in ours.
    fn text(&mut self) -> Result<String, MarshalError> {
        Ok(String::from_utf8_lossy(self.counted()?).into_owned())
    }

    fn long(&mut self) -> Result<Value, MarshalError> {
        let count = self.int()?;
        let size = count.unsigned_abs() as usize;
        if size > integer::DIGITS {
            return Err(MarshalError::Large);
        }
        let bytes = self.take(size * 2)?;
        let digits: Vec<u16> =
            bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]) & 0x7fff).collect();
        let negative = count < 0;
        let small =
            integer::to_u64(&digits).map(i128::from).map(|number| if negative { -number } else { number });
        match small.and_then(|number| i64::try_from(number).ok()) {
            Some(number) => Ok(Value::Int(number)),
            None => Ok(Value::BigInt(integer::to_decimal(negative, digits))),
        }
    }

    fn counted(&mut self) -> Result<&'a [u8], MarshalError> {
        let count = self.count()?;
        self.take(count)
    }

    fn count(&mut self) -> Result<usize, MarshalError> {
        usize::try_from(self.int()?).map_err(|_| MarshalError::Large)
    }

    fn int(&mut self) -> Result<i32, MarshalError> {
        self.array().map(i32::from_le_bytes)
    }

    fn byte(&mut self) -> Result<u8, MarshalError> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MarshalError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(MarshalError::Short)?;
        self.rest = rest;
        Ok(*head)
    }

    fn take(&mut self, size: usize) -> Result<&'a [u8], MarshalError> {
        let (head, rest) = self.rest.split_at_checked(size).ok_or(MarshalError::Short)?;
        self.rest = rest;
        Ok(head)
    }
}

fn key(value: Value) -> Result<Cow<'static, str>, MarshalError> {
    Ok(match value {
        Value::String(text) => Map::key(&text),
        Value::Null => "null".into(),
        Value::Bool(flag) => if flag { "true" } else { "false" }.into(),
        Value::Int(number) => number.to_string().into(),
        Value::BigInt(digits) => digits.into(),
        Value::Float(number) => number.to_string().into(),
        Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
        _ => return Err(MarshalError::Key),
    })
}
