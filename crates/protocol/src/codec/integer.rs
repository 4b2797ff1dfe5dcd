//! Integers of any size, as decimal digits.

use std::borrow::Cow;

use crate::Value;

/// Python reads no more digits than that (`sys.get_int_max_str_digits`), since it takes quadratic time.
const MAX_DIGITS: usize = 4300;

/// An integer from decimal digits with an optional sign.
pub(super) fn parse(text: &str) -> Result<Value, &'static str> {
    match text.parse() {
        Ok(number) => Ok(Value::Int(number)),
        Err(_) => canonical(text).map(|digits| Value::BigInt(digits.into_owned())),
    }
}

/// The digits without `+` and leading zeros, which JSON and YAML would not read as a decimal number.
pub(super) fn canonical(text: &str) -> Result<Cow<'_, str>, &'static str> {
    let (sign, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) if text.starts_with('-') => ("-", digits),
        Some(digits) => ("", digits),
        None => ("", text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("an integer must be decimal digits");
    }
    if digits.len() > MAX_DIGITS {
        return Err("an integer may have 4300 digits at most");
    }
    let trimmed = digits.trim_start_matches('0');
    Ok(match (sign, trimmed) {
        (_, "") => Cow::Borrowed("0"),
        ("", trimmed) => Cow::Borrowed(trimmed),
        (sign, trimmed) if trimmed.len() == digits.len() => {
            debug_assert_eq!(sign, "-");
            Cow::Borrowed(text)
        }
        (sign, trimmed) => Cow::Owned(format!("{sign}{trimmed}")),
    })
}
