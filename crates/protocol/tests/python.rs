//! Python's Celery and kombu read what we write, and the other way round.

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use celeriac_protocol::codec::{self, Compression, Serializer};
use celeriac_protocol::{
    Body, Embed, EncodedBody, Map, Message, Properties, Signature, TaskHeaders, TaskMessage, Value, repr,
};
use celeriac_testkit::Python;
use chrono::{DateTime, TimeDelta, Utc};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::round_trips::{COMPRESSIONS, SERIALIZERS};
use crate::values::{any_value, edges, same};
use crate::vectors::accept;

#[derive(Serialize)]
struct Request<'a> {
    op: &'a str,
    body: Option<Packed>,
    headers: Option<Map>,
    protocol: Option<&'a str>,
    serializer: &'a str,
    compress: Option<&'a str>,
}

#[derive(Deserialize)]
struct Answer {
    body: Packed,
    #[serde(default)]
    headers: Map,
    #[serde(default)]
    repr: String,
}

#[derive(Serialize, Deserialize)]
struct Packed {
    content_type: String,
    content_encoding: String,
    compression: Option<String>,
    data: String,
}

impl From<EncodedBody> for Packed {
    fn from(body: EncodedBody) -> Self {
        let EncodedBody { content_type, content_encoding, compression, data } = body;
        Packed { content_type, content_encoding, compression, data: STANDARD.encode(data) }
    }
}

impl From<Packed> for EncodedBody {
    fn from(packed: Packed) -> Self {
        let Packed { content_type, content_encoding, compression, data } = packed;
        EncodedBody {
            content_type,
            content_encoding,
            compression,
            data: STANDARD.decode(data).unwrap().into(),
        }
    }
}

fn request<'a>(op: &'a str, serializer: Serializer, compression: Option<Compression>) -> Request<'a> {
    let compress = compression.map(Compression::content_type);
    Request { op, body: None, headers: None, protocol: None, serializer: serializer.name(), compress }
}

fn ask(requests: &[Request<'_>]) -> Vec<Answer> {
    let answers: Vec<Answer> = ask_script("interop.py", requests);
    assert_eq!(answers.len(), requests.len());
    answers
}

/// What a script of this folder answers to a question, both in JSON.
pub fn ask_script<Q: Serialize + ?Sized, A: DeserializeOwned>(script: &str, question: &Q) -> A {
    let script = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")).join(script);
    let mut python =
        Python::find().command().arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let question = serde_json::to_vec(question).unwrap();
    python.stdin.take().unwrap().write_all(&question).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "Python failed: its traceback is above");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The same values in every run.
fn samples(serializer: Serializer, count: usize) -> Vec<Value> {
    let mut runner = TestRunner::new(Config { rng_seed: RngSeed::Fixed(5), ..Config::default() });
    let strategy = any_value(serializer);
    let random = (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current());
    std::iter::once(edges()).chain(random).collect()
}

#[test]
fn values_come_back_from_python() {
    let mut sent = Vec::new();
    for serializer in SERIALIZERS {
        for (index, value) in samples(serializer, 400).into_iter().enumerate() {
            sent.push((value, serializer, COMPRESSIONS[index % COMPRESSIONS.len()]));
        }
    }
    let requests: Vec<_> = sent
        .iter()
        .map(|(value, serializer, compression)| {
            let body = codec::encode(value, *serializer, *compression).unwrap();
            Request { body: Some(body.into()), ..request("echo", *serializer, *compression) }
        })
        .collect();
    for ((value, serializer, compression), answer) in sent.into_iter().zip(ask(&requests)) {
        let body = EncodedBody::from(answer.body);
        let read = codec::decode(&body, &accept()).unwrap_or_else(|error| panic!("{serializer:?}: {error}"));
        assert!(same(&read, &value), "{serializer:?} {compression:?}: {value:?}\ncame back as {read:?}");
        // Which characters outside ASCII are printable is for Unicode's tables to say; ours is near enough.
        let shown = repr::value(&value);
        if answer.repr.is_ascii() && answer.repr.len() < repr::MAX_LENGTH && !shown.contains("...") {
            assert_eq!(shown, answer.repr);
        }
    }
}

#[test]
fn celery_understands_our_messages() {
    let eta = DateTime::from_timestamp(1_800_000_000, 678_000).unwrap();
    let headers = TaskHeaders {
        eta: Some(eta),
        expires: Some(eta + TimeDelta::hours(1)),
        retries: 3,
        time_limit: Some(30.5),
        soft_time_limit: Some(20.0),
        ignore_result: true,
        ..TaskHeaders::new("tasks.add", "c0ffee")
    };
    let body = Body {
        args: vec![Value::Int(1), Value::from("two")],
        kwargs: Map::from_iter([("key", Value::List(vec![Value::Null]))]),
        embed: Embed {
            callbacks: vec![Signature::new("tasks.add", vec![Value::Int(10)])],
            ..Embed::default()
        },
    };
    let headers = TaskHeaders { argsrepr: Some(repr::args(&body.args)), ..headers };
    let mut requests = Vec::new();
    for serializer in SERIALIZERS {
        for compression in COMPRESSIONS {
            let task = TaskMessage::new(headers.clone(), &body, serializer, compression).unwrap();
            let packed = task.body.clone().into();
            let headers = Some(task.into_message().headers);
            requests.push(Request { body: Some(packed), headers, ..request("receive", serializer, None) });
        }
    }
    for answer in ask(&requests) {
        let read = codec::decode(&answer.body.into(), &accept()).unwrap();
        let field = |key: &str| read.as_map().unwrap().get(key).cloned().unwrap();
        let moment = |time: DateTime<Utc>| Value::DateTime(celeriac_protocol::time::iso(time));
        assert_eq!(field("id"), Value::from("c0ffee"));
        assert_eq!(field("name"), Value::from("tasks.add"));
        assert_eq!(field("root"), Value::from("c0ffee"));
        assert_eq!(field("args"), Value::List(body.args.clone()));
        assert_eq!(field("kwargs"), Value::Map(body.kwargs.clone()));
        assert_eq!(field("argsrepr"), Value::from("(1, 'two')"));
        assert_eq!(field("eta"), moment(eta));
        assert_eq!(field("expires"), moment(eta + TimeDelta::hours(1)));
        assert_eq!(field("limits"), Value::List(vec![Value::Float(30.5), Value::Int(20)]));
        assert_eq!((field("retries"), field("ignore_result")), (Value::Int(3), Value::Bool(true)));
        let embed = field("embed");
        let callbacks = embed.as_map().unwrap().get("callbacks").unwrap().as_list().unwrap();
        assert_eq!(Signature::from_value(callbacks[0].clone()).unwrap(), body.embed.callbacks[0]);
    }
}

#[test]
fn we_understand_celerys_messages() {
    let mut requests = Vec::new();
    for protocol in ["as_task_v1", "as_task_v2"] {
        for serializer in SERIALIZERS {
            for compression in COMPRESSIONS {
                let protocol = Some(protocol);
                requests.push(Request { protocol, ..request("send", serializer, compression) });
            }
        }
    }
    for answer in ask(&requests) {
        let body = EncodedBody::from(answer.body);
        let mut headers = answer.headers;
        if let Some(compression) = &body.compression {
            headers.insert("compression", compression.clone());
        }
        let properties = Properties {
            content_type: Some(body.content_type),
            content_encoding: Some(body.content_encoding),
            ..Properties::default()
        };
        let TaskMessage { headers, body, .. } =
            TaskMessage::decode(Message { headers, properties, body: body.data }, &accept()).unwrap();
        assert_eq!((headers.task.as_str(), headers.id.as_str()), ("tasks.add", "c0ffee"));
        assert_eq!(headers.eta, celeriac_protocol::time::parse("2026-01-02T01:04:05.000678Z"));
        assert_eq!(
            headers.expires.zip(headers.eta).map(|(expires, eta)| expires - eta),
            Some(TimeDelta::hours(1))
        );
        assert_eq!((headers.retries, headers.group_index), (3, Some(2)));
        assert_eq!((headers.time_limit, headers.soft_time_limit), (Some(30.5), Some(20.0)));
        assert_eq!(headers.group.as_deref(), Some("g1"));
        assert_eq!(headers.argsrepr.as_deref(), Some("(1, 'two', [3.0, None])"));
        let Body { args, kwargs, embed } = body.decode(&accept()).unwrap();
        assert_eq!(args[..2], [Value::Int(1), Value::from("two")]);
        assert_eq!(args[2], Value::List(vec![Value::Float(3.0), Value::Null]));
        assert_eq!(kwargs.get("key"), Some(&Value::Map(Map::from_iter([("nested", Value::Bool(true))]))));
        assert_eq!(embed.callbacks, [Signature { subtask_type: None, ..embed.callbacks[0].clone() }]);
        assert_eq!(embed.callbacks[0].args, [Value::Int(10)]);
        assert!(embed.errbacks[0].immutable);
        assert_eq!(embed.chord.unwrap().options.get("queue"), Some(&Value::from("high")));
    }
}
