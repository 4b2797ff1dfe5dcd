//! The events of a busy cluster: `celeriac-state-load write FILE TASKS`, and `celeriac-state-load feed FILE`, which
//! feeds them to the cluster's state and prints what that takes. `state.py` does the same with Celery's state.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use celeriac_cluster::state::State;
use celeriac_protocol::codec::{self, Accept, Serializer};
use celeriac_protocol::{EncodedBody, Event, Value};

/// Workers that take turns.
const WORKERS: u64 = 5_000;
/// A task starts, and later succeeds, when so many others were received.
const DELAY: u64 = 100;
const BEGIN: f64 = 1.8e9;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["write", file, tasks] => write(file, tasks.parse().context("TASKS")?),
        ["feed", file] => feed(file),
        _ => bail!("celeriac-state-load write FILE TASKS | feed FILE"),
    }
}

/// For each task a line of JSON when it is received, starts and succeeds, and one for a heartbeat of some worker.
fn write(file: &str, tasks: u64) -> Result<()> {
    let mut file = BufWriter::new(File::create(file)?);
    let mut clock = 0;
    let mut line = |event: Option<Event>| -> Result<()> {
        let Some(mut event) = event else { return Ok(()) };
        clock += 1;
        event.clock = Some(clock);
        event.timestamp = BEGIN + clock as f64 / 1e4;
        file.write_all(&codec::encode(&event.into_value(), Serializer::Json, None)?.data)?;
        Ok(file.write_all(b"\n")?)
    };
    for step in 0..tasks + 2 * DELAY {
        let at = |delay: u64| step.checked_sub(delay).filter(|task| *task < tasks);
        line(at(0).map(received))?;
        line(at(DELAY).map(|task| of_task("task-started", task, &[])))?;
        line(at(2 * DELAY).map(|task| {
            let fields =
                [("result", Value::from((2 * task).to_string())), ("runtime", 0.012_916_710_999.into())];
            of_task("task-succeeded", task, &fields)
        }))?;
        line(Some(heartbeat(step)))?;
    }
    Ok(file.flush()?)
}

fn received(task: u64) -> Event {
    let fields = [
        ("name", Value::from(format!("shop.tasks.step{}", task % 20))),
        ("args", format!("({task}, {task})").into()),
        ("kwargs", "{}".into()),
        ("root_id", uuid(task).into()),
        ("parent_id", Value::Null),
        ("retries", 0.into()),
        ("eta", Value::Null),
        ("expires", Value::Null),
    ];
    of_task("task-received", task, &fields)
}

fn heartbeat(number: u64) -> Event {
    let load = [0.2, 0.43, 0.64].map(Value::Float);
    let fields = [
        ("freq", Value::Float(2.0)),
        ("active", 1.into()),
        ("processed", number.into()),
        ("loadavg", Value::List(load.to_vec())),
        ("sw_ident", "py-celery".into()),
        ("sw_ver", "5.6.2".into()),
        ("sw_sys", "Linux".into()),
    ];
    of_worker("worker-heartbeat", number, &fields)
}

fn of_task(kind: &'static str, task: u64, fields: &[(&'static str, Value)]) -> Event {
    let mut event = of_worker(kind, task, fields);
    event.fields.insert("uuid", uuid(task));
    event
}

fn of_worker(kind: &'static str, number: u64, fields: &[(&'static str, Value)]) -> Event {
    let worker = number % WORKERS;
    Event {
        kind: kind.into(),
        hostname: format!("worker{worker}@node{}.example.com", worker / 8),
        utcoffset: Some(0.0),
        pid: i64::try_from(1000 + worker).ok(),
        fields: fields.iter().cloned().collect(),
        ..Event::default()
    }
}

fn uuid(task: u64) -> String {
    format!("{task:08x}-c74a-4b4f-8e6a-ba17055f15a5")
}

/// Once line by line, for the memory that the state takes; once with all events in memory, for its speed.
fn feed(file: &str) -> Result<()> {
    let before = resident()?;
    let mut state = State::default();
    for line in BufReader::new(File::open(file)?).lines() {
        take(&mut state, read(&line?)?)?;
    }
    let mebibytes = resident()? - before;
    let (tasks, workers) = (state.task_len(), state.workers().len());
    drop(state);

    let lines = BufReader::new(File::open(file)?).lines();
    let events = lines.map(|line| read(&line?)).collect::<Result<Vec<Event>>>()?;
    let count = events.len();
    let mut state = State::default();
    let begun = Instant::now();
    for event in events {
        take(&mut state, event)?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    ensure!((state.task_len(), state.workers().len()) == (tasks, workers), "it did not end the same");
    println!("{} {mebibytes} {tasks} {workers}", count as f64 / seconds);
    Ok(())
}

fn take(state: &mut State, event: Event) -> Result<()> {
    let received = event.timestamp;
    state.event(event, received)?;
    Ok(())
}

fn read(line: &str) -> Result<Event> {
    let body = EncodedBody {
        content_type: Serializer::Json.content_type().to_owned(),
        data: line.to_owned().into(),
        ..EncodedBody::default()
    };
    Ok(Event::read(codec::decode(&body, &Accept::default())?)?)
}

/// The memory of this process, in MiB.
fn resident() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes / 1024.0)
}
