//! What is around a worker in its process, whoever runs the tasks: the log, signals, the start anew.

use std::io::{IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use celeriac_worker::{Counters, ShutdownHandle, WorkerError};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use super::console::colours_allowed;
use super::error::Error;
use super::format::Format;
use super::level::{CRITICAL, Level};
use super::log::Log;
use super::logfile::LogFile;
use super::signals::{Ended, Ending, Signal};

/// The signals that mean something to a worker.
pub struct Signals {
    terminate: Stream,
    interrupt: Stream,
    quit: Stream,
    /// Not on a terminal: closing the window must end the worker, not move it to the background.
    hangup: Option<Stream>,
    report: Stream,
    asked: Box<dyn Fn()>,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(|error| Error::system("cannot listen to signals", error));
        let hangup = (!std::io::stdout().is_terminal()).then(|| listen(SignalKind::hangup())).transpose()?;
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            quit: listen(SignalKind::quit())?,
            hangup,
            report: listen(SignalKind::user_defined1())?,
            asked: Box::new(|| ()),
        })
    }

    /// Has this called, too, when somebody asks what the worker does.
    #[must_use]
    pub fn when_asked(mut self, asked: impl Fn() + 'static) -> Self {
        self.asked = Box::new(asked);
        self
    }

    /// Has a worker run to its end, which signals may bring about; `told` hears of these before the worker does.
    pub async fn supervise(
        self,
        work: impl Future<Output = Result<(), WorkerError>>,
        shutdown: &ShutdownHandle,
        counters: &Counters,
        told: impl Fn(Ended),
    ) -> Ending {
        let mut ending = Ending::default();
        tokio::select! {
            ended = work => if let Err(error) = ended {
                tracing::error!(target: CRITICAL, "Unrecoverable error: {error}");
                ending.fail();
            },
            () = self.obey(&mut ending, shutdown, counters, told) => {}
        }
        ending
    }

    /// Passes signals on to the worker; returns when one says to leave everything and go.
    async fn obey(
        mut self,
        ending: &mut Ending,
        shutdown: &ShutdownHandle,
        counters: &Counters,
        told: impl Fn(Ended),
    ) {
        loop {
            let signal = tokio::select! {
                Some(()) = self.terminate.recv() => Signal::Terminate,
                Some(()) = self.interrupt.recv() => Signal::Interrupt,
                Some(()) = self.quit.recv() => Signal::Quit,
                Some(()) = next(&mut self.hangup) => Signal::Hangup,
                Some(()) = self.report.recv() => {
                    report(counters);
                    (self.asked)();
                    continue;
                }
                else => std::future::pending().await,
            };
            let answer = ending.signal(signal);
            for line in answer.say {
                say(line);
            }
            if let Some(ended) = answer.tell(signal) {
                told(ended);
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
pub fn say(line: &str) {
    let _ = std::io::stdout().lock().write_all(format!("\n{line}\n").as_bytes());
}

fn report(counters: &Counters) {
    let shown: Vec<_> = counters.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let line = format!("\nSince the start: {}\n", shown.join(", "));
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// Has events written to the file, else to standard error. `colours` says whether there are any; by default on a
/// terminal.
///
/// # Errors
/// When the file cannot be opened.
pub fn start_log(
    level: Level,
    format: Format,
    path: Option<String>,
    colours: Option<bool>,
) -> Result<(), Error> {
    // A program that has set a subscriber of its own keeps it.
    let _ = tracing::subscriber::set_global_default(open_log(level, format, path, colours)?.lines());
    Ok(())
}

/// The same log, not yet that of the process.
///
/// # Errors
/// When the file cannot be opened.
pub fn open_log(
    level: Level,
    format: Format,
    path: Option<String>,
    colours: Option<bool>,
) -> Result<Log, Error> {
    let open = |path: String| {
        let path = Path::new(&path);
        LogFile::open(path).map_err(|error| Error::file(path, error))
    };
    let file = path.map(open).transpose()?;
    let shown = || file.is_none() && colours_allowed(false) && std::io::stderr().is_terminal();
    let colours = colours.unwrap_or_else(shown);
    Ok(Log::new(level, format, colours, file))
}

/// Replaces this process by a new one with the same command line; returns only when that fails.
pub fn restart() -> Error {
    let program =
        std::env::current_exe().unwrap_or_else(|_| std::env::args_os().next().unwrap_or_default().into());
    let error = Command::new(program).args(std::env::args_os().skip(1)).exec();
    Error::system("cannot start the worker anew", error)
}
