//! Events as recorded, and events that make no sense.

use celeriac_protocol::codec::Serializer;
use celeriac_protocol::{Event, EventError, LamportClock, Map, Value};
use proptest::prelude::*;

use crate::values::any_value;
use crate::vectors::bodies;

#[test]
fn events_are_encoded_as_they_came() {
    let mut kinds = std::collections::BTreeMap::new();
    for body in bodies("celeryev") {
        let single = !matches!(body, Value::List(_));
        let sent = if single { vec![body.clone()] } else { body.as_list().unwrap().to_vec() };
        let read: Vec<Event> = Event::read_all(body).map(Result::unwrap).collect();
        assert_eq!(read.len(), sent.len());
        for (event, sent) in read.into_iter().zip(sent) {
            *kinds.entry(event.kind.to_string()).or_insert(0) += 1;
            let again = event.into_value();
            assert_eq!(again, sent);
            let keys = |value: &Value| -> Vec<String> {
                value.as_map().unwrap().iter().map(|(key, _)| key.to_owned()).collect()
            };
            assert_eq!(keys(&again), keys(&sent));
        }
    }
    assert!(kinds.len() >= 10 && kinds.values().sum::<i32>() > 150, "{kinds:?}");
}

#[test]
fn kinds_have_parts() {
    let event = |kind: &'static str| Event { kind: kind.into(), ..Event::default() };
    let parts = |kind| {
        let event = event(kind);
        (event.group().to_owned(), event.subject().to_owned(), event.routing_key())
    };
    let owned =
        |group: &str, subject: &str, key: &str| (group.to_owned(), subject.to_owned(), key.to_owned());
    assert_eq!(parts("task-received"), owned("task", "received", "task.received"));
    assert_eq!(parts("worker-elect-ack"), owned("worker", "elect-ack", "worker.elect.ack"));
    assert_eq!(parts("mine"), owned("mine", "", "mine"));
}

fn body(entries: &[(&'static str, Value)]) -> Value {
    let sound = [
        ("type", Value::from("task-started")),
        ("hostname", Value::from("w1@host")),
        ("timestamp", Value::Float(1.5)),
    ];
    Value::Map(sound.into_iter().chain(entries.iter().cloned()).collect())
}

#[test]
fn what_is_wrong_is_an_error() {
    assert!(Event::read(body(&[])).is_ok());
    for (key, value) in [
        ("type", Value::Null),
        ("type", Value::from("")),
        ("type", Value::from("x".repeat(300))),
        ("hostname", Value::List(Vec::new())),
        ("hostname", Value::from("x".repeat(300))),
        ("timestamp", Value::from("1.5")),
        ("timestamp", Value::Float(f64::NAN)),
        ("timestamp", Value::Float(f64::INFINITY)),
        ("timestamp", Value::Float(1e300)),
        ("timestamp", Value::Int(-1)),
        ("clock", Value::Int(-1)),
        ("clock", Value::BigInt("9".repeat(30))),
        ("clock", Value::Float(1.0)),
        ("pid", Value::from("12")),
        ("utcoffset", Value::Float(f64::NAN)),
        ("utcoffset", Value::Int(1000)),
    ] {
        assert!(Event::read(body(&[(key, value.clone())])).is_err(), "{key} {value:?}");
    }
    for missing in ["type", "hostname", "timestamp"] {
        let Value::Map(mut map) = body(&[]) else { unreachable!() };
        map.remove(missing);
        assert_eq!(Event::read(Value::Map(map)), Err(EventError::Missing(missing)));
    }
    assert_eq!(Event::read(Value::from("event")), Err(EventError::NoDict("str")));
}

#[test]
fn one_wrong_event_does_not_take_the_others_with_it() {
    let list = Value::List(vec![body(&[]), Value::Null, Value::List(vec![body(&[])]), body(&[])]);
    let read: Vec<bool> = Event::read_all(list).map(|event| event.is_ok()).collect();
    assert_eq!(read, [true, false, false, true]);
}

#[test]
fn offsets_of_half_an_hour_are_kept() {
    let read = |offset: f64| Event::read(body(&[("utcoffset", Value::Float(offset))])).unwrap();
    let written = |event: Event| event.into_value().as_map().unwrap().get("utcoffset").cloned();
    assert_eq!(written(read(-5.5)), Some(Value::Float(-5.5)));
    assert_eq!(written(read(2.0)), Some(Value::Int(2)));
    assert_eq!(read(-0.0).utcoffset.map(f64::is_sign_negative), Some(false), "an integer's zero has no sign");
}

#[test]
fn clocks_are_brought_together() {
    let clock = LamportClock::new(10);
    let mut event = Event { kind: "worker-heartbeat".into(), clock: Some(20), ..Event::default() };
    event.synchronize(&clock);
    assert_eq!((event.clock, clock.value()), (Some(20), 21));
    event.clock = None;
    event.synchronize(&clock);
    assert_eq!((event.clock, clock.value()), (Some(22), 22));
    let mut sent = Event { kind: "task-sent".into(), clock: Some(1 << 40), ..Event::default() };
    sent.synchronize(&clock);
    assert_eq!((sent.clock, clock.value()), (Some(21), 23));
}

proptest! {
    #[test]
    fn any_field_is_read_or_refused(
        key in prop::sample::select(vec!["type", "hostname", "timestamp", "utcoffset", "pid", "clock", "uuid"]),
        value in any_value(Serializer::Json),
    ) {
        if let Ok(event) = Event::read(body(&[(key, value)])) {
            // What is read can be written, and reads the same.
            let again = Event::read(event.clone().into_value());
            let shown = format!("{again:?}");
            prop_assert_eq!(shown, format!("{:?}", Ok::<_, EventError>(event)));
        }
    }

    #[test]
    fn any_value_is_an_event_or_not(value in any_value(Serializer::Json)) {
        Event::read_all(value).for_each(drop);
    }
}

#[test]
fn fields_keep_their_order() {
    let fields = Map::from_iter([("b", Value::Int(1)), ("a", Value::Int(2))]);
    let event = Event { kind: "mine-own".into(), hostname: "h".into(), fields, ..Event::default() };
    let value = event.into_value();
    let keys: Vec<&str> = value.as_map().unwrap().iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["hostname", "b", "a", "timestamp", "type"]);
}
