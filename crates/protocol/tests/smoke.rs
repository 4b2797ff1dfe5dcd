//! The fuzz targets, fed with what was recorded and with changes of it.

use celeriac_protocol::Value;
use celeriac_protocol::codec::{self, Serializer};

use crate::round_trips::{COMPRESSIONS, SERIALIZERS};
use crate::vectors::{bodies, recorded};

#[path = "../../../fuzz/src/feed.rs"]
mod feed;
#[path = "../../../fuzz/src/lib.rs"]
mod targets;

use feed::run;

#[test]
fn messages() {
    let mut seeds = Vec::new();
    for (index, (_, message)) in recorded().into_iter().enumerate() {
        let headers = codec::encode(&Value::Map(message.headers), Serializer::Json, None).unwrap().data;
        let compression = COMPRESSIONS[index % COMPRESSIONS.len()];
        let body = match compression {
            Some(compression) => compression.compress(&message.body).unwrap(),
            None => message.body.to_vec(),
        };
        let serializer = message.properties.content_type.as_deref().and_then(Serializer::from_content_type);
        let kind = SERIALIZERS.iter().position(|known| Some(*known) == serializer).unwrap_or(6);
        let kind = kind as u8 | ((index % COMPRESSIONS.len()) as u8) << 3;
        let length = u16::try_from(headers.len()).unwrap().to_be_bytes();
        seeds.push([&[kind, length[0], length[1]], &headers[..], &body].concat());
    }
    run(targets::decode_message, &seeds, b"\"[]{}:,0-\\\xff");
}

#[test]
fn events_and_requests() {
    let (event, control) = (targets::event as fn(&[u8]) -> bool, targets::control);
    for (exchange, target) in [("celeryev", event), ("celery.pidbox", control)] {
        let json = |body| codec::encode(&body, Serializer::Json, None).unwrap().data.to_vec();
        let seeds: Vec<Vec<u8>> = bodies(exchange).into_iter().map(json).collect();
        run(target, &seeds, b"\"[]{}:,0-\\eE.u\xff");
    }
}

#[test]
fn results() {
    let seeds = [
        &br#"{"status":"SUCCESS","result":5,"traceback":null,"children":[[["a",null],null]],"date_done":"2026-01-02T03:04:05+00:00","task_id":"i"}"#[..],
        br#"{"status":"FAILURE","result":{"exc_type":"ValueError","exc_message":["x"],"exc_module":"builtins"},"traceback":"t","children":[],"group_id":"g","name":"n","args":[1],"kwargs":{},"worker":"w","retries":1,"queue":"q","task_id":"i"}"#,
    ];
    run(targets::result, &seeds, b"\"[]{}:,0-\\eE.u\xff");
}

#[test]
fn json() {
    let seeds = [
        &br#"{"a": [1, -2.5e3, NaN, "\ud83d\ude00 \n", true, null, 123456789012345678901234567890]}"#[..],
        br#"[{"__type__": "datetime", "__value__": "2026-01-02T03:04:05.678+00:00"}]"#,
        br#"[{"__type__": "uuid", "__value__": {"hex": "a1a12c9aa64c3c37acbd5964c01411a1"}}]"#,
        br#"[{"__type__": "base64", "__value__": "AP8="}, {"__type__": "time", "__value__": "01:02:03"}]"#,
    ];
    run(targets::json, &seeds, b"\"[]{}:,0-\\eE.u\xff");
}

#[test]
fn msgpack() {
    let seeds = [
        &b"\x93\x01\xa3abc\x82\xa1a\xcb\x3f\xf0\0\0\0\0\0\0\x02\xc4\x02\0\xff"[..],
        b"\xdc\0\x02\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xd3\x80\0\0\0\0\0\0\0",
        b"\xdf\0\0\0\x01\xd9\x01a\xdb\0\0\0\x01a",
    ];
    run(targets::msgpack, &seeds, b"\x80\x90\xa0\xc0\xc1\xc4\xc7\xcf\xd4\xdb\xdd\xdf\xff");
}

#[test]
fn yaml() {
    let seeds = [
        &b"- [a, 'b', \"c\\n\\u00e9\", 1_000, 0x1f, 1:30, .inf]\n- {key: ~, ? x : y}\n- |\n  text\n  more\n- >-\n  folded\n"[..],
        b"base: &base {a: 1, b: [2, 3]}\nderived:\n  <<: *base\n  c: !!binary AP8=\n  d: 2026-01-02 03:04:05.6 -5\n",
        b"%YAML 1.1\n%TAG ! tag:yaml.org,2002:\n--- !str\nplain text\n...\n# comment\n",
        b"? a\n: {}\n\"key\": !!float 1\n'it''s': [&x z, *x]\n? >-\n  b\n: - 1\n",
    ];
    run(targets::yaml, &seeds, b"-?:,[]{}#&*!|>'\"%@` \n\t~<=.\xef");
}
