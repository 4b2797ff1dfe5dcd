//! The zygote: the process that has imported the app, and forks those that run it.

mod driver;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::process::Command;

use celeriac_protocol::Value;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use super::child::Child;
use super::link::link;
use super::marshal::Writer;
use super::message::{parts, unexpected};
use super::package::{BOOTSTRAP, package};
use super::process::Process;
use super::{HostError, Service, StartError};

use driver::Driver;

/// A zygote that has started the app. When it is dropped it is killed, and all that it has forked with it.
#[derive(Debug)]
pub struct Zygote {
    pid: u32,
    commands: mpsc::Sender<Ask>,
}

/// A zygote, and what comes from it.
#[derive(Debug)]
pub struct Started {
    /// To ask it for children.
    pub zygote: Zygote,
    /// What happens to it and to them.
    pub events: Events,
    /// What it found: `python/celeriac/report.py`.
    pub report: Value,
}

/// Who has ended, in order.
#[derive(Debug)]
pub struct Events(mpsc::UnboundedReceiver<Event>);

impl Events {
    /// The next event; `None` after [`Event::Gone`].
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }
}

/// Somebody has ended. Exit codes are Python's `os.waitstatus_to_exitcode`: a signal is negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A child, once for each that was forked, unless the zygote goes before.
    Exited {
        /// Its process id.
        pid: i32,
        /// Its exit code.
        status: i32,
    },
    /// The zygote, and by now everything that it had forked: the last event.
    Gone {
        /// The zygote's exit code.
        status: i32,
    },
}

type Reply<T> = oneshot::Sender<Result<T, HostError>>;

enum Ask {
    Fork(u32, Reply<Child>),
    Serve(Reply<Service>),
    Quiet,
    Stop,
}

impl Zygote {
    /// Runs `python` with our package and has it start the app as `options` say (`python/celeriac/options.py`), with
    /// `variables` besides our own environment. What Python prints goes where our own output goes.
    ///
    /// It takes as long as the app's import takes. Dropping the future kills the interpreter.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub async fn start(
        python: &Path,
        options: &Value,
        variables: &[(&str, &str)],
    ) -> Result<Started, StartError> {
        let (process, ours) = interpreter(python, variables)
            .await
            .map_err(|error| StartError::Spawn(python.to_owned(), error))?;
        let (sender, mut receiver) = link(ours);
        let mut start = Writer::new();
        start.tuple(2).str("start").value(options);
        // An interpreter that has failed says so below.
        let _ = sender.send(&start.finish().map_err(HostError::from)?, &[]).await;
        let answer = tokio::select! {
            answer = receiver.receive() => match answer {
                Err(HostError::Gone) => None,
                other => Some(other?),
            },
            () = process.ended() => receiver.try_receive()?,
        };
        let Some(answer) = answer else {
            process.ended().await;
            return Err(StartError::Ended { code: process.reap(), text: String::new() });
        };
        let report = match parts(&answer) {
            Some(("ready", [report])) => report.clone(),
            Some(("failed", [code, text])) => {
                process.ended().await; // it prints its last
                let code = code.as_i64().and_then(|code| i32::try_from(code).ok()).unwrap_or(1);
                return Err(StartError::Ended { code, text: text.as_str().unwrap_or_default().to_owned() });
            }
            _ => return Err(unexpected(&answer).into()),
        };
        let pid = process.id();
        let (commands, asked) = mpsc::channel(16);
        let (told, events) = mpsc::unbounded_channel();
        tokio::spawn(Driver::new(process, sender, receiver, told).run(asked));
        Ok(Started { zygote: Zygote { pid, commands }, events: Events(events), report })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Forks a child; `index` is its slot, from 0. It can take jobs when it has said [`Message::Up`](super::Message::Up).
    ///
    /// # Errors
    /// [`HostError::Gone`], or [`HostError::Io`] when there are no descriptors left.
    pub async fn fork(&self, index: u32) -> Result<Child, HostError> {
        self.ask(|reply| Ask::Fork(index, reply)).await
    }

    /// Forks a service.
    ///
    /// # Errors
    /// As [`fork`](Zygote::fork).
    pub async fn service(&self) -> Result<Service, HostError> {
        self.ask(Ask::Serve).await
    }

    /// Has the zygote end the embedded beat: nothing new is to be begun.
    pub async fn quiet(&self) {
        // If that fails it has gone already.
        let _ = self.commands.send(Ask::Quiet).await;
    }

    /// Has the zygote kill what it has forked, run the app's exit handlers and end; returns when all have gone.
    /// Handlers may hang: whoever cannot wait drops the zygote.
    pub async fn stop(&self) {
        // If that fails it has gone already.
        let _ = self.commands.send(Ask::Stop).await;
        self.commands.closed().await;
    }

    async fn ask<T>(&self, ask: impl FnOnce(Reply<T>) -> Ask) -> Result<T, HostError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(ask(reply)).await.map_err(|_| HostError::Gone)?;
        answer.await.map_err(|_| HostError::Gone)?
    }
}

/// Python with our package, and our end of its socket.
async fn interpreter(python: &Path, variables: &[(&str, &str)]) -> io::Result<(Process, UnixStream)> {
    let (ours, theirs) = StdStream::pair()?;
    ours.set_nonblocking(true)?;
    let fds = vec![package()?, OwnedFd::from(theirs)];
    let mut command = Command::new(python);
    command.args(["-c", BOOTSTRAP]).args(fds.iter().map(|fd| fd.as_raw_fd().to_string()));
    command.envs(variables.iter().copied());
    let process = Process::spawn(command, fds).await?;
    Ok((process, UnixStream::from_std(ours)?))
}
