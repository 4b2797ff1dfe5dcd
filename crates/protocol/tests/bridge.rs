//! Rust types to and from values.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use celeriac_protocol::types::{Bytes, Date, DateTime, Decimal, Time, Uuid};
use celeriac_protocol::{Map, Value, ValueError, from_value, to_value};
use chrono::{NaiveTime, TimeZone, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(f64),
    Line(i32, i32),
    Box { width: u8, height: u8 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    note: Option<String>,
    shapes: Vec<Shape>,
    prices: HashMap<String, Decimal>,
    sizes: BTreeMap<i32, bool>,
    at: DateTime,
    blob: Bytes,
    extra: Value,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Meters(f64);

fn both<T: Serialize + DeserializeOwned + PartialEq + Debug>(rust: T, value: impl Into<Value>) {
    let value = value.into();
    assert_eq!(to_value(&rust).unwrap(), value);
    assert_eq!(from_value::<T>(value).unwrap(), rust);
}

fn map<const N: usize>(entries: [(&'static str, Value); N]) -> Value {
    Value::Map(Map::from_iter(entries))
}

#[test]
fn plain_types() {
    both((), Value::Null);
    both(true, true);
    both(-5i8, Value::Int(-5));
    both(u64::MAX, Value::BigInt("18446744073709551615".to_owned()));
    both(i128::MIN, Value::BigInt(i128::MIN.to_string()));
    both(1.5f64, 1.5);
    both('\u{e9}', "\u{e9}");
    both(None::<i32>, Value::Null);
    both(Some(3), Value::Int(3));
    both((1, "a".to_owned()), vec![Value::Int(1), Value::from("a")]);
    both(Meters(2.0), 2.0);
    assert_eq!(from_value::<f64>(Value::Int(2)).unwrap(), 2.0);
    assert_eq!(from_value::<f64>(Value::BigInt("1".to_owned() + &"0".repeat(30))).unwrap(), 1e30);
}

#[test]
fn enums_are_tagged_from_outside() {
    both(Shape::Point, "Point");
    both(Shape::Circle(1.0), map([("Circle", Value::Float(1.0))]));
    both(Shape::Line(1, 2), map([("Line", Value::List(vec![Value::Int(1), Value::Int(2)]))]));
    both(
        Shape::Box { width: 1, height: 2 },
        map([("Box", map([("width", Value::Int(1)), ("height", Value::Int(2))]))]),
    );
}

#[test]
fn python_types() {
    both(
        DateTime("2026-01-02T03:04:05+00:00".to_owned()),
        Value::DateTime("2026-01-02T03:04:05+00:00".into()),
    );
    both(Date("2026-01-02".to_owned()), Value::Date("2026-01-02".into()));
    both(Time("03:04:05".to_owned()), Value::Time("03:04:05".into()));
    both(Decimal("1.10".to_owned()), Value::Decimal("1.10".into()));
    both(Uuid("c0ffee".to_owned()), Value::Uuid("c0ffee".into()));
    both(Bytes(vec![0, 255]), Value::Bytes(vec![0, 255]));
    // Text does too, as it comes when the sender wrote `isoformat()`; and types that know only text take dates.
    assert_eq!(from_value::<Date>(Value::from("2026-01-02")).unwrap(), Date("2026-01-02".to_owned()));
    assert_eq!(from_value::<String>(Value::Decimal("1.10".into())).unwrap(), "1.10");
    assert_eq!(from_value::<Vec<u8>>(Value::Bytes(vec![1, 2])).unwrap(), [1, 2]);
}

#[test]
fn chrono_becomes_isoformat() {
    let moment = Utc.with_ymd_and_hms(2026, 1, 2, 3, 4, 5).unwrap();
    assert_eq!(DateTime::from(moment).0, "2026-01-02T03:04:05+00:00");
    assert_eq!(DateTime::from(moment).to_utc(), Some(moment));
    let micros = moment + chrono::TimeDelta::microseconds(60);
    assert_eq!(DateTime::from(micros).0, "2026-01-02T03:04:05.000060+00:00");
    assert_eq!(DateTime::from(micros.naive_utc()).0, "2026-01-02T03:04:05.000060");
    assert_eq!(Date::from(moment.date_naive()).0, "2026-01-02");
    assert_eq!(Time::from(NaiveTime::from_hms_milli_opt(1, 2, 3, 4).unwrap()).0, "01:02:03.004000");
}

#[test]
fn structs_hold_everything() {
    both(
        Order {
            id: 1,
            note: None,
            shapes: vec![Shape::Point],
            prices: HashMap::from([("a".to_owned(), Decimal("9.99".to_owned()))]),
            sizes: BTreeMap::from([(-1, true), (2, false)]),
            at: DateTime("2026-01-02T03:04:05".to_owned()),
            blob: Bytes(b"x".to_vec()),
            extra: Value::List(vec![Value::Uuid("c0ffee".into()), Value::BigInt("9".repeat(60))]),
        },
        map([
            ("id", Value::Int(1)),
            ("note", Value::Null),
            ("shapes", Value::List(vec![Value::from("Point")])),
            ("prices", map([("a", Value::Decimal("9.99".into()))])),
            ("sizes", map([("-1", Value::Bool(true)), ("2", Value::Bool(false))])),
            ("at", Value::DateTime("2026-01-02T03:04:05".into())),
            ("blob", Value::Bytes(b"x".to_vec())),
            ("extra", Value::List(vec![Value::Uuid("c0ffee".into()), Value::BigInt("9".repeat(60))])),
        ]),
    );
}

#[test]
fn other_formats_see_text() {
    let value = map([
        ("at", Value::DateTime("2026-01-02T03:04:05".into())),
        ("items", Value::List(vec![Value::Int(1), Value::Float(0.5), Value::Null])),
    ]);
    let json = r#"{"at":"2026-01-02T03:04:05","items":[1,0.5,null]}"#;
    assert_eq!(serde_json::to_string(&value).unwrap(), json);
    let read: Value = serde_json::from_str(json).unwrap();
    assert_eq!(read.as_map().unwrap().get("at").unwrap().as_str(), Some("2026-01-02T03:04:05"));
    assert_eq!(serde_json::from_str::<Date>("\"2026-01-02\"").unwrap().0, "2026-01-02");
}

#[test]
fn errors_say_what_was_found() {
    let error = |result: Result<i64, ValueError>| result.unwrap_err().to_string();
    assert_eq!(error(from_value(Value::from("a"))), "invalid type: string \"a\", expected i64");
    assert_eq!(error(from_value(Value::Float(1.5))), "invalid type: floating point `1.5`, expected i64");
    assert!(error(from_value(Value::BigInt("9".repeat(60)))).contains("expected i64"));
    assert!(error(from_value(Value::from(u64::MAX))).contains("expected i64"));
    let error = from_value::<Decimal>(Value::Date("2026-01-02".into())).unwrap_err();
    assert_eq!(error.to_string(), "invalid type: Date, expected a Decimal");
    let error = from_value::<Shape>(Value::from("Star")).unwrap_err();
    assert!(error.to_string().contains("unknown variant `Star`"), "{error}");
    assert!(to_value(&HashMap::from([(vec![1], 2)])).is_err());
}
