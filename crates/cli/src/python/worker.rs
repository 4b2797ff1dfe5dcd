//! `worker` for a Python app (`celery/bin/worker.py`, `celery/apps/worker.py`).

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, anyhow};
use celeriac::cli::parts::{self, Console, Ended, Ending, Pidfile, Signals};
use celeriac_broker::{Line, Transport};
use celeriac_protocol::{Map, Value};
use celeriac_python::host::{HostError, Started, Zygote, find_python};
use celeriac_python::pool::{Home, Pool, PoolSettings};
use celeriac_python::report::Report;
use celeriac_python::signals::Signals as AppSignals;
use celeriac_results::DisabledStore;
use celeriac_worker::control::{Arguments, CommandError};
use celeriac_worker::{Consumer, Producer, Revokes, Settings, Shutdown, ShutdownHandle, Worker, WorkerError};
use futures_util::FutureExt;

use super::error::Stop;
use super::log::Relayed;
use super::parse::{Given, parse};
use super::ready::{Ready, kind, notes};
use super::user::become_user;
use super::{detach, failover, options};

/// How long the app's receivers of signals may take when the worker has ended.
const LAST: Duration = Duration::from_secs(10);
/// How long the last lines may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between the words of one child and those of the next, which nobody else keeps apart.
const APART: Duration = Duration::from_millis(20);

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
    if let Some(mask) = given.app.get("umask").and_then(Value::as_str) {
        parts::umask(mask).map_err(|error| Stop::Usage(format!("--umask: {error}")))?;
    }
    if given.flag("detach")
        && let Some(code) = detach::detach()?
    {
        return Ok(code);
    }
    start(&given, words)
}

fn start(given: &Given, words: &[String]) -> Result<ExitCode, Stop> {
    let started_in = env::current_dir().context("the current folder")?;
    let python = started_in.join(find_python(given.text("executable").map(Path::new))?);
    if let Some(folder) = given.text("workdir") {
        env::set_current_dir(folder).map_err(|error| parts::Error::file(Path::new(folder), error))?;
    }
    // Python does the work; here are sockets and bookkeeping.
    let ending = parts::on_one_thread(|| work(given, &python, words))??;
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
    become_user(&report.worker.identity)?;
    let _pidfile = ready.pidfile.as_deref().map(Pidfile::acquire).transpose()?;
    let again = (python.to_owned(), options);
    let home = Home::new(
        zygote,
        Box::new(move || {
            let (python, options) = again.clone();
            async move { Zygote::start(&python, &options, &[]).await }.boxed()
        }),
    );
    let relayed = ready.start_log(given, &report, &home)?;
    let asked = home.clone();
    let signals = Signals::listen()?.when_asked(move || drop(tokio::spawn(show_stacks(asked.clone()))));
    if given.flag("detach") {
        detach::started().context("cannot leave the terminal")?;
    }
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
    let (pool, settings) = (home.clone(), pool_settings(&report)?);
    let keeper = Arc::new(OnceLock::new());
    let known = keeper.clone();
    let worker = worker.revoked(report.worker.revoked.clone()).executor(move |parts| {
        let _ = known.set(parts.revokes.clone()); // it is called once
        Pool::start(pool, events, settings, parts)
    });
    let mut worker = controls(worker, &report, &home);
    let facts = &report.worker;
    let told = AppSignals::new(&report.signals, home.clone(), &facts.hostname, &facts.accept);
    if let Some(told) = &told {
        worker = worker.observer(told.clone());
    }
    let (shutdown, counters) = (worker.shutdown_handle(), worker.counters());
    let work = async {
        let ended = tokio::join!(worker.run(), quiet(&home, &shutdown)).0;
        line.close().await;
        if let Some(told) = &told {
            tell_end(told, &ended, &shutdown).await;
        }
        if let Some((shelf, revokes)) = ready.shelf.as_deref().zip(keeper.get()) {
            leave(&home, shelf, revokes).await;
        }
        settled(relayed.as_ref()).await;
        home.stop().await;
        ended
    };
    let tell = |ended: Ended| {
        if let Some(told) = &told {
            told.shutting_down(ended.signal, ended.how, ended.code);
        }
    };
    let ending = signals.supervise(work, &shutdown, &counters, tell).await;
    settled(relayed.as_ref()).await;
    Ok(ending)
}

/// Leaves the revokes to whoever runs the app next, if that should be Celery's worker.
async fn leave(home: &Home, shelf: &str, revokes: &Revokes) {
    if let Err(error) = home.keep_revoked(shelf, &revokes.all()).await {
        tracing::error!("the revokes are not left in {shelf}: {error}");
    }
}

/// Has the app begin nothing new once the worker is to end.
async fn quiet(home: &Home, shutdown: &ShutdownHandle) {
    shutdown.reached(Shutdown::Warm).await;
    home.quiet().await;
}

/// Celery shows the stacks of its main process (`celery/utils/debug.py`, `cry`); what an app does here, its children do.
async fn show_stacks(home: Arc<Home>) {
    for (name, child) in home.children() {
        eprintln!("\n==== {name} pid:{} ====", child.pid());
        let _ = child.show_stacks(); // it may have ended
        tokio::time::sleep(APART).await;
    }
}

/// What is logged is to be written before this process ends, unless the app's logging hangs.
async fn settled(relayed: Option<&Relayed>) {
    if let Some(relayed) = relayed {
        let _ = tokio::time::timeout(PATIENCE, relayed.settled()).await;
    }
}

/// Celery's worker does not say that a cold shutdown is over (`celery/worker/worker.py`). It hangs with a receiver that
/// does; ours ends.
async fn tell_end(told: &AppSignals, ended: &Result<(), WorkerError>, shutdown: &ShutdownHandle) {
    let tell = async {
        if ended.is_err() || shutdown.current() == Shutdown::Warm {
            told.shut_down().await;
        }
        told.settled().await;
    };
    if tokio::time::timeout(LAST, tell).await.is_err() {
        let seconds = LAST.as_secs();
        tracing::error!("Receivers of the app's signals do not end within {seconds} s: they are killed");
    }
}

fn pool_settings(report: &Report) -> Result<PoolSettings, Stop> {
    let alive = report.seconds("worker_proc_alive_timeout").map_err(anyhow::Error::from)?;
    Ok(PoolSettings {
        kind: kind(report).ok_or_else(|| Stop::Other(anyhow!("there is no pool {}", report.worker.pool)))?,
        proc_alive_timeout: alive.unwrap_or(Duration::from_secs(4)),
        max_tasks_per_child: report.worker.max_tasks_per_child,
        stocks: report.worker.prefetch_is_open && report.flag("worker_disable_prefetch") != Some(true),
        reads_json: report.worker.json_is_kombus,
        floats: report.floats.clone(),
        spares_running: report.is_celery_5_7(),
    })
}

/// What the app's process is to be: the start message (`python/celeriac/options.py`).
pub(super) fn message(given: &Given, words: &[String]) -> Value {
    let texts = |texts: &[String]| Value::List(texts.iter().map(|text| text.as_str().into()).collect());
    let mut argv = vec!["celery".to_owned()];
    argv.extend_from_slice(words);
    let fixed = [
        ("argv", texts(&argv)),
        ("settings", texts(&given.settings)),
        ("user", texts(&given.user)),
        ("detach", given.flag("detach").into()),
    ];
    let fixed = fixed.into_iter().map(|(name, value)| (name.to_owned(), value));
    let options = given.app.iter().map(|(name, value)| (name.to_owned(), value.clone()));
    options.chain(fixed).collect::<Map>().into()
}

/// Adds the app's own commands of remote control, which its service runs, and what only its Celery can tell.
fn controls(worker: Worker, report: &Report, home: &Arc<Home>) -> Worker {
    let about = home.clone();
    let mut worker = worker.control_command("report", move |_: Arc<Consumer>, _: Arguments| {
        let about = about.clone();
        async move { about.control("report", &Map::new()).await.map(with_version).map_err(failed) }
    });
    for (name, command) in &report.controls {
        for name in std::iter::once(name).chain(&command.alias) {
            let (home, method) = (home.clone(), name.clone());
            worker = worker.control_command(name, move |_: Arc<Consumer>, arguments: Arguments| {
                let (home, method) = (home.clone(), method.clone());
                async move { home.control(&method, &arguments.rest()).await.map_err(failed) }
            });
        }
    }
    worker
}

fn failed(error: HostError) -> CommandError {
    CommandError::Other { kind: "RuntimeError", text: error.to_string() }
}

/// Names this program in what Celery tells of itself.
fn with_version(mut report: Value) -> Value {
    if let Value::Map(reply) = &mut report
        && let Some(text) = reply.get("ok").and_then(Value::as_str)
    {
        let own = format!("software -> celeriac:{} ", env!("CARGO_PKG_VERSION"));
        reply.insert("ok", text.replacen("software -> ", &own, 1));
    }
    report
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
