//! What Python's serializers write in their own ways, and names.

use celeriac_protocol::codec::{self, Accept, Compression, DecodeError, EncodeError, PICKLE, Serializer};
use celeriac_protocol::{EncodedBody, Map, Value};

use crate::values::same;
use crate::vectors::accept;

pub fn body(content_type: &str, data: impl Into<Vec<u8>>) -> EncodedBody {
    EncodedBody { content_type: content_type.to_owned(), data: data.into().into(), ..EncodedBody::default() }
}

pub fn decode(serializer: Serializer, data: impl Into<Vec<u8>>) -> Result<Value, DecodeError> {
    codec::decode(&body(serializer.content_type(), data), &accept())
}

#[track_caller]
fn reads(serializer: Serializer, data: impl Into<Vec<u8>>, expected: impl Into<Value>) {
    let (value, expected) = (decode(serializer, data).unwrap(), expected.into());
    assert!(same(&value, &expected), "{value:?} is not {expected:?}");
}

#[track_caller]
fn refuses(serializer: Serializer, data: impl Into<Vec<u8>>, reason: &str) {
    let error = decode(serializer, data).unwrap_err();
    assert!(matches!(error, DecodeError::Malformed { .. }), "{error:?}");
    assert!(error.to_string().contains(reason), "{error}");
}

fn strings<const N: usize>(texts: [&str; N]) -> Value {
    Value::List(texts.map(Value::from).to_vec())
}

#[test]
fn json_has_pythons_extensions() {
    let json = |data: &str, expected: Value| reads(Serializer::Json, data, expected);
    json(
        "[NaN, Infinity, -Infinity]",
        Value::List([f64::NAN, f64::INFINITY, -f64::INFINITY].map(Value::from).to_vec()),
    );
    json("9223372036854775807", Value::Int(i64::MAX));
    json("9223372036854775808", Value::BigInt("9223372036854775808".into()));
    json(
        "-170141183460469231731687303715884105729",
        Value::BigInt("-170141183460469231731687303715884105729".into()),
    );
    json("1e999", Value::Float(f64::INFINITY));
    json(
        "[0, -0, 0.1, 1E+2, 5e-324]",
        Value::List(vec![
            Value::Int(0),
            Value::Int(0),
            Value::Float(0.1),
            Value::Float(100.0),
            Value::Float(5e-324),
        ]),
    );
    json(
        r#""\ud83d\ude00 \ud83d \ude00 \ud83d\u0041 \u00e9\/\"""#,
        Value::from("😀 \u{fffd} \u{fffd} \u{fffd}A é/\""),
    );
    json(
        " {\"a\": 1, \"b\": 2, \"a\" : 3} \r\n",
        Value::Map(Map::from_iter([("a", Value::Int(3)), ("b", Value::Int(2))])),
    );
    for wrong in [
        "",
        " ",
        "[1,]",
        "{\"a\":1,}",
        "[1 2]",
        "01",
        "1.",
        ".5",
        "+1",
        "-",
        "nul",
        "'a'",
        "{1: 2}",
        "\"a",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\n\"",
        "[1] 2",
        "-Inf",
        "1e",
        "[",
        "{\"a\"",
        "{\"a\":",
        "\u{feff}1",
        "\"\\",
        "\"\\u00",
    ] {
        let error = decode(Serializer::Json, wrong).unwrap_err();
        assert!(matches!(error, DecodeError::Malformed { serializer: "json", .. }), "{wrong:?}: {error:?}");
    }
}

#[test]
fn json_envelopes() {
    let envelope = |kind: &str, content: &str, expected: Value| {
        reads(
            Serializer::Json,
            format!(r#"{{"__type__": "{kind}", "__value__": {content}}}"#),
            expected.clone(),
        );
        reads(Serializer::Json, format!(r#"{{"__value__": {content}, "__type__": "{kind}"}}"#), expected);
    };
    envelope(
        "datetime",
        "\"2026-01-02T03:04:05+00:00\"",
        Value::DateTime("2026-01-02T03:04:05+00:00".into()),
    );
    envelope("date", "\"2026-01-02\"", Value::Date("2026-01-02".into()));
    envelope("time", "\"03:04:05\"", Value::Time("03:04:05".into()));
    envelope("decimal", "\"1.10\"", Value::Decimal("1.10".into()));
    envelope("bytes", "\"\u{e9}\"", Value::Bytes("\u{e9}".into()));
    envelope("base64", "\"/wA=\"", Value::Bytes(vec![255, 0]));
    let hex = "a1a12c9aa64c3c37acbd5964c01411a1";
    envelope("uuid", &format!("{{\"hex\": \"{hex}\"}}"), Value::Uuid(hex.into()));
    for wrong in [
        r#"{"__type__": "exception", "__value__": "x"}"#,
        r#"{"__type__": null, "__value__": "x"}"#,
        r#"{"__type__": "datetime", "__value__": 1}"#,
        r#"{"__type__": "base64", "__value__": "/"}"#,
        r#"{"__type__": "uuid", "__value__": {"hex": "12"}}"#,
    ] {
        refuses(Serializer::Json, wrong, "");
    }
    // Only the two keys alone are an envelope.
    let three = r#"{"__type__": "date", "__value__": "x", "a": 1}"#;
    assert_eq!(decode(Serializer::Json, three).unwrap().as_map().unwrap().len(), 3);
    assert_eq!(
        decode(Serializer::Json, r#"{"__type__": "date", "a": 1}"#).unwrap().as_map().unwrap().len(),
        2
    );
}

#[test]
fn msgpack_keys_become_text() {
    reads(
        Serializer::Msgpack,
        b"\x83\x01\xc0\xc4\x01a\xc0\xa1b\xc0",
        Map::from_iter([("1", Value::Null), ("a", Value::Null), ("b", Value::Null)]),
    );
    reads(Serializer::Msgpack, b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", Value::BigInt(u64::MAX.to_string()));
    reads(Serializer::Msgpack, b"\xca\x3f\x80\x00\x00", 1.0);
    refuses(Serializer::Msgpack, b"\x81\xc0\xc0", "a key cannot be None");
    refuses(Serializer::Msgpack, b"\xd4\x01\x00", "unsupported type");
    refuses(Serializer::Msgpack, b"\xc1", "unsupported type");
    refuses(Serializer::Msgpack, b"\xa1\xff", "utf-8");
    refuses(Serializer::Msgpack, b"\xc0\xc0", "after the value");
    refuses(Serializer::Msgpack, b"\xdd\xff\xff\xff\xff\xc0", "cut off");
    refuses(Serializer::Msgpack, b"", "cut off");
}

#[test]
fn yaml_1_1_scalars() {
    let text = |text: &str| Value::from(text);
    let date = |text: &str| Value::Date(text.into());
    let datetime = |text: &str| Value::DateTime(text.into());
    for (yaml, expected) in [
        ("yes", Value::Bool(true)),
        ("Off", Value::Bool(false)),
        ("y", text("y")),
        ("yES", text("yES")),
        ("~", Value::Null),
        ("", Value::Null),
        ("NULL", Value::Null),
        ("nULL", text("nULL")),
        ("1_000", Value::Int(1000)),
        ("0b1_01", Value::Int(5)),
        ("0x_ff", Value::Int(255)),
        ("017", Value::Int(15)),
        ("-0x10", Value::Int(-16)),
        ("08", text("08")),
        ("0o17", text("0o17")),
        ("190:20:30", Value::Int(685_230)),
        ("1:60", text("1:60")),
        ("+12", Value::Int(12)),
        ("99999999999999999999", Value::BigInt("99999999999999999999".into())),
        ("0xffffffffffffffff", Value::BigInt("18446744073709551615".into())),
        ("1.5", Value::Float(1.5)),
        ("1.", Value::Float(1.0)),
        (".5", Value::Float(0.5)),
        ("-.5", text("-.5")),
        ("1e3", text("1e3")),
        ("1.0e3", text("1.0e3")),
        ("1.0e+3", Value::Float(1000.0)),
        ("-1_0.2_5", Value::Float(-10.25)),
        ("190:20:30.15", Value::Float(685_230.15)),
        (".inf", Value::Float(f64::INFINITY)),
        ("-.INF", Value::Float(-f64::INFINITY)),
        (".NaN", Value::Float(f64::NAN)),
        ("-.nan", text("-.nan")),
        (".", text(".")),
        ("2026-01-02", date("2026-01-02")),
        ("2026-1-2", text("2026-1-2")),
        ("2026-01-02T03:04:05Z", datetime("2026-01-02T03:04:05+00:00")),
        ("2026-1-2 3:04:05.5 -5", datetime("2026-01-02T03:04:05.500000-05:00")),
        ("2026-01-02t03:04:05.1234567+05:30", datetime("2026-01-02T03:04:05.123456+05:30")),
        ("2026-01-02 03:04", text("2026-01-02 03:04")),
        ("'12'", text("12")),
        ("\"yes\"", text("yes")),
        ("!!str 12", text("12")),
        ("! 12", Value::Int(12)),
        ("!!int '12'", Value::Int(12)),
        ("!!float 1", Value::Float(1.0)),
        ("!!bool 'YES'", Value::Bool(true)),
        ("!!null x", Value::Null),
        ("!!binary 'AP8='", Value::Bytes(vec![0, 255])),
        ("!!binary |\n  AP\n  8=\n", Value::Bytes(vec![0, 255])),
        ("!<tag:yaml.org,2002:str> 1", text("1")),
        ("'a\n\n  b'", text("a\nb")),
        ("|\n a\n b\n", text("a\nb\n")),
        ("\"\\U0001F600\\xe9\\\n  b\"", text("😀éb")),
    ] {
        let value = decode(Serializer::Yaml, yaml).unwrap_or_else(|error| panic!("{yaml:?}: {error}"));
        assert!(same(&value, &expected), "{yaml:?}: {value:?} is not {expected:?}");
    }
    for (yaml, reason) in [
        ("!!python/tuple [1]", "unsupported tag"),
        ("!!set {a}", "unsupported tag"),
        ("!mine 1", "unknown tag \"!mine\""),
        ("!!int a", "invalid !!int"),
        ("!!seq {}", "unsupported tag"),
        ("2026-13-02", "out of range"),
        ("--- 1\n--- 2\n", "more than one document"),
        ("*a", ""),
        ("&a [*a]", "part of"),
        ("[1", ""),
        ("{[1]: 2}", "a key cannot be list"),
        ("!!binary 'x'", "!!binary"),
        ("<<: 1", "expected a mapping for merging"),
    ] {
        refuses(Serializer::Yaml, yaml, reason);
    }
}

#[test]
fn yaml_structures() {
    reads(Serializer::Yaml, "- a\n- b\n", strings(["a", "b"]));
    reads(Serializer::Yaml, "&x [a, b]", strings(["a", "b"]));
    reads(
        Serializer::Yaml,
        "- &x [a, b]\n- *x\n",
        Value::List(vec![strings(["a", "b"]), strings(["a", "b"])]),
    );
    let merged = "- &one {a: 1, b: 2}\n- &two {b: 3, c: 4}\n- {b: 5, <<: [*one, *two]}\n";
    let items = decode(Serializer::Yaml, merged).unwrap();
    let expected = Map::from_iter([("a", Value::Int(1)), ("b", Value::Int(5)), ("c", Value::Int(4))]);
    assert_eq!(items.as_list().unwrap()[2], Value::Map(expected));
    reads(
        Serializer::Yaml,
        "{1: a, true: b, null: c, 1.5: d}",
        Map::from_iter(
            [("1", "a"), ("true", "b"), ("null", "c"), ("1.5", "d")]
                .map(|(key, text)| (key, Value::from(text))),
        ),
    );
}

#[test]
fn what_python_cannot_write_is_an_error() {
    let unsupported = |value: Value, serializer: Serializer| {
        let error = codec::encode(&value, serializer, None).unwrap_err();
        assert!(matches!(error, EncodeError::Unsupported { .. }), "{error:?}");
    };
    for serializer in [Serializer::Msgpack, Serializer::Yaml] {
        unsupported(Value::Time("03:04:05".into()), serializer);
        unsupported(Value::Decimal("1".into()), serializer);
        unsupported(Value::Uuid("c0ffee".into()), serializer);
    }
    unsupported(Value::DateTime("2026-01-02T03:04:05".into()), Serializer::Msgpack);
    unsupported(Value::BigInt("99999999999999999999".into()), Serializer::Msgpack);
    // What is no date must not become YAML of another meaning.
    unsupported(Value::DateTime("x\", y: \"z".into()), Serializer::Yaml);
    unsupported(Value::Date("2026-01-02T03:04:05".into()), Serializer::Yaml);
    unsupported(Value::BigInt("1, 2".into()), Serializer::Yaml);
    unsupported(Value::BigInt("1, 2".into()), Serializer::Json);
    let body = codec::encode(&Value::BigInt("+007".into()), Serializer::Json, None).unwrap();
    assert_eq!(&body.data[..], b"7");
}

#[test]
fn names_are_kombus() {
    for (name, content_type) in
        [("json", "application/json"), ("msgpack", "application/x-msgpack"), ("yaml", "application/x-yaml")]
    {
        let serializer = Serializer::from_name(name).unwrap();
        assert_eq!((serializer.name(), serializer.content_type()), (name, content_type));
        assert_eq!(Serializer::from_content_type(content_type), Some(serializer));
    }
    assert_eq!(Serializer::from_name("pickle"), None);
    for (names, content_type) in [
        (vec!["gzip", "zlib"], "application/x-gzip"),
        (vec!["bzip2", "bzip"], "application/x-bz2"),
        (vec!["lzma", "xz"], "application/x-lzma"),
        (vec!["zstd", "zstandard"], "application/zstd"),
        (vec!["brotli"], "application/x-brotli"),
    ] {
        for name in names.into_iter().chain([content_type]) {
            assert_eq!(Compression::from_name(name).unwrap().content_type(), content_type);
        }
    }
    assert_eq!(Compression::from_name("snappy"), None);
}

#[test]
fn accept_content() {
    let json = Accept::default();
    assert!(json.allows("application/json") && !json.allows("application/x-yaml") && !json.allows(PICKLE));
    let accept = Accept::new(["yaml", "application/json", "pickle", "application/x-mine"]).unwrap();
    for content_type in ["application/json", "application/x-yaml", PICKLE, "application/x-mine"] {
        assert!(accept.allows(content_type));
    }
    assert!(!accept.allows("application/x-msgpack"));
    let error = Accept::new(["jsonn"]).unwrap_err();
    assert!(error.to_string().contains("\"jsonn\"") && error.to_string().contains("msgpack"), "{error}");

    let error = codec::decode(&body("application/x-yaml", "1"), &json).unwrap_err();
    assert!(matches!(error, DecodeError::NotAccepted { .. }), "{error:?}");
    let error = codec::decode(&body("application/x-mine", "1"), &accept).unwrap_err();
    assert_eq!(error, DecodeError::UnknownContentType("application/x-mine".to_owned()));
    assert_eq!(codec::decode(&body(PICKLE, "1"), &json).unwrap_err(), DecodeError::Pickle);
    let unknown = EncodedBody { compression: Some("snappy".to_owned()), ..body("application/json", "1") };
    assert_eq!(
        codec::decode(&unknown, &json).unwrap_err(),
        DecodeError::UnknownCompression("snappy".to_owned())
    );
    // Without a content type it is text, as in kombu.
    assert_eq!(codec::decode(&body("", "1"), &json).unwrap(), Value::from("1"));
    let binary = EncodedBody { content_encoding: "binary".to_owned(), ..body("", "\u{1}") };
    assert_eq!(codec::decode(&binary, &json).unwrap(), Value::Bytes(vec![1]));
}
