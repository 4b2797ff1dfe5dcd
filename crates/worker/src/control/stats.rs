//! What a worker is and has done (`celery/worker/worker.py`, `stats`).

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use celeriac_broker::BrokerUrl;
use celeriac_protocol::{Map, Value};

use super::arguments::Arguments;
use super::command::CommandError;
use super::tasks::seconds;
use crate::consumer::Consumer;

/// What the system counts blocks of a disk in.
const BLOCK: u64 = 512;

pub(super) fn stats(consumer: &Arc<Consumer>, _: Arguments) -> Result<Value, CommandError> {
    let mut total: Vec<_> = consumer
        .tasks
        .values()
        .map(|task| (task.name.clone(), task.runs.load(Ordering::Relaxed)))
        .filter(|(_, runs)| *runs > 0)
        .collect();
    total.sort();
    let total: Map = total.into_iter().map(|(name, runs)| (name, runs.into())).collect();
    let uptime = consumer.started.elapsed().as_secs_f64().round();
    let prefetch_count = consumer.prefetch().max(consumer.stock.load(Ordering::Relaxed));
    let mut stats = Map::from_iter([
        ("total", Value::from(total)),
        ("pid", std::process::id().into()),
        ("clock", consumer.clock.value().to_string().into()),
        ("uptime", (uptime as u64).into()),
        ("pool", pool(consumer).into()),
        ("broker", broker(consumer).into()),
        ("prefetch_count", u32::from(prefetch_count).into()),
        ("rusage", rusage().map_or_else(|| "N/A".into(), Value::from)),
        // Celery's workers have none; nobody who reads stats minds one more.
        ("celeriac", Map::from_iter([("chatter", consumer.chatter.to_value())]).into()),
    ]);
    if let Some(autoscaler) = &consumer.autoscaler {
        let (bounds, executor) = (autoscaler.bounds(), &consumer.executor);
        let counts = [
            ("max", bounds.max),
            ("min", bounds.min),
            ("current", executor.concurrency()),
            ("qty", executor.load()),
        ];
        let counts = counts.into_iter().map(|(name, count)| (name, Value::from(count as u64)));
        stats.insert("autoscaler", counts.collect::<Map>());
    }
    Ok(stats.into())
}

fn pool(consumer: &Consumer) -> Map {
    let (settings, executor) = (&consumer.settings, &consumer.executor);
    let timeout = |limit: Option<_>| limit.map_or(Value::Int(0), seconds);
    let timeouts = [settings.task_soft_time_limit, settings.task_time_limit].map(timeout);
    executor.stats().into_map(executor.concurrency(), Value::List(timeouts.to_vec()))
}

/// The broker as kombu describes its connections (`kombu/connection.py`, `info`), never with the password.
fn broker(consumer: &Consumer) -> Map {
    let transport = &consumer.transport;
    let url = BrokerUrl::parse(&transport.display_url()).ok();
    let text = |text: Option<&str>| Value::from(text.filter(|text| !text.is_empty()));
    let url = url.as_ref();
    let scheme = url.map_or("", |url| url.scheme.as_str());
    let amqp = transport.name() == "amqp";
    let is_secure = scheme == "amqps" || scheme == "rediss";
    let default_port = if is_secure { 5671 } else { 5672 };
    let port = url.and_then(|url| url.port).or(amqp.then_some(default_port));
    Map::from_iter([
        ("hostname", text(url.map(|url| url.host.as_str()))),
        ("userid", text(url.and_then(|url| url.user.as_deref()))),
        ("virtual_host", text(url.map(|url| url.path.as_str()).or(Some("/")))),
        ("port", port.map(i32::from).into()),
        ("insist", false.into()),
        ("ssl", is_secure.into()),
        ("transport", transport.name().into()),
        ("connect_timeout", 4.into()),
        ("transport_options", Map::new().into()),
        ("login_method", amqp.then_some("PLAIN").into()),
        ("uri_prefix", Value::Null),
        ("heartbeat", Value::Null),
        ("failover_strategy", "round-robin".into()),
        ("alternates", Value::List(Vec::new())),
        ("credential_provider", Value::Null),
    ])
}

/// What the process has used, by the names of `getrusage`. Context switches are those of the threads that are
/// there now; what Linux does not count is 0, as it is in `getrusage`.
fn rusage() -> Option<Map> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The command's name may hold anything, but ends at the last parenthesis; the state is field 3 of proc(5).
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = rustix::param::clock_ticks_per_second().max(1) as f64;
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let blocks = |name| entry(&io, name).unwrap_or_default() / BLOCK;
    let threads = fs::read_dir("/proc/self/task").ok()?;
    let (mut voluntary, mut involuntary) = (0, 0);
    for thread in threads.flatten() {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        voluntary += entry(&status, "voluntary_ctxt_switches").unwrap_or_default();
        involuntary += entry(&status, "nonvoluntary_ctxt_switches").unwrap_or_default();
    }
    Some(Map::from_iter([
        ("utime", Value::from(field(14)? as f64 / ticks)),
        ("stime", (field(15)? as f64 / ticks).into()),
        ("maxrss", entry(&status, "VmHWM")?.into()),
        ("ixrss", 0.into()),
        ("idrss", 0.into()),
        ("isrss", 0.into()),
        ("minflt", field(10)?.into()),
        ("majflt", field(12)?.into()),
        ("nswap", 0.into()),
        ("inblock", blocks("read_bytes").into()),
        ("oublock", blocks("write_bytes").into()),
        ("msgsnd", 0.into()),
        ("msgrcv", 0.into()),
        ("nsignals", 0.into()),
        ("nvcsw", voluntary.into()),
        ("nivcsw", involuntary.into()),
    ]))
}

/// The number behind `name:` in one of `/proc`'s files.
fn entry(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}
