//! From values to bytes.

use celeriac_protocol::{Map, Value};

use super::{MarshalError, code, integer};

/// The bytes of a value; what marshal has no type for (dates, decimals, UUIDs) is written as its text.
///
/// # Errors
/// [`MarshalError::Large`].
pub fn dumps(value: &Value) -> Result<Vec<u8>, MarshalError> {
    let mut writer = Writer::new();
    writer.value(value);
    writer.finish()
}

/// Writes values part by part, from borrowed data; tuples, too, which [`Value`] does not have.
///
/// What begins with [`tuple`](Writer::tuple) or [`list`](Writer::list) needs as many values after it, what begins with
/// [`dict`](Writer::dict) keys and values by turns and [`end`](Writer::end).
#[derive(Debug, Default)]
pub struct Writer {
    buffer: Vec<u8>,
    large: bool,
}

impl Writer {
    /// An empty one.
    pub fn new() -> Self {
        Writer::default()
    }

    /// `None`.
    pub fn none(&mut self) -> &mut Self {
        self.code(code::NONE)
    }

    /// `True` or `False`.
    pub fn bool(&mut self, flag: bool) -> &mut Self {
        self.code(if flag { code::TRUE } else { code::FALSE })
    }

    /// An integer.
    pub fn int(&mut self, number: i64) -> &mut Self {
        match i32::try_from(number) {
            Ok(small) => self.code(code::INT).raw(&small.to_le_bytes()),
            Err(_) => self.long(number < 0, integer::of_u64(number.unsigned_abs())),
        }
    }

    /// An integer that may need all 64 bits.
    pub fn uint(&mut self, number: u64) -> &mut Self {
        match i64::try_from(number) {
            Ok(number) => self.int(number),
            Err(_) => self.long(false, integer::of_u64(number)),
        }
    }

    /// A float.
    pub fn float(&mut self, number: f64) -> &mut Self {
        self.code(code::FLOAT).raw(&number.to_le_bytes())
    }

    /// Text.
    pub fn str(&mut self, text: &str) -> &mut Self {
        self.code(code::STR).count(text.len()).raw(text.as_bytes())
    }

    /// `bytes`.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.code(code::BYTES).count(bytes.len()).raw(bytes)
    }

    /// A tuple of the next `count` values.
    pub fn tuple(&mut self, count: usize) -> &mut Self {
        self.code(code::TUPLE).count(count)
    }

    /// A list of the next `count` values.
    pub fn list(&mut self, count: usize) -> &mut Self {
        self.code(code::LIST).count(count)
    }

    /// A dict begins.
    pub fn dict(&mut self) -> &mut Self {
        self.code(code::DICT)
    }

    /// A dict ends.
    pub fn end(&mut self) -> &mut Self {
        self.code(code::END)
    }

    /// Any value.
    pub fn value(&mut self, value: &Value) -> &mut Self {
        match value {
            Value::Null => self.none(),
            Value::Bool(flag) => self.bool(*flag),
            Value::Int(number) => self.int(*number),
            Value::BigInt(text) => self.big(text),
            Value::Float(number) => self.float(*number),
            Value::Bytes(bytes) => self.bytes(bytes),
            Value::List(items) => items.iter().fold(self.list(items.len()), Writer::value),
            Value::Map(map) => self.map(map),
            Value::String(text)
            | Value::DateTime(text)
            | Value::Date(text)
            | Value::Time(text)
            | Value::Decimal(text)
            | Value::Uuid(text) => self.str(text),
        }
    }

    /// A whole dict.
    pub fn map(&mut self, map: &Map) -> &mut Self {
        map.iter().fold(self.dict(), |writer, (key, value)| writer.str(key).value(value)).end()
    }

    /// A value that has been written before, see [`finish`](Writer::finish).
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.buffer.extend_from_slice(bytes);
        self
    }

    /// What has been written.
    ///
    /// # Errors
    /// [`MarshalError::Large`].
    pub fn finish(self) -> Result<Vec<u8>, MarshalError> {
        if self.large { Err(MarshalError::Large) } else { Ok(self.buffer) }
    }

    fn big(&mut self, text: &str) -> &mut Self {
        match integer::from_decimal(text) {
            Ok((negative, digits)) => self.long(negative, digits.into_iter()),
            Err(_) => {
                self.large = true;
                self
            }
        }
    }

    fn long(&mut self, negative: bool, digits: impl Iterator<Item = u16> + Clone) -> &mut Self {
        let count = digits.clone().count() as i32; // at most thousands
        self.code(code::LONG).raw(&if negative { -count } else { count }.to_le_bytes());
        digits.fold(self, |writer, digit| writer.raw(&digit.to_le_bytes()))
    }

    fn code(&mut self, code: u8) -> &mut Self {
        self.buffer.push(code);
        self
    }

    fn count(&mut self, count: usize) -> &mut Self {
        let counted = i32::try_from(count);
        self.large |= counted.is_err();
        self.raw(&counted.unwrap_or_default().to_le_bytes())
    }
}
