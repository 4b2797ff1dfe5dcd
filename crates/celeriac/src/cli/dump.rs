//! `events --dump` (`celery/events/dumper.py`).

use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;

use celeriac_protocol::event::Event;
use celeriac_protocol::{Map, Value};
use chrono::{DateTime, Timelike};

use super::console::{Console, clean};
use super::error::Error;
use super::pretty;
use crate::App;
use crate::events::Received;

/// How many tasks' names are remembered.
const NAMES: usize = 0xfff;

/// Prints every event, for ever: ended by a signal, or when nobody reads any more.
///
/// # Errors
/// When the broker refuses for good, or the output cannot be written.
pub(super) async fn run(app: &App, console: Console) -> Result<(), Error> {
    let mut line = "-> evdump: starting capture...".to_owned();
    let mut dumper = Dumper::default();
    let mut receiver = app.events();
    loop {
        match console.write(&line) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            written => written.map_err(|error| Error::system("standard output", error))?,
        }
        line = loop {
            match receiver.next().await {
                Received::Connected => {}
                Received::Event { event, at } => break dumper.line(event, at),
                Received::Lost(error @ celeriac_broker::Error::Lost(_)) => {
                    break format!("-> Connection lost, attempting reconnect: {error}");
                }
                Received::Lost(error) if error.is_recoverable() => {
                    break format!("-> {error}.\nTrying again");
                }
                // A wrong password stays wrong.
                Received::Lost(error) => return Err(error.into()),
            }
        };
    }
}

/// Makes a line of an event. Events after the first of a task do not tell its name, so it is remembered.
#[derive(Default)]
struct Dumper {
    names: HashMap<String, String>,
    oldest: VecDeque<String>,
}

impl Dumper {
    fn line(&mut self, event: Event, at: f64) -> String {
        let kind = event.kind.to_lowercase();
        let head = format!("{} [{}] {}", clean(&event.hostname), time(event.timestamp), human(&kind));
        let mut rest = fields(event, at);
        let task = kind.starts_with("task-").then(|| self.task(&kind, &mut rest));
        let mut rest: Vec<_> = rest.iter().collect();
        rest.sort_by_key(|(key, _)| *key);
        let rest: Vec<_> =
            rest.iter().map(|(key, value)| format!("{}={}", clean(key), pretty::text(value))).collect();
        let (colon, rest) = (if rest.is_empty() { "" } else { ":" }, rest.join(", "));
        match task {
            Some(task) => format!("{head}{colon} {task} {rest}"),
            None => format!("{head}{colon} {rest}"),
        }
    }

    /// Name and arguments of an event's task, taken out of its fields.
    fn task(&mut self, kind: &str, fields: &mut Map) -> String {
        let mut take = |field| fields.remove(field).map(|value| pretty::text(&value)).unwrap_or_default();
        let id = take("uuid");
        if !matches!(kind, "task-received" | "task-sent") {
            return self.names.get(&id).cloned().unwrap_or_default();
        }
        let task = format!("{}({id}) args={} kwargs={}", take("name"), take("args"), take("kwargs"));
        if self.names.insert(id.clone(), task.clone()).is_none() {
            self.oldest.push_back(id);
        }
        if self.names.len() > NAMES
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.names.remove(&oldest);
        }
        task
    }
}

/// What every event has besides, and its own fields.
fn fields(event: Event, at: f64) -> Map {
    let Event { utcoffset, pid, clock, fields, .. } = event;
    let whole =
        |hours: f64| if hours.fract() == 0.0 { Value::Int(hours as i64) } else { Value::Float(hours) };
    let head = [
        ("utcoffset", utcoffset.map(whole)),
        ("pid", pid.map(Value::Int)),
        ("clock", clock.map(Value::from)),
        ("local_received", Some(Value::Float(at))),
    ];
    let head = head.into_iter().filter_map(|(key, value)| Some((key.into(), value?)));
    head.chain(fields).collect()
}

fn human(kind: &str) -> String {
    match kind {
        "worker-offline" => "shutdown".to_owned(),
        "worker-online" => "started".to_owned(),
        "worker-heartbeat" => "heartbeat".to_owned(),
        kind => clean(&kind.replace('-', " ")).into_owned(),
    }
}

/// `2026-11-21 02:37:39.128371+00:00`, as Python prints a time.
fn time(timestamp: f64) -> String {
    let micros = (timestamp.fract() * 1e6).round_ties_even() as i64;
    let time = DateTime::from_timestamp_micros((timestamp.trunc() as i64).saturating_mul(1_000_000) + micros);
    let Some(time) = time else { return timestamp.to_string() };
    let format = if time.nanosecond() == 0 { "%Y-%m-%d %H:%M:%S%:z" } else { "%Y-%m-%d %H:%M:%S%.6f%:z" };
    time.format(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &'static str, fields: &[(&'static str, Value)]) -> Event {
        Event {
            kind: kind.into(),
            hostname: "w1@here".to_owned(),
            utcoffset: Some(0.0),
            pid: Some(7),
            clock: Some(3),
            timestamp: 1_795_228_644.5,
            fields: fields.iter().cloned().collect(),
        }
    }

    /// What `celery.events.dumper.Dumper` prints of the same events.
    #[test]
    fn lines_are_celerys() {
        let mut dumper = Dumper::default();
        let name =
            [("uuid", "a".into()), ("name", "add".into()), ("args", "(1,)".into()), ("kwargs", "{}".into())];
        for (event, line) in [
            (
                event(
                    "worker-heartbeat",
                    &[("loadavg", vec![Value::Float(0.5)].into()), ("active", 0.into())],
                ),
                "heartbeat: active=0, clock=3, loadavg=[0.5], local_received=1.0, pid=7, utcoffset=0",
            ),
            (
                event("task-received", &name),
                "task received: add(a) args=(1,) kwargs={} clock=3, local_received=1.0, pid=7, utcoffset=0",
            ),
            (
                event("task-succeeded", &[("uuid", "a".into()), ("result", "'x'".into())]),
                "task succeeded: add(a) args=(1,) kwargs={} clock=3, local_received=1.0, pid=7, result='x', utcoffset=0",
            ),
            (
                event("task-started", &[("uuid", "b".into())]),
                "task started:  clock=3, local_received=1.0, pid=7, utcoffset=0",
            ),
        ] {
            let expected = format!("w1@here [2026-11-21 02:37:24.500000+00:00] {line}");
            assert_eq!(dumper.line(event, 1.0), expected);
        }
    }

    #[test]
    fn times_are_pythons() {
        assert_eq!(time(1_795_228_644.0), "2026-11-21 02:37:24+00:00");
        assert_eq!(time(-1.5), "1969-12-31 23:59:58.500000+00:00");
        time(f64::MAX);
        time(f64::NAN);
    }

    #[test]
    fn names_are_forgotten_in_the_end() {
        let mut dumper = Dumper::default();
        for id in 0..3 * NAMES as i64 {
            dumper.line(event("task-received", &[("uuid", id.into())]), 1.0);
        }
        assert_eq!((dumper.names.len(), dumper.oldest.len()), (NAMES, NAMES));
    }
}
