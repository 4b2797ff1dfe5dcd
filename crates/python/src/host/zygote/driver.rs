//! What talks with the zygote, and notices its end.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;

use celeriac_protocol::Value;
use rustix::process::{Signal, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::{Ask, Event, Reply};
use crate::host::child::{Child, Nascent};
use crate::host::link::{Receiver, Sender};
use crate::host::marshal::Writer;
use crate::host::message::{parts, unexpected};
use crate::host::process::{Process, ended, watched};
use crate::host::{HostError, Service};

/// Talks with the zygote as long as it lives and somebody wants it.
pub struct Driver {
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
    pub fn new(
        process: Process,
        sender: Sender,
        receiver: Receiver,
        told: mpsc::UnboundedSender<Event>,
    ) -> Self {
        Driver { process, sender, receiver, told, forking: VecDeque::new(), alive: HashMap::new() }
    }

    pub async fn run(mut self, mut asked: mpsc::Receiver<Ask>) {
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
            Ok(nascent.born(index, pid, own))
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
            Ask::Quiet => drop(self.say(Writer::new().tuple(1).str("quiet"), &[]).await),
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
