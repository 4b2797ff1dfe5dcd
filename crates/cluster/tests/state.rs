//! Our state beside Celery's, fed with the same events.

use std::io::Write;
use std::process::Stdio;

use celeriac_cluster::state::{State, Task};
use celeriac_protocol::codec::{self, Accept, Serializer};
use celeriac_protocol::{EncodedBody, Event, Map, Value};
use celeriac_testkit::Python;

/// xorshift64: the same events in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Every recorded event, in its order.
fn recorded() -> Vec<Value> {
    let lines = include_str!("../../protocol/tests/vectors/cluster.jsonl").lines();
    let messages = lines.map(|line| field(&decode(line.as_bytes()), "exchange", "body"));
    let bodies = messages.filter(|(exchange, _)| exchange == &Value::from("celeryev"));
    bodies
        .flat_map(|(_, body)| match decode(body.as_str().unwrap().as_bytes()) {
            Value::List(events) => events,
            event => vec![event],
        })
        // An election's fields break a worker of Celery's.
        .filter(|event| !event.as_map().unwrap().get("type").unwrap().as_str().unwrap().contains("elect"))
        .collect()
}

fn field(line: &Value, one: &str, other: &str) -> (Value, Value) {
    let map = line.as_map().unwrap();
    (map.get(one).unwrap().clone(), map.get(other).unwrap().clone())
}

/// Events of any kind about a few tasks, in any order. A task's clocks are its own, so its events have an order.
fn random(random: &mut Random) -> Vec<Value> {
    let subjects =
        ["sent", "received", "started", "succeeded", "failed", "retried", "revoked", "rejected", "progress"];
    let mut clocks: Vec<i64> = (1..=40).collect();
    random.shuffle(&mut clocks);
    let event = |clock: i64| {
        let (task, subject) = (random.below(6), random.pick(&subjects));
        let mut event = Map::new();
        event.insert("type", format!("task-{subject}"));
        event.insert("uuid", format!("t{task}"));
        event.insert(
            "hostname",
            if subject == "sent" { "client" } else { random.pick(&["w1@host", "w2@host"]) },
        );
        event.insert("pid", 7);
        event.insert("clock", clock);
        event.insert("timestamp", 1000.0 + random.below(100) as f64);
        // The parent does not change here.
        event.insert("parent_id", (task > 2).then(|| format!("t{}", task - 3)));
        for key in
            ["name", "args", "kwargs", "eta", "expires", "result", "exception", "traceback", "exchange"]
        {
            match random.below(4) {
                0 => drop(event.insert(key, Value::Null)),
                1 | 2 => drop(event.insert(key, format!("{key}{clock}"))),
                _ => {}
            }
        }
        for key in ["retries", "runtime"] {
            if random.below(2) == 0 {
                event.insert(key, clock);
            }
        }
        Value::Map(event)
    };
    clocks.into_iter().map(event).collect()
}

#[test]
fn celerys_state_ends_the_same() {
    let mut seeded = Random(0x9E37_79B9_7F4A_7C15);
    let mut streams = vec![recorded()];
    assert!(streams[0].len() > 100);
    for _ in 0..20 {
        let mut events = recorded();
        seeded.shuffle(&mut events);
        streams.push(events);
    }
    for _ in 0..200 {
        streams.push(random(&mut seeded));
    }
    let question = Value::List(streams.iter().cloned().map(Value::List).collect());
    let answers = ask(&question);
    assert_eq!(answers.len(), streams.len());
    for (number, (events, expected)) in streams.into_iter().zip(answers).enumerate() {
        let ours = Value::Map(shown(&fed(events.clone())));
        let part = |value: &Value, key: &str| value.as_map().unwrap().get(key).unwrap().clone();
        for (uuid, task) in part(&expected, "tasks").as_map().unwrap().iter() {
            let of_task = |event: &&Value| event.as_map().unwrap().get("uuid") == Some(&uuid.into());
            let told = || events.iter().filter(of_task).collect::<Vec<_>>();
            let found = part(&part(&ours, "tasks"), uuid);
            for (key, value) in task.as_map().unwrap().iter() {
                assert_eq!(&part(&found, key), value, "stream {number}, {uuid}, {key}: {:#?}", told());
            }
        }
        for (key, value) in expected.as_map().unwrap().iter() {
            assert_eq!(&part(&ours, key), value, "stream {number}, {key}");
        }
    }
}

fn fed(events: Vec<Value>) -> State {
    let mut state = State::default();
    for event in events {
        let event = Event::read(event).unwrap();
        let received = event.timestamp;
        state.event(event, received).unwrap();
    }
    state
}

/// What `state.py` shows of Celery's.
fn shown(state: &State) -> Map {
    let by_time = state.tasks_by_time();
    let tasks = by_time.iter().map(|task| (task.uuid.to_string(), Value::Map(as_dict(state, task))));
    let mut workers: Vec<&str> = state.workers().map(|worker| &*worker.hostname).collect();
    workers.sort_unstable();
    let texts = |texts: Vec<&str>| Value::List(texts.into_iter().map(Value::from).collect());
    Map::from_iter([
        ("tasks", Value::Map(tasks.collect())),
        ("by_time", texts(by_time.iter().map(|task| &*task.uuid).collect())),
        ("workers", texts(workers)),
        ("types", texts(state.task_types())),
        ("counts", Value::List(vec![state.event_count().into(), state.task_count().into()])),
    ])
}

fn as_dict(state: &State, task: &Task) -> Map {
    let number = |number: Option<f64>| Value::from(number);
    let mut children: Vec<&str> = state.children(&task.uuid).into_iter().map(|child| &*child.uuid).collect();
    children.sort_unstable();
    Map::from_iter([
        ("uuid", Value::from(&*task.uuid)),
        ("name", task.name.as_deref().into()),
        ("state", task.state.name().into()),
        ("received", number(task.received)),
        ("sent", number(task.sent)),
        ("started", number(task.started)),
        ("rejected", number(task.rejected)),
        ("succeeded", number(task.succeeded)),
        ("failed", number(task.failed)),
        ("retried", number(task.retried)),
        ("revoked", number(task.revoked)),
        ("args", task.args.as_deref().into()),
        ("kwargs", task.kwargs.as_deref().into()),
        ("eta", task.eta.as_deref().into()),
        ("expires", task.expires.as_deref().into()),
        ("retries", task.retries.into()),
        ("worker", task.worker.as_deref().into()),
        ("result", task.result.as_deref().into()),
        ("exception", task.exception.as_deref().into()),
        ("timestamp", number(task.timestamp)),
        // The streams here have whole numbers where Celery has floats.
        (
            "runtime",
            task.runtime.map_or(Value::Null, |time| {
                if time.fract() == 0.0 { (time as i64).into() } else { time.into() }
            }),
        ),
        ("traceback", task.traceback.as_deref().into()),
        ("exchange", task.exchange.as_deref().into()),
        ("routing_key", task.routing_key.as_deref().into()),
        ("clock", task.clock.into()),
        ("client", task.client.as_deref().into()),
        ("root", task.root_id.as_deref().into()),
        ("root_id", task.root_id.as_deref().into()),
        ("parent", task.parent_id.as_deref().into()),
        ("parent_id", task.parent_id.as_deref().into()),
        ("children", Value::List(children.into_iter().map(Value::from).collect())),
    ])
}

fn ask(question: &Value) -> Vec<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/state.py");
    let mut python =
        Python::find().command().arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let question = codec::encode(question, Serializer::Json, None).unwrap();
    python.stdin.take().unwrap().write_all(&question.data).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "Python failed: its traceback is above");
    match decode(&output.stdout) {
        Value::List(answers) => answers,
        other => panic!("{other:?}"),
    }
}

fn decode(json: &[u8]) -> Value {
    let body = EncodedBody {
        content_type: Serializer::Json.content_type().to_owned(),
        data: json.to_vec().into(),
        ..EncodedBody::default()
    };
    codec::decode(&body, &Accept::new(["json"]).unwrap()).unwrap()
}
