//! Integers of any size: marshal has them in digits of 15 bits, the lowest first, [`Value`] in decimal ones.
//!
//! [`Value`]: celeriac_protocol::Value

use super::MarshalError;

/// As many decimal digits as Python itself reads; beyond, the conversion would take long.
const DECIMALS: usize = 4300;

/// As many digits of 15 bits as that takes.
pub const DIGITS: usize = 953;

const BASE: u32 = 1 << 15;

/// The digits of a number in decimal, and whether it is negative.
pub fn from_decimal(text: &str) -> Result<(bool, Vec<u16>), MarshalError> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if text.len() > DECIMALS || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(MarshalError::Large);
    }
    let mut digits: Vec<u16> = Vec::new();
    for decimal in text.bytes() {
        let mut carry = u32::from(decimal - b'0');
        for digit in &mut digits {
            carry += u32::from(*digit) * 10;
            *digit = (carry % BASE) as u16;
            carry /= BASE;
        }
        if carry > 0 {
            digits.push(carry as u16);
        }
    }
    Ok((negative, digits))
}

/// A number in decimal.
pub fn to_decimal(negative: bool, mut digits: Vec<u16>) -> String {
    let mut reversed = Vec::new();
    while digits.iter().any(|digit| *digit > 0) {
        let mut rest = 0;
        for digit in digits.iter_mut().rev() {
            rest = rest * BASE + u32::from(*digit);
            *digit = (rest / 10) as u16;
            rest %= 10;
        }
        reversed.push(char::from(b'0' + rest as u8));
    }
    if reversed.is_empty() {
        return "0".to_owned();
    }
    negative.then_some('-').into_iter().chain(reversed.into_iter().rev()).collect()
}

/// The digits of a number that fits 64 bits.
pub fn of_u64(mut number: u64) -> impl Iterator<Item = u16> + Clone {
    std::iter::from_fn(move || {
        let digit = (number > 0).then_some((number % u64::from(BASE)) as u16);
        number /= u64::from(BASE);
        digit
    })
}

/// The number, if its size fits 64 bits.
pub fn to_u64(digits: &[u16]) -> Option<u64> {
    digits
        .iter()
        .rev()
        .try_fold(0_u64, |number, digit| number.checked_mul(u64::from(BASE))?.checked_add(u64::from(*digit)))
}
