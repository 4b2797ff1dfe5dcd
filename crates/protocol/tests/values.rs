//! Values for the other tests: arbitrary ones, and equality that takes NaN for equal to NaN.

use celeriac_protocol::codec::Serializer;
use celeriac_protocol::{Map, Value};
use proptest::prelude::*;

/// Any value that a serializer can hold.
pub fn any_value(serializer: Serializer) -> impl Strategy<Value = Value> {
    scalar(serializer).prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::List),
            any_map(inner).prop_map(Value::Map),
        ]
    })
}

/// What chance rarely finds: floats without a point, long keys, text that looks like something else.
pub fn edges() -> Value {
    let floats = [1e17, 1e-7, -1e300, 5e-324, 0.0, -0.0, f64::NAN, f64::INFINITY, -f64::INFINITY];
    let texts =
        ["", "yes", "~", "12", "1e3", "<<", "=", "2026-01-02", "- a", "{", "# a", "!!int 1", "a: b", " a "];
    let keys = ["k".repeat(5000), "\u{e9}".repeat(2000), String::new(), "<<".to_owned(), "no".to_owned()];
    Value::List(vec![
        Value::List(floats.map(Value::Float).to_vec()),
        Value::List(texts.map(Value::from).to_vec()),
        Value::Map(keys.into_iter().map(|key| (key, Value::Int(1))).collect()),
    ])
}

/// Any dict of such values.
pub fn any_map(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Map> {
    prop::collection::vec((text(), values), 0..8).prop_map(|entries| {
        // With these two keys alone a dict is an envelope, to kombu too.
        entries.into_iter().filter(|(key, _)| !key.starts_with("__")).collect()
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ -~]{0,12}",
        2 => any::<String>(),
        1 => "[a-z\u{e9}\u{1f600}'\"\\\\\n\u{7f}\u{85}\u{2028}\u{feff}]{0,200}",
    ]
}

fn scalar(serializer: Serializer) -> BoxedStrategy<Value> {
    let plain = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-9i64..1000).prop_map(Value::Int),
        any::<f64>().prop_map(Value::Float),
        (-9e6..9e6).prop_map(Value::Float),
        prop::num::f64::ANY.prop_map(Value::Float),
        text().prop_map(Value::String),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        ((1u64 << 63)..).prop_map(|number| Value::BigInt(number.to_string())),
    ];
    let big = "-?[1-9][0-9]{20,90}".prop_map(Value::BigInt);
    let date = (1u32..9999, 1u32..13, 1u32..29).prop_map(|(y, m, d)| format!("{y:04}-{m:02}-{d:02}"));
    let time = (0u32..24, 0u32..60, 0u32..60, 0u32..1_000_000).prop_map(|(h, m, s, micros)| {
        let fraction = if micros % 2 == 0 { String::new() } else { format!(".{micros:06}") };
        format!("{h:02}:{m:02}:{s:02}{fraction}")
    });
    let offset = prop_oneof![Just(""), Just("+00:00"), Just("+05:30"), Just("-11:00")];
    let datetime = (date.clone(), time.clone(), offset).prop_map(|(d, t, o)| format!("{d}T{t}{o}"));
    let dates = prop_oneof![datetime.prop_map(Value::DateTime), date.prop_map(Value::Date)];
    match serializer {
        Serializer::Msgpack => plain.boxed(),
        Serializer::Yaml => prop_oneof![8 => plain, 1 => big, 2 => dates].boxed(),
        Serializer::Json => prop_oneof![
            8 => plain,
            1 => big,
            2 => dates,
            1 => time.prop_map(Value::Time),
            1 => "-?[1-9][0-9]{0,9}\\.[0-9]{1,30}".prop_map(Value::Decimal),
            1 => "[0-9a-f]{32}".prop_map(Value::Uuid),
        ]
        .boxed(),
    }
}

/// Equality, with NaN equal to itself and 0.0 not to -0.0.
pub fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => {
            left.to_bits() == right.to_bits() || left.is_nan() && right.is_nan()
        }
        (Value::List(left), Value::List(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Map(left), Value::Map(right)) => same_map(left, right),
        (left, right) => left == right,
    }
}

/// The same for dicts, whose order does not count.
pub fn same_map(left: &Map, right: &Map) -> bool {
    left.len() == right.len()
        && left.iter().all(|(key, value)| right.get(key).is_some_and(|theirs| same(value, theirs)))
}
