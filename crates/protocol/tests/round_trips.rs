//! What is encoded decodes to the same.

use celeriac_protocol::codec::{self, Accept, Compression, Serializer};
use celeriac_protocol::{Body, Embed, Map, Signature, TaskHeaders, TaskMessage, Value, from_value, to_value};
use proptest::prelude::*;

use crate::values::{any_map, any_value, edges, same, same_map};
use crate::vectors::accept;

pub const SERIALIZERS: [Serializer; 3] = [Serializer::Json, Serializer::Msgpack, Serializer::Yaml];
pub const COMPRESSIONS: [Option<Compression>; 6] = [
    None,
    Some(Compression::Zlib),
    Some(Compression::Bzip2),
    Some(Compression::Lzma),
    Some(Compression::Zstd),
    Some(Compression::Brotli),
];

fn check(value: &Value, serializer: Serializer, compression: Option<Compression>) {
    let body = codec::encode(value, serializer, compression).unwrap();
    assert_eq!(body.content_type, serializer.content_type());
    assert_eq!(body.compression.as_deref(), compression.map(Compression::content_type));
    let decoded = codec::decode(&body, &accept()).unwrap_or_else(|error| {
        panic!("{error} in {:?}", String::from_utf8_lossy(&body.data));
    });
    assert!(same(&decoded, value), "{decoded:?}\nfrom {:?}", String::from_utf8_lossy(&body.data));
}

proptest! {
    #[test]
    fn json(value in any_value(Serializer::Json)) {
        check(&value, Serializer::Json, None);
    }

    #[test]
    fn msgpack(value in any_value(Serializer::Msgpack)) {
        check(&value, Serializer::Msgpack, None);
    }

    #[test]
    fn yaml(value in any_value(Serializer::Yaml)) {
        check(&value, Serializer::Yaml, None);
    }

    #[test]
    fn values_through_serde(value in any_value(Serializer::Json)) {
        let written = to_value(&value).unwrap();
        assert!(same(&written, &value), "{written:?}");
        let read: Value = from_value(value.clone()).unwrap();
        assert!(same(&read, &value), "{read:?}");
    }

    #[test]
    fn task_messages(
        args in prop::collection::vec(any_value(Serializer::Msgpack), 0..4),
        kwargs in any_map(any_value(Serializer::Msgpack)),
        stamps in any_map(any_value(Serializer::Msgpack)),
        (retries, eta, limit) in (any::<u32>(), prop::option::of(0i64..4_000_000_000), 0u32..9999),
        (serializer, compression) in (0usize..3, 0usize..6),
    ) {
        let link = Signature::new("tasks.log", args.clone());
        let embed = Embed { callbacks: vec![link.clone()], chord: Some(link), ..Embed::default() };
        let body = Body { args, kwargs, embed };
        let headers = TaskHeaders {
            retries,
            eta: eta.and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 123_000)),
            time_limit: (limit > 0).then(|| f64::from(limit) / 4.0),
            stamps,
            other: Map::from_iter([("x-mine", Value::Int(1))]),
            ..TaskHeaders::new("tasks.add", "c0ffee")
        };
        let (serializer, compression) = (SERIALIZERS[serializer], COMPRESSIONS[compression]);
        let sent = TaskMessage::new(headers, &body, serializer, compression).unwrap();
        let received = TaskMessage::decode(sent.clone().into_message(), &Accept::default()).unwrap();
        let read = received.body.decode(&accept()).unwrap();
        prop_assert!(read.args.iter().zip(&body.args).all(|(left, right)| same(left, right)));
        prop_assert!(same_map(&read.kwargs, &body.kwargs));
        prop_assert!(same_map(&received.headers.stamps, &sent.headers.stamps));
        prop_assert_eq!(read.embed.chord.unwrap().task, "tasks.log");
        let stampless = |headers: TaskHeaders| TaskHeaders { stamps: Map::new(), ..headers };
        prop_assert_eq!(stampless(received.headers), stampless(sent.headers));
        prop_assert_eq!(received.body, sent.body);
    }
}

#[test]
fn edge_cases() {
    for serializer in SERIALIZERS {
        check(&edges(), serializer, None);
    }
}

#[test]
fn every_compression() {
    let texts = ["", "a", "celery and celeriac ", "\u{e9}"];
    for repeat in [1, 5_000] {
        let value = Value::List(texts.map(|text| Value::from(text.repeat(repeat))).to_vec());
        for serializer in SERIALIZERS {
            for compression in COMPRESSIONS {
                check(&value, serializer, compression);
            }
        }
    }
}

#[test]
fn whether_a_result_is_ignored_may_be_left_unsaid() {
    for (told, passed_on) in [
        (None, Value::Null),
        (Some(Value::Null), Value::Null),
        (Some(false.into()), false.into()),
        (Some(true.into()), true.into()),
    ] {
        let mut map = TaskHeaders::new("tasks.add", "c0ffee").into_map();
        map.remove("ignore_result");
        if let Some(told) = told {
            map.insert("ignore_result", told);
        }
        let read = TaskHeaders::from_map(map).unwrap().into_map();
        assert_eq!(read.get("ignore_result"), Some(&passed_on));
    }
}
