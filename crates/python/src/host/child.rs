//! A child: a process that runs tasks.

mod packets;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use celeriac_protocol::Value;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};

use super::marshal::{Writer, loads};
use super::message::{parts, unsigned};
use super::page::{Page, Running};
use super::{HostError, Job, Message};

use packets::{PACKET, Packets, RIGHTS};

/// What is around the jobs of a packet: two tuples and the kind.
const AROUND: usize = 18;
/// By which a child shows the stacks of its threads (`python/celeriac/process.py`).
const STACKS: Signal = Signal::TRAP;

/// How a coroutine is cancelled.
#[derive(Debug, Clone, Copy)]
pub enum Cancel<'a> {
    /// It gets `SoftTimeLimitExceeded`.
    Soft,
    /// It ends with `TimeLimitExceeded` of this limit, whatever it does.
    Hard(&'a Value),
    /// It is revoked; the answer is [`State::Ignore`](super::State::Ignore).
    Revoke,
}

/// A forked process that runs tasks, in its slot of the pool. When this is dropped it ends, after what it runs.
///
/// We keep both ends of its socket, so what it has not taken can be [taken back](Child::take_back), also when it is
/// dead: that it has ended is told by [`Events`](super::Events), never by the socket.
#[derive(Debug)]
pub struct Child {
    index: u32,
    pid: i32,
    pidfd: OwnedFd,
    packets: Packets,
    page: Page,
}

/// A child that the zygote has still to fork.
pub struct Nascent {
    packets: Packets,
    page: Page,
}

impl Nascent {
    pub fn new() -> io::Result<Self> {
        Ok(Nascent { packets: Packets::new()?, page: Page::new()? })
    }

    /// What the zygote needs of it.
    pub fn handed(&self) -> [BorrowedFd<'_>; 2] {
        [self.packets.theirs(), self.page.as_fd()]
    }

    pub fn born(self, index: u32, pid: i32, pidfd: OwnedFd) -> Child {
        Child { index, pid, pidfd, packets: self.packets, page: self.page }
    }
}

impl Child {
    /// Its slot, from 0.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends jobs, as many in a packet as fit, without waiting; says how many have been sent, from the first on.
    ///
    /// When these are fewer than there are, the socket is full (nobody tells when it is not any more: what the child
    /// answers shows it), or the next job is one that the next call fails at.
    ///
    /// # Errors
    /// [`HostError::TooLarge`] of the first job, which can never be sent; [`HostError::Io`]. No job has been sent then.
    pub fn send(&self, jobs: &[Job<'_>]) -> Result<usize, HostError> {
        let mut sent = 0;
        while let Some(rest) = jobs.get(sent..).filter(|rest| !rest.is_empty()) {
            match self.send_packet(rest) {
                Ok(0) => break,
                Ok(count) => sent += count,
                Err(error) if sent == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(sent)
    }

    /// The next message. It does not come to an end when the child does. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`HostError::Marshal`], [`HostError::Unexpected`]: that message is lost. [`HostError::Io`].
    pub async fn recv(&self) -> Result<Message, HostError> {
        self.packets.recv(Message::read).await?
    }

    /// A message that is there already; what a child that has ended had still said.
    ///
    /// # Errors
    /// As [`recv`](Child::recv).
    pub fn try_recv(&self) -> Result<Option<Message>, HostError> {
        self.packets.try_recv(Message::read)?.transpose()
    }

    /// Takes the jobs back that the child has not taken: their tokens, in order. Whatever it has taken it runs, or has
    /// run, unless it is dead.
    ///
    /// # Errors
    /// [`HostError::Io`].
    pub fn take_back(&self) -> Result<Vec<u64>, HostError> {
        let (mut tokens, mut others) = (Vec::new(), Vec::new());
        while let Some(packet) = self.packets.take_back(<[u8]>::to_vec)? {
            let message = loads(&packet)?;
            match parts(&message) {
                Some(("run", [Value::List(jobs)])) => tokens.extend(jobs.iter().filter_map(token)),
                _ => others.push(packet),
            }
        }
        for packet in others {
            self.packets.send(&packet, &[])?; // there is room again
        }
        Ok(tokens)
    }

    /// The job that runs, of the pools that run one at a time in a process.
    ///
    /// # Errors
    /// [`HostError::Io`].
    pub fn running(&self) -> Result<Option<Running>, HostError> {
        Ok(self.page.running()?)
    }

    /// How many jobs it has begun.
    ///
    /// # Errors
    /// [`HostError::Io`].
    pub fn begun(&self) -> Result<u64, HostError> {
        Ok(self.page.begun()?)
    }

    /// Sends a signal that only the job of this token heeds: `USR1` is the soft time limit; `TERM`, `QUIT` and `HUP`
    /// unwind the job and end the child, `USR2` kills it. Any other is not aimed, and ends it as it would end any process:
    /// that by which it [shows its stacks](Child::show_stacks) becomes `KILL`.
    ///
    /// # Errors
    /// [`HostError::Gone`], [`HostError::Io`].
    pub fn signal(&self, signal: Signal, token: u64) -> Result<(), HostError> {
        self.page.aim(token)?;
        self.signal_process(if signal == STACKS { Signal::KILL } else { signal })
    }

    /// Has it send now what has ended, so that no answer waits for a job that turned out to be long.
    ///
    /// # Errors
    /// [`HostError::Gone`], [`HostError::Io`].
    pub fn flush(&self) -> Result<(), HostError> {
        self.signal_process(Signal::URG)
    }

    /// Has it write the stacks of its threads to standard error, whatever it does. Only for one that is up: another
    /// interpreter may not know the signal yet, which would end it.
    ///
    /// # Errors
    /// [`HostError::Gone`], [`HostError::Io`].
    pub fn show_stacks(&self) -> Result<(), HostError> {
        self.signal_process(STACKS)
    }

    /// Kills it.
    ///
    /// # Errors
    /// [`HostError::Gone`], [`HostError::Io`].
    pub fn kill(&self) -> Result<(), HostError> {
        self.signal_process(Signal::KILL)
    }

    /// Has it end after what it has taken; its last message is [`Message::Bye`].
    ///
    /// # Errors
    /// [`HostError::Busy`] when the socket is full; [`HostError::Io`].
    pub fn exit(&self) -> Result<(), HostError> {
        self.say(Writer::new().tuple(1).str("exit"))
    }

    /// Cancels a job of the pool `asyncio`; one that has ended is ignored.
    ///
    /// # Errors
    /// [`HostError::Busy`] when the socket is full; [`HostError::Io`].
    pub fn cancel(&self, token: u64, how: Cancel<'_>) -> Result<(), HostError> {
        let mut writer = Writer::new();
        writer.tuple(4).str("cancel").uint(token);
        match how {
            Cancel::Soft => writer.str("soft").none(),
            Cancel::Hard(limit) => writer.str("hard").value(limit),
            Cancel::Revoke => writer.str("revoke").none(),
        };
        self.say(&mut writer)
    }

    fn send_packet(&self, jobs: &[Job<'_>]) -> Result<usize, HostError> {
        let (mut count, mut frames, mut beside) = (0, Vec::new(), Vec::new());
        for job in jobs {
            let fits = job.frame().and_then(|(frame, body)| {
                let fits = AROUND + frames.len() + frame.len() <= PACKET && beside.len() < RIGHTS;
                if fits { Ok((frame, body)) } else { Err(HostError::TooLarge(job.token)) }
            });
            match fits {
                Ok((frame, body)) => {
                    count += 1;
                    frames.extend(frame);
                    beside.extend(body);
                }
                Err(error) if count == 0 => return Err(error),
                Err(_) => break,
            }
        }
        let mut writer = Writer::new();
        writer.tuple(2).str("run").tuple(count).raw(&frames);
        let memory = beside.into_iter().map(memory).collect::<io::Result<Vec<_>>>()?;
        let fds: Vec<_> = memory.iter().map(AsFd::as_fd).collect();
        Ok(if self.packets.send(&writer.finish()?, &fds)? { count } else { 0 })
    }

    fn say(&self, message: &mut Writer) -> Result<(), HostError> {
        let packet = std::mem::take(message).finish()?;
        if self.packets.send(&packet, &[])? { Ok(()) } else { Err(HostError::Busy) }
    }

    fn signal_process(&self, signal: Signal) -> Result<(), HostError> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Err(Errno::SRCH) => Err(HostError::Gone),
            other => Ok(other?),
        }
    }
}

/// A descriptor of these bytes.
fn memory(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("celeriac-body", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file.into())
}

fn token(job: &Value) -> Option<u64> {
    unsigned(job.as_list()?.first()?)
}
