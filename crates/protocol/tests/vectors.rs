//! What Python Celery 5.6.2 sent through RabbitMQ.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use celeriac_protocol::codec::{Accept, DecodeError, PICKLE, Serializer};
use celeriac_protocol::{Map, Message, Properties, TaskError, TaskMessage, Value};

use crate::codecs::decode;

/// Every recorded task message: what the client did, and the message.
pub fn recorded() -> Vec<(String, Message)> {
    include_str!("vectors/tasks.jsonl")
        .lines()
        .map(|line| message(serde_json::from_str(line).unwrap()))
        .collect()
}

fn message(mut line: Map) -> (String, Message) {
    let text = |value: Option<Value>| value.map(|value| value.as_str().unwrap().to_owned());
    let step = text(line.remove("step")).unwrap();
    let Some(Value::Map(mut recorded)) = line.remove("properties") else { panic!("{step}: no properties") };
    let headers = match recorded.remove("headers") {
        Some(Value::Map(headers)) => headers,
        _ => Map::new(),
    };
    let body = match line.remove("body") {
        Some(Value::String(text)) => text.into_bytes(),
        Some(Value::Map(binary)) => STANDARD.decode(binary.get("base64").unwrap().as_str().unwrap()).unwrap(),
        other => panic!("{step}: body {other:?}"),
    };
    let properties = Properties {
        content_type: text(recorded.remove("content_type")),
        content_encoding: text(recorded.remove("content_encoding")),
        correlation_id: text(recorded.remove("correlation_id")),
        reply_to: text(recorded.remove("reply_to")),
        ..Properties::default()
    };
    (step, Message { headers, properties, body: body.into() })
}

/// The decoded body of each message that was recorded on an exchange of the cluster's.
pub fn bodies(exchange: &str) -> Vec<Value> {
    let lines = include_str!("vectors/cluster.jsonl").lines();
    let lines = lines.map(|line| serde_json::from_str::<Map>(line).unwrap());
    lines
        .filter(|line| line.get("exchange").and_then(Value::as_str) == Some(exchange))
        .map(|line| decode(Serializer::Json, line.get("body").unwrap().as_str().unwrap().to_owned()).unwrap())
        .collect()
}

pub fn accept() -> Accept {
    Accept::new(["json", "msgpack", "yaml", "pickle"]).unwrap()
}

#[test]
fn every_message_is_decoded() {
    let mut protocols = [0, 0];
    for (step, message) in recorded() {
        let (v2, headers) = (message.headers.get("task").is_some(), message.headers.clone());
        protocols[usize::from(v2)] += 1;
        let pickled = message.properties.content_type.as_deref() == Some(PICKLE);
        let task = TaskMessage::decode(message, &accept()).unwrap_or_else(|error| panic!("{step}: {error}"));
        assert!(!task.headers.task.is_empty() && task.headers.id.len() == 36, "{step}: {:?}", task.headers);
        if pickled {
            let error = task.body.decode(&accept()).unwrap_err();
            assert_eq!(error, TaskError::Decode(DecodeError::Pickle), "{step}");
            assert!(error.to_string().contains("cannot read pickle"), "{error}");
            continue;
        }
        let body = task.body.decode(&accept()).unwrap_or_else(|error| panic!("{step}: {error}"));
        if v2 {
            let recorded = headers.get("argsrepr").unwrap().as_str().unwrap();
            // Arguments that were a list before they were sent are shown as one.
            if !recorded.starts_with('[') {
                assert_eq!(celeriac_protocol::repr::args(&body.args), recorded, "{step}");
            }
        }
    }
    assert_eq!(protocols, [1, 36], "messages of protocol 1 and 2");
}

#[test]
fn headers_are_encoded_as_they_came() {
    for (step, message) in recorded().into_iter().filter(|(_, message)| message.headers.get("task").is_some())
    {
        let task = TaskMessage::decode(message.clone(), &accept()).unwrap();
        let again = task.into_message();
        assert_eq!(again, message, "{step}");
    }
}

#[test]
fn bodies_are_encoded_as_they_came() {
    for (step, message) in recorded() {
        let Ok(task) = TaskMessage::decode(message, &accept()) else { panic!("{step}") };
        let Ok(body) = task.body.decode(&accept()) else { continue };
        let serializer =
            celeriac_protocol::codec::Serializer::from_content_type(&task.body.content_type).unwrap();
        let again = body.encode(serializer, None).unwrap();
        assert_eq!(again.decode(&accept()).unwrap(), body, "{step}");
    }
}

#[test]
fn protocol_1_becomes_protocol_2() {
    let (_, message) = recorded().into_iter().find(|(step, _)| step.starts_with("task protocol 1")).unwrap();
    assert!(message.headers.get("task").is_none());
    let task = TaskMessage::decode(message, &accept()).unwrap();
    assert_eq!(task.headers.task, "capture_app.add");
    assert_eq!(task.headers.argsrepr.as_deref(), Some("(3, 4)"));
    assert_eq!(task.headers.kwargsrepr.as_deref(), Some("{}"));
    let body = task.body.decode(&accept()).unwrap();
    assert_eq!(body.args, [Value::Int(3), Value::Int(4)]);
    // Celery 3 told the group as `taskset` alone.
    let old = r#"{"task": "a", "id": "b", "args": [], "kwargs": {}, "taskset": "g1"}"#;
    let properties = Properties { content_type: Some("application/json".into()), ..Properties::default() };
    let message = Message { headers: Map::new(), properties, body: old.into() };
    assert_eq!(TaskMessage::decode(message, &accept()).unwrap().headers.group.as_deref(), Some("g1"));
}

#[test]
fn the_call_with_every_option_is_read() {
    let (_, message) =
        recorded().into_iter().find(|(step, _)| step == "apply_async with every option").unwrap();
    let headers = TaskMessage::decode(message, &accept()).unwrap().headers;
    assert_eq!(headers.name(), "shadowed");
    assert_eq!(headers.id, "11111111-2222-3333-4444-555555555555");
    assert_eq!((headers.time_limit, headers.soft_time_limit), (Some(30.0), Some(20.0)));
    let (eta, expires) = (headers.eta.unwrap(), headers.expires.unwrap());
    assert_eq!((expires - eta).num_seconds(), 59);
    assert_eq!(headers.other.get("x-mine"), Some(&Value::from("yes")));
}
