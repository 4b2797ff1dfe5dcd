//! `worker` (`celery/bin/worker.py`, `celery/apps/worker.py`).

use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use celeriac_worker::{Counters, ShutdownHandle};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use super::args::{self, Global};
use super::banner::Banner;
use super::console::{Console, colours_allowed, plural};
use super::error::Error;
use super::level::{CRITICAL, Level};
use super::log::Log;
use super::pidfile::Pidfile;
use super::signals::{Ending, Signal};
use super::{node, overrides, runtime, unsupported};
use crate::{App, Config, Settings, control};

/// Runs a worker until a signal ends it.
pub(super) fn run(
    app: &App,
    mut config: Config,
    options: args::Worker,
    global: &Global,
) -> Result<ExitCode, Error> {
    unsupported::refuse(&options)?;
    overrides::worker(&mut config, &options)?;
    let app = app.with_config(config)?;
    let settings = overrides::node(app.settings().clone(), &options)?;

    if let Some(mask) = options.daemon.umask {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
    }
    let file = |name: &Option<String>| {
        name.as_deref()
            .map(|name| node::file_name(name, &settings.hostname))
            .transpose()
            .map_err(Error::Usage)
    };
    let pidfile =
        file(&options.daemon.pidfile)?.map(|path| Pidfile::acquire(Path::new(&path))).transpose()?;
    start_log(options.node.loglevel, file(&options.daemon.logfile)?, global.no_color)?;

    let console = Console::new(global.no_color, global.quiet);
    let runtime = runtime::worker(settings.concurrency)?;
    let ending = runtime.block_on(serve(&app, settings, &options, console));
    // A blocking task that runs on cannot be waited for.
    runtime.shutdown_background();
    let ending = ending?;
    if ending.restart {
        say("Restarting worker");
        drop(pidfile);
        return Err(restart());
    }
    Ok(ExitCode::from(ending.code))
}

/// Everything from the first signal handler to the last.
async fn serve(
    app: &App,
    settings: Settings,
    options: &args::Worker,
    console: Console,
) -> Result<Ending, Error> {
    let signals = Signals::listen()?;
    if options.queue.purge {
        let connection = app.transport().connect().await?;
        let erased = control::purge(&*connection, settings.consumed()).await;
        connection.close().await;
        match erased? {
            0 => {}
            erased => console
                .say(&format!("purge: Erased {erased} {} from the queue.\n", plural(erased, "message"))),
        }
    }
    if !console.quiet {
        show_banner(app, &settings, options.node.loglevel, console);
    }
    for note in unsupported::notes(options) {
        tracing::warn!("{note}");
    }
    let worker = app.worker_with(settings);
    let (shutdown, counters) = (worker.shutdown_handle(), worker.counters());
    let mut ending = Ending::default();
    let work = async {
        let ended = worker.run().await;
        app.close().await;
        ended
    };
    tokio::select! {
        ended = work => if let Err(error) = ended {
            tracing::error!(target: CRITICAL, "Unrecoverable error: {error}");
            ending.fail();
        },
        () = signals.obey(&mut ending, &shutdown, &counters) => {}
    }
    Ok(ending)
}

/// The signals that mean something to a worker.
struct Signals {
    terminate: Stream,
    interrupt: Stream,
    quit: Stream,
    /// Not on a terminal: closing the window must end the worker, not move it to the background.
    hangup: Option<Stream>,
    report: Stream,
}

impl Signals {
    fn listen() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(|error| Error::system("cannot listen to signals", error));
        let hangup = (!std::io::stdout().is_terminal()).then(|| listen(SignalKind::hangup())).transpose()?;
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            quit: listen(SignalKind::quit())?,
            hangup,
            report: listen(SignalKind::user_defined1())?,
        })
    }

    /// Passes signals on to the worker; returns when one says to leave everything and go.
    async fn obey(mut self, ending: &mut Ending, shutdown: &ShutdownHandle, counters: &Counters) {
        loop {
            let signal = tokio::select! {
                Some(()) = self.terminate.recv() => Signal::Terminate,
                Some(()) = self.interrupt.recv() => Signal::Interrupt,
                Some(()) = self.quit.recv() => Signal::Quit,
                Some(()) = next(&mut self.hangup) => Signal::Hangup,
                Some(()) = self.report.recv() => {
                    report(counters);
                    continue;
                }
                else => std::future::pending().await,
            };
            let answer = ending.signal(signal);
            for line in answer.say {
                say(line);
            }
            match answer.shutdown {
                Some(how) => shutdown.request(how),
                None => return,
            }
        }
    }
}

async fn next(stream: &mut Option<Stream>) -> Option<()> {
    match stream {
        Some(stream) => stream.recv().await,
        None => None,
    }
}

/// As Celery does: a line of its own, whatever stands on the terminal already (`^C`).
fn say(line: &str) {
    let _ = std::io::stdout().lock().write_all(format!("\n{line}\n").as_bytes());
}

fn report(counters: &Counters) {
    let shown: Vec<_> = counters.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let line = format!("\nSince the start: {}\n", shown.join(", "));
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

fn start_log(level: Level, path: Option<String>, no_color: bool) -> Result<(), Error> {
    let open = |path: String| {
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.map_err(|error| Error::file(Path::new(&path), error))
    };
    let file = path.map(open).transpose()?;
    let colours = file.is_none() && colours_allowed(no_color) && std::io::stderr().is_terminal();
    // A program that has set a subscriber of its own keeps it.
    let _ = tracing::subscriber::set_global_default(Log::new(level, colours, file));
    Ok(())
}

fn show_banner(app: &App, settings: &Settings, level: Level, console: Console) {
    let banner = Banner {
        hostname: &settings.hostname,
        app: app.name(),
        transport: app.transport().display_url(),
        results: app.result_store().display_url(),
        concurrency: settings.concurrency,
        task_events: settings.task_events,
        queues: settings.consumed().iter().map(|name| settings.queues.queue(Some(name)).queue).collect(),
        tasks: if level <= Level::Info { app.registry().names() } else { Vec::new() },
    };
    console.say(&if console.colours { banner.coloured() } else { banner.text() });
}

/// Replaces this process by a new one with the same command line; returns only when that fails.
fn restart() -> Error {
    let program =
        std::env::current_exe().unwrap_or_else(|_| std::env::args_os().next().unwrap_or_default().into());
    let error = Command::new(program).args(std::env::args_os().skip(1)).exec();
    Error::system("cannot start the worker anew", error)
}
