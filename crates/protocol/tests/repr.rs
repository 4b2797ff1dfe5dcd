//! Python's `repr`; the strings here were printed by Python.

use celeriac_protocol::repr::{MAX_LENGTH, args, kwargs, value};
use celeriac_protocol::{Map, Value};

#[test]
fn arguments() {
    assert_eq!(args(&[]), "()");
    assert_eq!(args(&[Value::Int(1)]), "(1,)");
    assert_eq!(args(&[Value::Int(2), Value::Int(2)]), "(2, 2)");
    assert_eq!(kwargs(&Map::from_iter([("x", Value::Int(2)), ("y", Value::Null)])), "{'x': 2, 'y': None}");
}

#[test]
fn numbers() {
    let floats = [
        (0.1, "0.1"),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (1e16, "1e+16"),
        (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
        (9_999_999_999_999_998.0, "9999999999999998.0"),
        (0.0001, "0.0001"),
        (0.000_012_5, "1.25e-05"),
        (1e-300, "1e-300"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::NAN, "nan"),
    ];
    for (number, expected) in floats {
        assert_eq!(value(&Value::Float(number)), expected);
    }
}

#[test]
fn quotes() {
    let texts = [
        ("it's", r#""it's""#),
        ("say \"it's\"", r#"'say "it\'s"'"#),
        ("\"", r#"'"'"#),
        ("a\\b\n\r\t\0\u{7f}", r"'a\\b\n\r\t\x00\x7f'"),
        ("é\u{a0}\u{200b}😀\u{e000}", r"'é\xa0\u200b😀\ue000'"),
    ];
    for (text, expected) in texts {
        assert_eq!(value(&Value::from(text)), expected);
    }
    assert_eq!(value(&Value::Bytes(b"a'\x00\xff".to_vec())), r#"b"a'\x00\xff""#);
}

#[test]
fn python_types() {
    let values = [
        (Value::Bool(true), "True"),
        (Value::DateTime("2026-01-02T03:04:00".into()), "datetime.datetime(2026, 1, 2, 3, 4)"),
        (
            Value::DateTime("2026-01-02T03:04:05.000006+00:00".into()),
            "datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc)",
        ),
        (
            Value::DateTime("2026-01-02T03:04:05-02:00".into()),
            "datetime.datetime(2026, 1, 2, 3, 4, 5, \
             tzinfo=datetime.timezone(datetime.timedelta(days=-1, seconds=79200)))",
        ),
        (Value::Date("2026-01-02".into()), "datetime.date(2026, 1, 2)"),
        (Value::Time("03:00:00".into()), "datetime.time(3, 0)"),
        (Value::Decimal("1.10".into()), "Decimal('1.10')"),
        (
            Value::Uuid("a1a12c9aa64c3c37acbd5964c01411a1".into()),
            "UUID('a1a12c9a-a64c-3c37-acbd-5964c01411a1')",
        ),
    ];
    for (python, expected) in values {
        assert_eq!(value(&python), expected);
    }
}

#[test]
fn depth_and_length_are_bounded() {
    let mut deep = Value::Int(1);
    for _ in 0..100 {
        deep = Value::List(vec![deep]);
    }
    assert_eq!(args(&[deep]), "([[[...]]],)");
    let long = args(&[Value::from("é".repeat(1 << 20)), Value::Int(2)]);
    assert!(long.len() < MAX_LENGTH + 20 && long.ends_with("...', ...)"), "{long}");
    let many = args(&vec![Value::from("0123456789"); 1 << 20]);
    assert!(many.len() < MAX_LENGTH + 20 && many.ends_with(", ...)"), "{many}");
}
