//! Input that wants to crash, to hang or to fill the memory.

use celeriac_protocol::codec::{self, Accept, Compression, DecodeError, Serializer};
use celeriac_protocol::{EncodedBody, Map, Message, Properties, TaskError, TaskMessage, Value, repr};

use crate::codecs::decode;
use crate::round_trips::{COMPRESSIONS, SERIALIZERS};
use crate::vectors::{accept, recorded};

const DEEP: usize = 100_000;

#[test]
fn nesting_is_bounded() {
    let deep = [
        (Serializer::Json, "[".repeat(DEEP).into_bytes()),
        (Serializer::Json, "{\"a\":".repeat(DEEP).into_bytes()),
        (Serializer::Msgpack, vec![0x91; DEEP]),
        (Serializer::Msgpack, b"\x81\xa1a".repeat(DEEP)),
        (Serializer::Yaml, "- ".repeat(DEEP).into_bytes()),
        (Serializer::Yaml, "? ".repeat(DEEP).into_bytes()),
    ];
    for (serializer, data) in deep {
        let error = decode(serializer, data).unwrap_err();
        assert!(matches!(error, DecodeError::TooDeep { limit: 128 }), "{serializer:?}: {error}");
    }
    for data in ["[".repeat(DEEP), "{a: ".repeat(DEEP), "? [".repeat(DEEP)] {
        assert!(decode(Serializer::Yaml, data).is_err());
    }
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = |depth: usize| format!("{}0{}", open.repeat(depth), close.repeat(depth));
        assert!(decode(Serializer::Json, nested(128)).is_ok());
        assert!(decode(Serializer::Json, nested(129)).is_err());
    }
}

#[test]
fn nesting_by_aliases_is_bounded() {
    let mut yaml = "- &a0 [x]\n".to_owned();
    for level in 1..500 {
        yaml += &format!("- &a{level} [*a{}]\n", level - 1);
    }
    assert_eq!(decode(Serializer::Yaml, yaml).unwrap_err(), DecodeError::TooDeep { limit: 128 });
}

#[test]
fn aliases_of_aliases_do_not_fill_the_memory() {
    let mut yaml = "- &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..40 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(",");
        yaml += &format!("- &a{level} [{aliases}]\n");
    }
    let error = decode(Serializer::Yaml, yaml).unwrap_err();
    assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
}

#[test]
fn anchors_around_anchors_do_not_fill_the_memory() {
    let anchors: String = (0..100).map(|level| format!("&a{level} [")).collect();
    let yaml = format!("{anchors}{}{}", "x,".repeat(1 << 16), "]".repeat(100));
    let error = decode(Serializer::Yaml, yaml).unwrap_err();
    assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
}

/// A length that lies must make no room, least of all at each level.
#[test]
fn lengths_in_lengths_do_not_fill_the_memory() {
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap()
    };
    let before = peak();
    for lying in [&b"\xdd\xff\xff\xff\xff"[..], b"\xdf\xff\xff\xff\xff\xa1a"] {
        let data = [lying.repeat(127), vec![0xc0; 8 << 20]].concat();
        assert!(decode(Serializer::Msgpack, data).is_err());
    }
    let grown = peak() - before;
    assert!(grown < 4 << 20, "{grown} kB of addresses were taken");
}

#[test]
fn bombs_are_defused() {
    let zeros = vec![b'0'; 4 << 20];
    for compression in COMPRESSIONS.into_iter().flatten() {
        let bomb = compression.compress(&zeros).unwrap();
        assert!(bomb.len() < 40_000, "{compression:?}: {}", bomb.len());
        let error = compression.decompress(&bomb, (4 << 20) - 1).unwrap_err();
        assert_eq!(error, DecodeError::TooLarge { limit: (4 << 20) - 1 }, "{compression:?}");
        assert_eq!(compression.decompress(&bomb, 4 << 20).unwrap(), zeros, "{compression:?}");
    }
    let mut small = Accept::default();
    small.max_size = 10;
    let body = codec::encode(&Value::from("0123456789"), Serializer::Json, None).unwrap();
    assert_eq!(codec::decode(&body, &small).unwrap_err(), DecodeError::TooLarge { limit: 10 });
}

#[test]
fn windows_that_are_too_large_are_refused() {
    // Dictionaries of 4 GiB - 1 (xz, lzma), and windows of 1 GiB (brotli) and 2 GiB (zstd).
    let lzma = b"\x5d\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00";
    let brotli = b"\x11\x1e\x00\x00\x00";
    let zstd = b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00";
    for (compression, data, reason) in [
        (Compression::Lzma, &lzma[..], "memory"),
        (Compression::Brotli, brotli, "large windows"),
        (Compression::Zstd, zstd, "memory"),
    ] {
        let error = compression.decompress(data, 1000).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn what_is_cut_off_is_an_error() {
    let value = Value::List(vec![Value::from("celery and celeriac ".repeat(20)); 3]);
    for serializer in SERIALIZERS {
        for compression in COMPRESSIONS {
            let body = codec::encode(&value, serializer, compression).unwrap();
            let whole =
                body.data.len() - usize::from(serializer == Serializer::Yaml && compression.is_none());
            for length in 1..whole {
                let cut = EncodedBody { data: body.data.slice(..length), ..body.clone() };
                let result = codec::decode(&cut, &accept());
                assert!(result.is_err(), "{serializer:?} {compression:?} {length} of {whole}: {result:?}");
            }
        }
    }
}

#[test]
fn invalid_utf_8_is_an_error() {
    for data in [&b"\"\xff\""[..], b"[\"a\xc3\"]", b"\"\xed\xa0\x80\""] {
        for serializer in [Serializer::Json, Serializer::Yaml] {
            let error = decode(serializer, data).unwrap_err();
            assert!(matches!(error, DecodeError::Malformed { .. }), "{error:?}");
        }
    }
}

#[test]
fn integers_without_end_are_refused() {
    let digits = "9".repeat(1 << 20);
    for serializer in [Serializer::Json, Serializer::Yaml] {
        let error = decode(serializer, digits.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("4300 digits"), "{error}");
        assert!(decode(serializer, &digits.as_bytes()[..4300]).is_ok());
    }
}

#[test]
fn a_million_keys_are_read() {
    let keys = |count: usize| (0..count).map(|key| format!("\"{key}\":0")).collect::<Vec<_>>().join(",");
    let json = format!("{{{},\"7\":1}}", keys(1 << 20));
    let map = decode(Serializer::Json, json).unwrap();
    assert_eq!(map.as_map().unwrap().len(), 1 << 20);
    assert_eq!(map.as_map().unwrap().get("7"), Some(&Value::Int(1)));
    let map =
        decode(Serializer::Msgpack, [&b"\xdf\x00\x10\x00\x00"[..], &b"\xa1a\x00".repeat(1 << 20)].concat());
    assert_eq!(map.unwrap(), Value::Map(Map::from_iter([("a", Value::Int(0))])));
}

#[test]
fn headers_of_wrong_types_are_errors() {
    let (_, message) = recorded().into_iter().next().unwrap();
    let wrong = [
        ("task", Value::Int(1)),
        ("task", Value::from("")),
        ("id", Value::Null),
        ("id", Value::List(Vec::new())),
        ("eta", Value::from("tomorrow")),
        ("eta", Value::from("+99999-01-01T00:00:00")),
        ("expires", Value::Float(1.0)),
        ("retries", Value::Int(-1)),
        ("retries", Value::Int(1 << 40)),
        ("retries", Value::from("3")),
        ("timelimit", Value::List(vec![Value::Int(1)])),
        ("timelimit", Value::List(vec![Value::from("a"), Value::Null])),
        ("timelimit", Value::List(vec![Value::Float(f64::NAN), Value::Null])),
        ("timelimit", Value::List(vec![Value::Int(-1), Value::Null])),
        ("ignore_result", Value::Int(1)),
        ("stamps", Value::List(Vec::new())),
        ("stamped_headers", Value::List(vec![Value::Int(1)])),
        ("group_index", Value::BigInt("9".repeat(30))),
        ("compression", Value::Int(1)),
    ];
    for (key, value) in wrong {
        let mut message = message.clone();
        message.headers.insert(key, value.clone());
        let error = TaskMessage::decode(message, &accept()).unwrap_err();
        assert!(matches!(error, TaskError::Invalid(_)), "{key} {value:?}: {error:?}");
    }
}

#[test]
fn bodies_of_wrong_shapes_are_errors() {
    let properties = Properties { content_type: Some("application/json".into()), ..Properties::default() };
    let body = |text: &'static str| Message {
        headers: Map::new(),
        properties: properties.clone(),
        body: text.into(),
    };
    for text in ["[]", "1", "{}", r#"{"task": "a"}"#] {
        let error = TaskMessage::decode(body(text), &accept()).unwrap_err();
        assert!(matches!(error, TaskError::Unknown(_)), "{text}: {error:?}");
    }
    for text in [r#"{"task": "a", "id": "b", "args": 1}"#, r#"{"task": "a", "id": "b", "kwargs": []}"#] {
        let error = TaskMessage::decode(body(text), &accept()).unwrap_err();
        assert!(matches!(error, TaskError::Invalid(_)), "{text}: {error:?}");
    }
    for text in [
        "[]",
        "[[],{}]",
        "[[],{},{},{}]",
        "{}",
        "[1,{},{}]",
        "[[],[],{}]",
        "[[],{},[]]",
        r#"[[],{},{"callbacks":[1]}]"#,
        r#"[[],{},{"chord":{"task":1}}]"#,
        r#"[[],{},{"chain":[{}]}]"#,
    ] {
        let body = EncodedBody {
            content_type: "application/json".into(),
            data: text.into(),
            ..EncodedBody::default()
        };
        let error = body.decode(&accept()).unwrap_err();
        assert!(matches!(error, TaskError::Invalid(_)), "{text}: {error:?}");
    }
}

#[test]
fn a_large_value_is_shown_in_a_moment() {
    let digits = Value::BigInt("9".repeat(1 << 20));
    let bytes = Value::Bytes(vec![0; 1 << 20]);
    let text = Value::from("\u{200b}".repeat(1 << 20));
    for value in [digits, bytes, text] {
        assert!(repr::value(&value).len() < 8 * repr::MAX_LENGTH);
    }
}
