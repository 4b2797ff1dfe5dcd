/// A float as Python's `repr` prints it: the shortest text that reads back equal.
pub(crate) fn repr(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    let text = format!("{number:?}");
    // The two change to exponents at the same sizes, but Python writes a sign and two digits: 1e+16, 1e-05.
    match text.split_once('e') {
        None => text,
        Some((mantissa, exponent)) => match exponent.strip_prefix('-') {
            Some(digits) => format!("{mantissa}e-{digits:0>2}"),
            None => format!("{mantissa}e+{exponent:0>2}"),
        },
    }
}
