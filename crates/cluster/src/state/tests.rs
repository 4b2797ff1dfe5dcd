use std::sync::Arc;

use celeriac_protocol::{Event, EventError, Map, State as TaskState, Value};

use super::names::Names;
use super::{Change, Limits, State, Worker};

fn event(kind: &str, hostname: &str, clock: u64, fields: &[(&'static str, Value)]) -> Event {
    Event {
        kind: kind.to_owned().into(),
        hostname: hostname.to_owned(),
        pid: Some(7),
        clock: Some(clock),
        timestamp: 1000.0 + clock as f64,
        fields: fields.iter().cloned().collect(),
        ..Event::default()
    }
}

fn task(subject: &str, uuid: &str, clock: u64) -> Event {
    event(&format!("task-{subject}"), "w1@host", clock, &[("uuid", uuid.into())])
}

fn named(subject: &str, uuid: &str, clock: u64, fields: &[(&'static str, Value)]) -> Event {
    let mut event = task(subject, uuid, clock);
    event.fields = event
        .fields
        .into_iter()
        .chain(fields.iter().map(|(key, value)| ((*key).into(), value.clone())))
        .collect();
    event
}

fn feed(state: &mut State, events: impl IntoIterator<Item = Event>) {
    for event in events {
        let received = event.timestamp;
        state.event(event, received).unwrap();
    }
}

fn ids<'a>(tasks: impl IntoIterator<Item = &'a super::Task>) -> Vec<&'a str> {
    tasks.into_iter().map(|task| &*task.uuid).collect()
}

fn shared(text: &str) -> Arc<str> {
    text.into()
}

#[test]
fn a_worker_joins_speaks_and_leaves() {
    let mut state = State::default();
    let mut change = |kind: &str, clock| {
        let event = event(kind, "w1@host", clock, &[("freq", Value::Float(2.0))]);
        let received = event.timestamp;
        state.event(event, received).unwrap().change
    };
    let host = shared("w1@host");
    assert_eq!(change("worker-offline", 1), Change::Left(host.clone()));
    assert_eq!(change("worker-heartbeat", 2), Change::Joined(host.clone()));
    assert_eq!(change("worker-heartbeat", 3), Change::Heard(host.clone()));
    assert_eq!(change("worker-online", 4), Change::Joined(host.clone()));
    assert_eq!(change("worker-offline", 5), Change::Left(host.clone()));
    assert_eq!(change("worker-heartbeat", 6), Change::Joined(host));
    assert_eq!(change("mine-own", 7), Change::Other);
    assert_eq!((state.event_count(), state.workers().len()), (7, 1));
}

#[test]
fn a_worker_lives_for_twice_its_interval() {
    let mut worker = Worker::new("w1@host");
    assert!(!worker.alive(0.0));
    worker.update(&event("worker-online", "w1@host", 0, &[("freq", Value::Float(2.0))]), 1000.0, 0.0);
    assert_eq!(worker.heartbeat_expires(), Some(1004.0));
    assert!(worker.alive(1003.9) && !worker.alive(1004.0));
    worker.update(&event("worker-offline", "w1@host", 1, &[]), 1001.0, 0.0);
    assert!(!worker.alive(1001.0));
}

#[test]
fn four_heartbeats_are_kept_in_order() {
    let mut worker = Worker::new("w1@host");
    for received in [10.0, 30.0, 20.0, 50.0, 40.0, 60.0] {
        worker.update(&event("worker-heartbeat", "w1@host", 0, &[]), received, 0.0);
    }
    assert_eq!(worker.heartbeats, [30.0, 40.0, 50.0, 60.0]);
}

#[test]
fn what_a_worker_tells_is_kept_if_it_makes_sense() {
    let mut worker = Worker::new("w1@host");
    let load = |load: &[f64]| Value::List(load.iter().copied().map(Value::Float).collect());
    let extra = Value::Map(Map::from_iter([("incarnation", Value::Int(3))]));
    let sound = [
        ("freq", Value::Float(5.0)),
        ("active", Value::Int(1)),
        ("processed", Value::Int(2)),
        ("loadavg", load(&[0.1, 0.2, 0.3])),
        ("sw_ident", "celeriac".into()),
        ("sw_ver", "0.1.0".into()),
        ("sw_sys", "Linux".into()),
        ("celeriac", extra.clone()),
        ("alive", Value::Bool(false)),
        ("hostname", "other".into()),
    ];
    worker.update(&event("worker-heartbeat", "w1@host", 5, &sound), 1005.0, 0.0);
    let before = worker.clone();
    assert_eq!((&*worker.hostname, worker.pid, worker.clock, worker.freq), ("w1@host", Some(7), 5, 5.0));
    assert_eq!((worker.active, worker.processed, worker.loadavg), (Some(1), Some(2), Some([0.1, 0.2, 0.3])));
    assert_eq!(worker.sw_ident.as_deref(), Some("celeriac"));
    assert_eq!(worker.celeriac.clone().map(Value::Map), Some(extra));
    assert_eq!(worker.id(), "w1@host.7");
    let wrong = [
        ("freq", Value::Float(f64::NAN)),
        ("active", Value::Int(-1)),
        ("processed", "many".into()),
        ("loadavg", load(&[0.1])),
        ("sw_ident", Value::Int(1)),
        ("sw_ver", "x".repeat(300).into()),
        ("celeriac", Value::Map(Map::from_iter([("x", Value::from("x".repeat(5000)))]))),
    ];
    worker.update(&event("worker-heartbeat", "w1@host", 5, &wrong), 1005.0, 0.0);
    worker.heartbeats.clone_from(&before.heartbeats);
    assert_eq!(worker, before);
    for (told, believed) in [(0.0, 0.1), (-5.0, 0.1), (1e300, 86_400.0), (f64::INFINITY, 86_400.0)] {
        worker.update(&event("worker-heartbeat", "w1@host", 6, &[("freq", Value::Float(told))]), 1006.0, 0.0);
        assert_eq!(worker.freq, believed);
    }
}

#[test]
fn drift_is_told_once_a_worker() {
    let mut state = State::default();
    let mut drift = |hostname: &str, behind: f64| {
        let event = event("worker-heartbeat", hostname, 1, &[]);
        let received = event.timestamp + behind;
        state.event(event, received).unwrap().drift.map(|drift| drift.seconds())
    };
    assert_eq!(drift("w1@host", 16.0), None);
    assert_eq!(drift("w1@host", -17.0), Some(17.0));
    assert_eq!(drift("w1@host", 100.0), None);
    assert_eq!(drift("w2@host", 17.0), Some(17.0));
}

#[test]
fn drift_is_apart_from_the_time_that_an_event_waited() {
    let seconds = |behind: f64, lag: f64| {
        let event = event("worker-heartbeat", "w1@host", 1, &[]);
        let drift = Worker::new("w1@host").update(&event, event.timestamp + behind, lag);
        drift.map(|drift| drift.seconds())
    };
    assert_eq!((seconds(30.0, 13.0), seconds(30.0, 14.0)), (Some(17.0), None));
    assert_eq!(seconds(30.0, 1e9), None);
    assert_eq!(seconds(-30.0, 14.0), Some(30.0), "nobody waits for less than no time");
}

#[test]
fn a_task_event_is_a_sign_of_life() {
    let mut state = State::default();
    feed(&mut state, [task("received", "a", 1)]);
    assert!(state.worker("w1@host").unwrap().alive(1001.0));
    feed(&mut state, [event("task-sent", "client", 2, &[("uuid", "b".into())])]);
    assert!(state.worker("client").is_none());
    assert_eq!(state.task("b").unwrap().client.as_deref(), Some("client"));
}

#[test]
fn late_events_change_no_state() {
    let mut state = State::default();
    feed(
        &mut state,
        [
            named("succeeded", "a", 9, &[("result", "4".into()), ("runtime", Value::Float(0.5))]),
            task("started", "a", 5),
            named("received", "a", 3, &[("name", "add".into()), ("result", "5".into())]),
        ],
    );
    let task = state.task("a").unwrap();
    assert_eq!(
        (&task.state, task.name.as_deref(), task.result.as_deref()),
        (&TaskState::Success, Some("add"), Some("4"))
    );
    assert_eq!((task.received, task.started, task.succeeded), (Some(1003.0), Some(1005.0), Some(1009.0)));
    assert_eq!((task.clock, task.runtime), (5, Some(0.5)));
}

#[test]
fn a_retry_starts_anew() {
    let mut state = State::default();
    feed(
        &mut state,
        ["received", "started", "retried", "received"]
            .into_iter()
            .zip(1..)
            .map(|(subject, clock)| task(subject, "a", clock)),
    );
    assert_eq!(state.task("a").unwrap().state, TaskState::Received);
    feed(&mut state, [task("progress", "a", 9)]);
    assert_eq!(state.task("a").unwrap().state, TaskState::Custom("PROGRESS".to_owned()));
}

#[test]
fn a_task_that_is_not_named_changes_nothing() {
    let mut state = State::default();
    for (uuid, error) in [
        (Value::Null, EventError::Missing("uuid")),
        ("".into(), EventError::Missing("uuid")),
        (Value::Int(1), EventError::Type { field: "uuid", wanted: "str", found: "int" }),
        ("x".repeat(2000).into(), EventError::OutOfRange("uuid")),
    ] {
        let event = event("task-started", "w1@host", 1, &[("uuid", uuid)]);
        assert_eq!(state.event(event, 1.0), Err(error));
    }
    assert_eq!((state.event_count(), state.workers().len(), state.task_len()), (0, 0, 0));
}

#[test]
fn tasks_are_found_by_type_worker_parent_and_time() {
    let mut state = State::default();
    let name = |name: &'static str| ("name", Value::from(name));
    feed(
        &mut state,
        [
            named(
                "received",
                "child",
                5,
                &[name("add"), ("parent_id", "top".into()), ("root_id", "top".into())],
            ),
            named("received", "top", 2, &[name("mul")]),
            task("started", "late", 8),
            named("received", "late", 1, &[name("add")]),
            Event { hostname: "w2@host".to_owned(), ..task("started", "top", 6) },
        ],
    );
    assert_eq!(ids(state.tasks_by_time()), ["late", "top", "child"]);
    assert_eq!(ids(state.tasks_by_type("add")), ["late", "child"]);
    assert_eq!(ids(state.tasks_by_worker("w1@host")), ["late", "child"]);
    assert_eq!(ids(state.tasks_by_worker("w2@host")), ["top"]);
    assert_eq!(ids(state.children("top")), ["child"]);
    let child = state.task("child").unwrap();
    assert_eq!(ids(state.parent(child).into_iter().chain(state.root(child))), ["top", "top"]);
    assert_eq!(state.task_types(), ["add", "mul"]);
    assert_eq!(state.task_count(), 3);
}

#[test]
fn clearing_forgets_everywhere() {
    let mut state = State::default();
    let fields = [("name", Value::from("add")), ("parent_id", Value::from("top"))];
    feed(
        &mut state,
        [named("received", "a", 1, &fields), named("received", "b", 2, &fields), task("succeeded", "a", 3)],
    );
    state.clear_tasks(true);
    assert_eq!(ids(state.tasks_by_time()), ["b"]);
    assert_eq!(ids(state.children("top")), ["b"]);
    state.clear_tasks(false);
    assert_eq!(
        (state.task_len(), state.task_types().len(), state.tasks_by_worker("w1@host").len()),
        (0, 0, 0)
    );
    assert!(state.children("top").is_empty());
}

#[test]
fn the_quietest_are_forgotten_first() {
    let mut state = State::new(Limits { tasks: 2, workers: 2, ..Limits::default() });
    feed(
        &mut state,
        [
            task("received", "a", 1),
            task("received", "b", 2),
            task("started", "a", 3),
            task("received", "c", 4),
        ],
    );
    assert!(state.task("b").is_none() && state.task("a").is_some() && state.task("c").is_some());
    assert_eq!(state.tasks_by_worker("w1@host").len(), 2);
    let beat = |hostname, clock| event("worker-heartbeat", hostname, clock, &[]);
    feed(&mut state, [beat("w2@host", 5), beat("w1@host", 6), beat("w3@host", 7)]);
    let workers: Vec<&str> = state.workers().map(|worker| &*worker.hostname).collect();
    assert_eq!(workers, ["w3@host", "w1@host"]);
}

#[test]
fn texts_do_not_fill_the_memory() {
    let mut state = State::new(Limits { text: 100_000, ..Limits::default() });
    let long = Value::from("ü".repeat(1 << 16));
    for number in 0..200 {
        let fields = [
            ("args", long.clone()),
            ("traceback", long.clone()),
            ("name", long.clone()),
            ("root_id", long.clone()),
        ];
        feed(&mut state, [named("failed", &number.to_string(), number, &fields)]);
    }
    let task = state.task("199").unwrap();
    assert_eq!(
        (task.args.as_ref().unwrap().len(), task.name.is_none(), task.root_id.is_none()),
        (4096, true, true)
    );
    assert_eq!(state.task_len(), 100_000 / (2 * 4096 + 3));
    for number in 0..200 {
        feed(
            &mut state,
            [named(
                "failed",
                &number.to_string(),
                number,
                &[("args", Value::Null), ("traceback", Value::Null)],
            )],
        );
    }
    assert_eq!(state.task_len(), 200);
}

#[test]
fn names_in_use_are_shared_and_others_forgotten() {
    let mut names = Names::default();
    let kept = names.share("kept");
    for number in 0..100_000 {
        names.share(&number.to_string());
    }
    assert!(Arc::ptr_eq(&kept, &names.share("kept")));
    assert!(names.len() <= 2048, "{}", names.len());
}
