//! Python's JSON is wider than the standard: NaN and the infinities, integers of any size, floats that overflow to
//! infinity, lone surrogates. A strict parser refuses or rounds them, and each comes from plain `json.dumps`.

use std::borrow::Cow;

use super::{NAME, envelope};
use crate::codec::{DecodeError, integer};
use crate::{Map, Value};

/// Reads one value, nested `max_depth` levels at most.
pub(in crate::codec) fn read(data: &[u8], max_depth: usize) -> Result<Value, DecodeError> {
    let text = std::str::from_utf8(data).map_err(|error| DecodeError::malformed(NAME, error))?;
    let mut reader = Reader { text, bytes: data, at: 0, max_depth };
    let value = reader.value(0)?;
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.expected("the end")),
    }
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    max_depth: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, DecodeError> {
        match self.peek() {
            Some(b'"') => Ok(Value::String(self.string()?.into_owned())),
            Some(b'[') => self.list(self.deeper(depth)?),
            Some(b'{') => self.map(self.deeper(depth)?),
            Some(b'-') if self.rest().starts_with(b"-I") => {
                self.constant("-Infinity", Value::Float(f64::NEG_INFINITY))
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'n') => self.constant("null", Value::Null),
            Some(b't') => self.constant("true", Value::Bool(true)),
            Some(b'f') => self.constant("false", Value::Bool(false)),
            Some(b'N') => self.constant("NaN", Value::Float(f64::NAN)),
            Some(b'I') => self.constant("Infinity", Value::Float(f64::INFINITY)),
            _ => Err(self.expected("a value")),
        }
    }

    fn deeper(&self, depth: usize) -> Result<usize, DecodeError> {
        if depth == self.max_depth { Err(DecodeError::TooDeep { limit: depth }) } else { Ok(depth + 1) }
    }

    fn list(&mut self, depth: usize) -> Result<Value, DecodeError> {
        let mut items = Vec::new();
        self.at += 1;
        if self.take(b']') {
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth)?);
            if self.take(b']') {
                return Ok(Value::List(items));
            }
            if !self.take(b',') {
                return Err(self.expected("',' or ']'"));
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, DecodeError> {
        let mut entries = Vec::new();
        self.at += 1;
        if self.take(b'}') {
            return Ok(Value::Map(Map::new()));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.expected("a key in double quotes"));
            }
            let key = match self.string()? {
                Cow::Borrowed(key) => Map::key(key),
                Cow::Owned(key) => Cow::Owned(key),
            };
            if !self.take(b':') {
                return Err(self.expected("':'"));
            }
            entries.push((key, self.value(depth)?));
            if self.take(b'}') {
                let map = entries.into_iter().collect();
                return envelope::open(map).map_err(|reason| self.malformed(reason));
            }
            if !self.take(b',') {
                return Err(self.expected("',' or '}'"));
            }
        }
    }

    fn constant(&mut self, name: &str, value: Value) -> Result<Value, DecodeError> {
        if !self.rest().starts_with(name.as_bytes()) {
            return Err(self.expected("a value"));
        }
        self.at += name.len();
        Ok(value)
    }

    /// The longest `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?`; without the last two parts it is an integer.
    fn number(&mut self) -> Result<Value, DecodeError> {
        let start = self.at;
        let mut end = start + usize::from(self.bytes[start] == b'-');
        let digits = |from: usize| self.bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        match self.bytes.get(end) {
            Some(b'0') => end += 1,
            Some(b'1'..=b'9') => end += digits(end),
            _ => return Err(self.expected("a value")),
        }
        let whole = end;
        if self.bytes.get(end) == Some(&b'.') {
            let fraction = digits(end + 1);
            end += if fraction > 0 { 1 + fraction } else { 0 };
        }
        if let Some(b'e' | b'E') = self.bytes.get(end) {
            let sign = usize::from(matches!(self.bytes.get(end + 1), Some(b'-' | b'+')));
            let exponent = digits((end + 1 + sign).min(self.bytes.len()));
            end += if exponent > 0 { 1 + sign + exponent } else { 0 };
        }
        let number = &self.text[start..end];
        let value = if end == whole {
            integer::parse(number).map_err(|reason| self.malformed(reason))?
        } else {
            Value::Float(number.parse().map_err(|error| self.malformed(error))?)
        };
        self.at = end;
        Ok(value)
    }

    /// A string, borrowed unless it has escapes. The next byte is its opening quote.
    fn string(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        self.at += 1;
        let mut owned = String::new();
        loop {
            let plain = self.rest().iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20);
            let Some(plain) = plain else {
                self.at = self.bytes.len();
                return Err(self.expected("'\"'"));
            };
            let text: &'a str = &self.text[self.at..self.at + plain];
            self.at += plain + 1;
            match self.bytes[self.at - 1] {
                b'"' if owned.is_empty() => return Ok(Cow::Borrowed(text)),
                b'"' => {
                    owned.push_str(text);
                    return Ok(Cow::Owned(owned));
                }
                b'\\' => {
                    owned.push_str(text);
                    owned.push(self.escape()?);
                }
                _ => return Err(self.malformed("control characters in a string must be escaped")),
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<char, DecodeError> {
        let Some(&byte) = self.bytes.get(self.at) else { return Err(self.expected("an escape")) };
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.hex(self.at).ok_or_else(|| self.expected("four hexadecimal digits"))?;
                self.at += 4;
                let low = if (0xD800..0xDC00).contains(&unit) && self.rest().starts_with(b"\\u") {
                    self.hex(self.at + 2).filter(|low| (0xDC00..0xE000).contains(low))
                } else {
                    None
                };
                let code = match low {
                    Some(low) => {
                        self.at += 6;
                        0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
                    }
                    None => unit,
                };
                // A lone surrogate is text to Python, but not to Rust.
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return Err(self.malformed("invalid escape")),
        })
    }

    fn hex(&self, at: usize) -> Option<u32> {
        let digits = self.bytes.get(at..at + 4)?;
        digits.iter().try_fold(0, |code, &digit| Some(code << 4 | char::from(digit).to_digit(16)?))
    }

    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                byte => return byte.copied(),
            }
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expected(&self, what: &str) -> DecodeError {
        self.malformed(format_args!("expected {what}"))
    }

    fn malformed(&self, reason: impl std::fmt::Display) -> DecodeError {
        DecodeError::malformed(NAME, format_args!("{reason} at byte {}", self.at))
    }
}
