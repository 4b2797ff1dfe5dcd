//! `worker` for a Python app (`celery/bin/worker.py`, `celery/apps/worker.py`).

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use celeriac::cli::parts::{self, Console, Ending, Pidfile, Signals};
use celeriac_broker::{Line, Transport};
use celeriac_protocol::{Map, Value};
use celeriac_python::host::{Started, Zygote, find_python};
use celeriac_python::pool::{Home, Pool, PoolSettings};
use celeriac_python::report::Report;
use celeriac_results::DisabledStore;
use celeriac_worker::control::{Arguments, CommandError};
use celeriac_worker::{Consumer, Producer, Settings, Worker};
use futures_util::FutureExt;

use super::error::Stop;
use super::parse::{Given, parse};
use super::ready::{Ready, kind, notes};
use super::{detach, failover, options};

/// Runs a worker until a signal ends it. The command stands at `at`.
pub fn run(words: &[String], at: usize) -> Result<ExitCode, Stop> {
    let others: Vec<_> = [&words[..at], &words[at + 1..]].concat();
    let given = parse(&others).map_err(Stop::Usage)?;
    if given.flag("help") {
        print!("{}", options::help());
        return Ok(ExitCode::SUCCESS);
    }
    if given.flag("version") {
        println!("celeriac {}", env!("CARGO_PKG_VERSION"));
        return Ok(ExitCode::SUCCESS);
    }
    refuse(&given)?;
    if let Some(mask) = given.text("umask") {
        let mask = parts::umask(mask).map_err(|error| Stop::Usage(format!("--umask: {error}")))?;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
    }
    if given.flag("detach") && detach::detach()? {
        return Ok(ExitCode::SUCCESS);
    }
    start(&given, words)
}

/// What would mislead if it was left out.
fn refuse(given: &Given) -> Result<(), Stop> {
    let refused = [
        ("beat", "-B: celeriac has no beat of its own yet; run `celeriac -A APP beat` beside it"),
        ("uid", "--uid: start the worker as that user"),
        ("gid", "--gid: start the worker in that group"),
    ];
    match refused.into_iter().find(|(key, _)| given.own.get(key).is_some()) {
        Some((_, why)) => Err(Stop::Usage(why.to_owned())),
        None => Ok(()),
    }
}

fn start(given: &Given, words: &[String]) -> Result<ExitCode, Stop> {
    let started_in = env::current_dir().context("the current folder")?;
    let python = started_in.join(find_python(given.text("executable").map(Path::new))?);
    if let Some(folder) = given.text("workdir") {
        env::set_current_dir(folder).map_err(|error| parts::Error::file(Path::new(folder), error))?;
    }
    // Python does the work; here are sockets and bookkeeping.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.context("cannot start the async runtime")?;
    let ended = runtime.block_on(work(given, &python, words));
    runtime.shutdown_background();
    let ending = ended?;
    if ending.restart {
        parts::say("Restarting worker");
        // So that names in the command line mean what they meant.
        env::set_current_dir(&started_in).context("the first folder")?;
        return Err(parts::restart().into());
    }
    Ok(ExitCode::from(ending.code))
}

/// Everything from the app's start to the worker's end.
async fn work(given: &Given, python: &Path, words: &[String]) -> Result<Ending, Stop> {
    let options = message(given, words);
    let Started { zygote, events, report } = Zygote::start(python, &options, &[]).await?;
    let report = Report::read(&report).map_err(anyhow::Error::from)?;
    let ready = Ready::new(given, &report)?;
    let _pidfile = ready.pidfile.as_deref().map(Pidfile::acquire).transpose()?;
    ready.start_log(given, &report)?;
    let signals = Signals::listen()?;
    if !report.banner.is_empty() {
        Console::new(true, false).say(&report.banner);
    }
    for note in notes(&report) {
        tracing::warn!("{note}");
    }
    let transport = failover::transport(&report.read).map_err(anyhow::Error::from)?;
    if given.flag("purge") {
        purge(&*transport, &ready.settings).await?;
    }
    let line = Arc::new(Line::new(failover::transport(&report.write).map_err(anyhow::Error::from)?));
    let producer = Producer::new(line.clone(), report.producer_settings().map_err(anyhow::Error::from)?);
    // Python stores results.
    let worker = Worker::new(
        transport,
        Arc::new(DisabledStore),
        Arc::new(producer),
        report.registry(),
        ready.settings,
    );
    let python = python.to_owned();
    let home = Home::new(
        zygote,
        Box::new(move || {
            let (python, options) = (python.clone(), options.clone());
            async move { Zygote::start(&python, &options, &[]).await }.boxed()
        }),
    );
    let (pool, settings) = (home.clone(), pool_settings(&report)?);
    let worker = worker.executor(move |parts| Pool::start(pool, events, settings, parts));
    let worker = controls(worker, &report, &home);
    let (shutdown, counters) = (worker.shutdown_handle(), worker.counters());
    let work = async {
        let ended = worker.run().await;
        line.close().await;
        home.stop().await;
        ended
    };
    Ok(signals.supervise(work, &shutdown, &counters).await)
}

fn pool_settings(report: &Report) -> Result<PoolSettings, Stop> {
    let alive = report.seconds("worker_proc_alive_timeout").map_err(anyhow::Error::from)?;
    Ok(PoolSettings {
        kind: kind(report).ok_or_else(|| Stop::Other(anyhow!("there is no pool {}", report.worker.pool)))?,
        proc_alive_timeout: alive.unwrap_or(Duration::from_secs(4)),
        max_tasks_per_child: report.worker.max_tasks_per_child,
    })
}

/// What the app's process is to be: the start message (`python/celeriac/options.py`).
fn message(given: &Given, words: &[String]) -> Value {
    let texts = |texts: &[String]| Value::List(texts.iter().map(|text| text.as_str().into()).collect());
    let mut argv = vec!["celery".to_owned()];
    argv.extend_from_slice(words);
    let fixed = [("argv", texts(&argv)), ("settings", texts(&given.settings)), ("user", texts(&given.user))];
    let fixed = fixed.into_iter().map(|(name, value)| (name.to_owned(), value));
    let options = given.app.iter().map(|(name, value)| (name.to_owned(), value.clone()));
    options.chain(fixed).collect::<Map>().into()
}

/// Adds the app's own commands of remote control, which its service runs.
fn controls(mut worker: Worker, report: &Report, home: &Arc<Home>) -> Worker {
    for (name, command) in &report.controls {
        for name in std::iter::once(name).chain(&command.alias) {
            let (home, method) = (home.clone(), name.clone());
            worker = worker.control_command(name, move |_: Arc<Consumer>, arguments: Arguments| {
                let (home, method) = (home.clone(), method.clone());
                async move {
                    let answer = home.control(&method, &arguments.rest()).await;
                    answer.map_err(|error| CommandError::Other {
                        kind: "RuntimeError",
                        text: error.to_string(),
                    })
                }
            });
        }
    }
    worker
}

/// Erases what waits, before the start.
async fn purge(transport: &dyn Transport, settings: &Settings) -> Result<(), Stop> {
    let connection = transport.connect().await.map_err(parts::Error::from)?;
    let erased = parts::purge(&*connection, settings.consumed()).await;
    connection.close().await;
    let erased = erased.map_err(parts::Error::from)?;
    if erased > 0 {
        let messages = parts::plural(erased, "message");
        Console::new(true, false).say(&format!("purge: Erased {erased} {messages} from the queue.\n"));
    }
    Ok(())
}
