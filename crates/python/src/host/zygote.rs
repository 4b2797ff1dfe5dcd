//! The zygote: the process that has imported the app, and forks those that run it.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::process::Command;

use celeriac_protocol::Value;
use rustix::process::{Signal, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use super::child::{Child, Nascent};
use super::link::{Receiver, Sender, link};
use super::marshal::Writer;
use super::message::{parts, unexpected};
use super::package::{BOOTSTRAP, package};
use super::process::{Process, ended, watched};
use super::{HostError, Service, StartError};

/// A zygote that has started the app. When it is dropped it is killed, and all that it has forked with it.
#[derive(Debug)]
pub struct Zygote {
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
        let (commands, asked) = mpsc::channel(16);
        let (told, events) = mpsc::unbounded_channel();
        let driver =
            Driver { process, sender, receiver, told, forking: VecDeque::new(), alive: HashMap::new() };
        tokio::spawn(driver.run(asked));
        Ok(Started { zygote: Zygote { commands }, events: Events(events), report })
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

/// Talks with the zygote as long as it lives and somebody wants it.
struct Driver {
    process: Process,
    sender: Sender,
    receiver: Receiver,
    told: mpsc::UnboundedSender<Event>,
    /// Who waits for a child, in the order of asking.
    forking: VecDeque<(u32, Nascent, Reply<Child>)>,
    /// The children that have not been reported to have ended.
    alive: HashMap<i32, AsyncFd<OwnedFd>>,
}

impl Driver {
    async fn run(mut self, mut asked: mpsc::Receiver<Ask>) {
        if let Err(error) = self.serve(&mut asked).await {
            tracing::error!("the zygote is killed: {error}");
        }
        let status = self.process.reap();
        for pidfd in self.alive.values() {
            // The kernel does so, too, but not to a child that has changed its user.
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
            ended(pidfd).await;
        }
        let _ = self.told.send(Event::Gone { status });
    }

    async fn serve(&mut self, asked: &mut mpsc::Receiver<Ask>) -> Result<(), HostError> {
        loop {
            tokio::select! {
                biased;
                message = self.receiver.receive() => match message {
                    Err(HostError::Gone) => {
                        self.let_end(asked).await;
                        return Ok(());
                    }
                    message => self.hear(&message?)?,
                },
                () = self.process.ended() => {
                    while let Some(message) = self.receiver.try_receive()? {
                        self.hear(&message)?;
                    }
                    return Ok(());
                }
                ask = asked.recv() => match ask {
                    Some(ask) => self.pass_on(ask).await,
                    None => return Ok(()),
                },
            }
        }
    }

    /// Waits while exit handlers run, as long as somebody wants the zygote.
    async fn let_end(&self, asked: &mut mpsc::Receiver<Ask>) {
        tokio::select! {
            () = self.process.ended() => {}
            () = async { while asked.recv().await.is_some() {} } => {}
        }
    }

    fn hear(&mut self, message: &Value) -> Result<(), HostError> {
        match parts(message) {
            Some(("forked", [_, pid])) => self.forked(number(pid).ok_or_else(|| unexpected(message))?),
            Some(("exited", [pid, status])) => {
                let (pid, status) = number(pid).zip(number(status)).ok_or_else(|| unexpected(message))?;
                // Any other is a service, whose stream ends.
                if self.alive.remove(&pid).is_some() {
                    let _ = self.told.send(Event::Exited { pid, status });
                }
            }
            _ => return Err(unexpected(message)),
        }
        Ok(())
    }

    fn forked(&mut self, pid: i32) {
        let Some((index, nascent, reply)) = self.forking.pop_front() else { return };
        let born = watched(pid).and_then(|pidfd| {
            let own = pidfd.get_ref().try_clone()?;
            self.alive.insert(pid, pidfd);
            nascent.born(index, pid, own)
        });
        let _ = reply.send(born.map_err(HostError::from));
    }

    async fn pass_on(&mut self, ask: Ask) {
        match ask {
            Ask::Fork(index, reply) => match self.fork(index).await {
                Ok(nascent) => self.forking.push_back((index, nascent, reply)),
                Err(error) => drop(reply.send(Err(error))),
            },
            Ask::Serve(reply) => drop(reply.send(self.serve_apart().await)),
            Ask::Stop => drop(self.say(Writer::new().tuple(1).str("stop"), &[]).await),
        }
    }

    async fn fork(&self, index: u32) -> Result<Nascent, HostError> {
        let nascent = Nascent::new()?;
        let mut writer = Writer::new();
        writer.tuple(2).str("fork").uint(index.into());
        self.say(&mut writer, &nascent.handed()).await?;
        Ok(nascent)
    }

    async fn serve_apart(&self) -> Result<Service, HostError> {
        let (ours, theirs) = StdStream::pair()?;
        ours.set_nonblocking(true)?;
        self.say(Writer::new().tuple(1).str("service"), &[theirs.as_fd()]).await?;
        Ok(Service::new(UnixStream::from_std(ours)?))
    }

    async fn say(&self, message: &mut Writer, fds: &[BorrowedFd<'_>]) -> Result<(), HostError> {
        let message = std::mem::take(message).finish()?;
        tokio::select! {
            sent = self.sender.send(&message, fds) => Ok(sent?),
            () = self.process.ended() => Err(HostError::Gone),
        }
    }
}

fn number(value: &Value) -> Option<i32> {
    value.as_i64().and_then(|number| i32::try_from(number).ok())
}
