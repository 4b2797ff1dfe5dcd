//! What a scalar means: PyYAML's implicit resolvers and constructors (`yaml/resolver.py`, `yaml/constructor.py`).

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::timestamp;
use crate::Value;
use crate::codec::integer;

/// The value of a scalar; a plain one without a tag is what it looks like.
pub(super) fn read(text: Cow<'_, str>, plain: bool, tag: Option<&str>) -> Result<Value, String> {
    let invalid = || format!("invalid !!{} {:?}", tag.unwrap_or_default(), crate::repr::cut(&text, 64));
    match tag {
        None if plain => match resolve(&text)? {
            Some(value) => Ok(value),
            None => Ok(Value::String(text.into_owned())),
        },
        None | Some("str") => Ok(Value::String(text.into_owned())),
        Some("null") => Ok(Value::Null),
        Some("bool") => boolean(&text.to_ascii_lowercase()).ok_or_else(invalid),
        Some("int") => int(&text)?.ok_or_else(invalid),
        Some("float") => match float(&text) {
            Some(value) => Ok(value),
            None => text.replace('_', "").parse().map(Value::Float).map_err(|_| invalid()),
        },
        Some("timestamp") => timestamp::read(&text)?.ok_or_else(invalid),
        Some("binary") => {
            let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
            STANDARD.decode(digits).map(Value::Bytes).map_err(|error| format!("!!binary: {error}"))
        }
        Some(name) => Err(format!("unsupported tag !!{name}")),
    }
}

fn resolve(text: &str) -> Result<Option<Value>, String> {
    match text.as_bytes().first() {
        None => Ok(Some(Value::Null)),
        Some(b'~' | b'n' | b'N') if matches!(text, "~" | "null" | "Null" | "NULL") => Ok(Some(Value::Null)),
        Some(b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O') => Ok(boolean(text)),
        Some(b'-' | b'+' | b'.' | b'0'..=b'9') => {
            if let Some(value) = float(text) {
                return Ok(Some(value));
            }
            match int(text)? {
                Some(value) => Ok(Some(value)),
                None => timestamp::read(text),
            }
        }
        Some(_) => Ok(None),
    }
}

fn boolean(text: &str) -> Option<Value> {
    match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(Value::Bool(true)),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(Value::Bool(false)),
        _ => None,
    }
}

/// Decimal, `0b`, `0` (octal), `0x` and base 60, all with underscores.
fn int(text: &str) -> Result<Option<Value>, String> {
    let (negative, digits) = sign(text);
    let all = |digits: &str, allowed: fn(&u8) -> bool| {
        !digits.is_empty() && digits.bytes().all(|byte| byte == b'_' || allowed(&byte))
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0'] => return Ok(Some(Value::Int(0))),
        [b'0', b'b', ..] if all(&digits[2..], |byte| matches!(byte, b'0' | b'1')) => (2, &digits[2..]),
        [b'0', b'x', ..] if all(&digits[2..], u8::is_ascii_hexdigit) => (16, &digits[2..]),
        [b'0', ..] if all(&digits[1..], |byte| matches!(byte, b'0'..=b'7')) => (8, &digits[1..]),
        [b'1'..=b'9', ..] if all(digits, u8::is_ascii_digit) => {
            let sign = if negative { "-" } else { "" };
            let number = integer::parse(&format!("{sign}{}", digits.replace('_', "")))?;
            return Ok(Some(number));
        }
        [b'1'..=b'9', ..] => match sexagesimal(digits) {
            Some(number) => {
                return integer::parse(&signed(negative, number)).map(Some).map_err(str::to_owned);
            }
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    let number = i128::from_str_radix(&digits.replace('_', ""), radix)
        .map_err(|error| format!("integer {:?}: {error}", crate::repr::cut(text, 64)))?;
    integer::parse(&signed(negative, number)).map(Some).map_err(str::to_owned)
}

fn float(text: &str) -> Option<Value> {
    let (negative, digits) = sign(text);
    let signed = |number: f64| Some(Value::Float(if negative { -number } else { number }));
    match digits {
        ".inf" | ".Inf" | ".INF" => return signed(f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if digits == text => return Some(Value::Float(f64::NAN)),
        _ => {}
    }
    let (whole, rest) = digits.split_once('.')?;
    let is_digits = |text: &str| text.bytes().all(|byte| byte == b'_' || byte.is_ascii_digit());
    if whole.contains(':') {
        let number = sexagesimal(whole)?;
        let fraction = if is_digits(rest) { format!("0.{}0", rest.replace('_', "")) } else { return None };
        return signed(number as f64 + fraction.parse::<f64>().ok()?);
    }
    let fraction = match rest.split_once(['e', 'E']) {
        None => rest,
        Some((fraction, exponent)) => {
            let digits = exponent.strip_prefix(['-', '+'])?;
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            fraction
        }
    };
    let leading = if whole.is_empty() { fraction } else { whole };
    // Without digits before the point there must be one after it, and no sign.
    let well_formed = leading.starts_with(|first: char| first.is_ascii_digit())
        && (!whole.is_empty() || digits == text)
        && is_digits(whole)
        && is_digits(fraction);
    if well_formed { text.replace('_', "").parse().ok().map(Value::Float) } else { None }
}

/// `1:30:00`, as in `[1-9][0-9_]*(:[0-5]?[0-9])+`; floats may begin with 0.
fn sexagesimal(text: &str) -> Option<i128> {
    let mut parts = text.split(':');
    let first = parts.next()?.replace('_', "");
    if !first.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut number: i128 = first.parse().ok()?;
    for part in parts {
        let digit = match part.as_bytes() {
            [digit @ b'0'..=b'9'] => digit - b'0',
            [tens @ b'0'..=b'5', digit @ b'0'..=b'9'] => (tens - b'0') * 10 + digit - b'0',
            _ => return None,
        };
        number = number.checked_mul(60)?.checked_add(digit.into())?;
    }
    Some(number)
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix(['-', '+']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    }
}

fn signed(negative: bool, number: i128) -> String {
    if negative { (-number).to_string() } else { number.to_string() }
}
