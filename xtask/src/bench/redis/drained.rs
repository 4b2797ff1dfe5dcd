//! A list that was filled beforehand.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use celeriac_testkit::{Process, Redis};

use super::probe::Probe;
use crate::bench::cpu;
use crate::bench::fill::QUEUE;
use crate::bench::hosted::contender::Contender;
use crate::bench::programs::Program;

const POLL: Duration = Duration::from_millis(20);
const DEADLINE: Duration = Duration::from_secs(180);

/// Makes a message as Celery 5.6 sends it, and so many of it, each with an id of its own: `tasks.noop` of 0, its result
/// ignored. Redis makes them itself, since the load is not the worker's.
const FILL: &str = r#"
for number = 1, tonumber(ARGV[1]) do
    local id = string.format('a807b12a-a70d-4bb3-9777-%012d', number)
    redis.call('LPUSH', KEYS[1], '{"body": "W1swXSwge30sIHsiY2FsbGJhY2tzIjogbnVsbCwgImVycmJhY2tzIjogbnVsbCwgImNoYWluIjogbnVsbCwgImNob3JkIjogbnVsbH1d", ' ..
        '"content-encoding": "utf-8", "content-type": "application/json", "headers": {"lang": "py", "task": "tasks.noop", "id": "' .. id ..
        '", "shadow": null, "eta": null, "expires": null, "group": null, "group_index": null, "retries": 0, "timelimit": [null, null], "root_id": "' .. id ..
        '", "parent_id": null, "argsrepr": "(0,)", "kwargsrepr": "{}", "origin": "gen19433@example", "ignore_result": true, ' ..
        '"replaced_task_nesting": 0, "stamped_headers": null, "stamps": {}}, "properties": {"correlation_id": "' .. id ..
        '", "reply_to": "b13cdb3b-37e1-3405-bf02-b312c707af08", "delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "celery"}, ' ..
        '"priority": 0, "body_encoding": "base64", "delivery_tag": "' .. id .. '"}}')
end
return redis.call('LLEN', KEYS[1])
"#;

/// Who drains it.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// Python Celery, two children.
    Celery,
    /// The same app by celeriac.
    Hosted,
    /// Python Celery, two children, 1,000 messages ahead.
    CeleryAhead,
    /// Tasks in Rust, 1,000 messages ahead.
    Native,
}

impl Side {
    /// What it is called in what is printed.
    pub fn name(self) -> &'static str {
        match self {
            Side::Celery | Side::CeleryAhead => "celery",
            Side::Hosted | Side::Native => "celeriac",
        }
    }

    fn command(self, url: &str) -> Command {
        let options = ["-c", "2", "-l", "warning"];
        match self {
            Side::Celery => Contender::Celery.worker(url, &options),
            Side::Hosted => Contender::Celeriac.worker(url, &options),
            Side::CeleryAhead => Program::Celery.worker(url, "warning"),
            Side::Native => Program::Celeriac.worker(url, "warning"),
        }
    }
}

/// What one round gave, from the moment a tenth of the messages was gone until none was left or leased.
pub struct Round {
    pub tasks_per_second: f64,
    /// Microseconds of the worker's processes.
    pub cpu_per_task: f64,
    /// Microseconds of the server.
    pub redis_per_task: f64,
}

/// Fills the list on a server of its own and has it drained.
pub fn drain(side: Side, count: u32) -> Result<Round> {
    let server = Redis::start();
    let filled = server.cli(&["EVAL", FILL, "1", QUEUE, &count.to_string()]);
    ensure!(filled.trim() == count.to_string(), "the list is not filled: {filled}");
    let mut probe = Probe::open(server.port())?;
    let process = Process::start(&side.command(&server.url(0)));
    let used = || (cpu::seconds(process.id()), cpu::own(server.id()));
    let started = Instant::now();
    let mut mark = None;
    loop {
        let left = probe.number(&format!("LLEN {QUEUE}"))? + probe.number("HLEN unacked")?;
        let now = Instant::now();
        if mark.is_none() && left <= count / 10 * 9 {
            mark = Some((now, left, used()));
        }
        if let (0, Some((then, left_then, (worker, redis)))) = (left, mark) {
            let (drained, (worker_now, redis_now)) = (f64::from(left_then), used());
            return Ok(Round {
                tasks_per_second: drained / now.duration_since(then).as_secs_f64(),
                cpu_per_task: (worker_now - worker) / drained * 1e6,
                redis_per_task: (redis_now - redis) / drained * 1e6,
            });
        }
        ensure!(process.exit_status().is_none(), "{} ended:\n{}", side.name(), process.log());
        ensure!(started.elapsed() < DEADLINE, "{} left {left} messages:\n{}", side.name(), process.log());
        thread::sleep(POLL);
    }
}
