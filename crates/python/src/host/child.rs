//! A child: a process that runs tasks.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use celeriac_protocol::Value;
use rustix::buffer::spare_capacity;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    recv, sendmsg, socketpair,
};
use rustix::process::{Signal, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::marshal::{Writer, loads};
use super::message::{parts, unsigned};
use super::page::{Page, Running};
use super::ready::watched;
use super::{HostError, Job, Message};

/// What Python reads at once.
const PACKET: usize = 64 << 10;

/// What is around the jobs of a packet: two tuples and the kind.
const AROUND: usize = 18;

/// Bodies beside a packet; Linux would carry 253, and each takes a descriptor here and there.
const BESIDE: usize = 32;

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
    socket: AsyncFd<OwnedFd>,
    theirs: OwnedFd,
    page: Page,
    /// Where its packets are read into.
    inbox: Mutex<Vec<u8>>,
}

/// A child that the zygote has still to fork.
pub struct Nascent {
    ours: OwnedFd,
    theirs: OwnedFd,
    page: Page,
}

impl Nascent {
    pub fn new() -> io::Result<Self> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok(Nascent { ours, theirs, page: Page::new()? })
    }

    /// What the zygote needs of it.
    pub fn handed(&self) -> [BorrowedFd<'_>; 2] {
        [self.theirs.as_fd(), self.page.as_fd()]
    }

    pub fn born(self, index: u32, pid: i32, pidfd: OwnedFd) -> io::Result<Child> {
        let Nascent { ours, theirs, page } = self;
        Ok(Child {
            index,
            pid,
            pidfd,
            socket: watched(ours, Interest::READABLE | Interest::WRITABLE)?,
            theirs,
            page,
            inbox: Mutex::default(),
        })
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
    /// When these are fewer than there are, the socket is full ([`writable`](Child::writable) tells when it is not any
    /// more), or the next job is one that the next call fails at.
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

    /// Returns when there is room for a packet.
    ///
    /// # Errors
    /// [`HostError::Io`], when the runtime ends.
    pub async fn writable(&self) -> Result<(), HostError> {
        self.socket.writable().await?.retain_ready();
        Ok(())
    }

    /// The next message. It does not come to an end when the child does. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`HostError::Marshal`], [`HostError::Unexpected`]: that message is lost. [`HostError::Io`].
    pub async fn recv(&self) -> Result<Message, HostError> {
        let read = |socket: &OwnedFd| Ok(Message::read(&self.inbox(socket)?));
        self.socket.async_io(Interest::READABLE, read).await?
    }

    /// A message that is there already; what a child that has ended had still said.
    ///
    /// # Errors
    /// As [`recv`](Child::recv).
    pub fn try_recv(&self) -> Result<Option<Message>, HostError> {
        match self.inbox(self.socket.get_ref()) {
            Ok(packet) => Message::read(&packet).map(Some),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the jobs back that the child has not taken: their tokens, in order. Whatever it has taken it runs, or has
    /// run, unless it is dead.
    ///
    /// # Errors
    /// [`HostError::Io`].
    pub fn take_back(&self) -> Result<Vec<u64>, HostError> {
        let (mut tokens, mut others) = (Vec::new(), Vec::new());
        loop {
            let mut packet = Vec::new();
            match receive(&self.theirs, &mut packet) {
                Ok(()) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
            let message = loads(&packet)?;
            match parts(&message) {
                Some(("run", [Value::List(jobs)])) => tokens.extend(jobs.iter().filter_map(token)),
                _ => others.push(packet),
            }
        }
        for packet in others {
            self.send_raw(&packet, &[])?; // there is room again
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
    /// unwind the job and end the child, `USR2` kills it. Any other is not aimed.
    ///
    /// # Errors
    /// [`HostError::Gone`], [`HostError::Io`].
    pub fn signal(&self, signal: Signal, token: u64) -> Result<(), HostError> {
        self.page.aim(token)?;
        self.signal_process(signal)
    }

    /// Has it send now what has ended, so that no answer waits for a job that turned out to be long.
    ///
    /// # Errors
    /// [`HostError::Gone`], [`HostError::Io`].
    pub fn flush(&self) -> Result<(), HostError> {
        self.signal_process(Signal::URG)
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
                let fits = AROUND + frames.len() + frame.len() <= PACKET && beside.len() < BESIDE;
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
        Ok(if self.send_raw(&writer.finish()?, &fds)? { count } else { 0 })
    }

    fn say(&self, message: &mut Writer) -> Result<(), HostError> {
        let packet = std::mem::take(message).finish()?;
        if self.send_raw(&packet, &[])? { Ok(()) } else { Err(HostError::Busy) }
    }

    /// Sends a packet; false if the socket is full.
    fn send_raw(&self, packet: &[u8], fds: &[BorrowedFd<'_>]) -> Result<bool, HostError> {
        let once = |socket: &OwnedFd| match send(socket, packet, fds) {
            // Of the kernel's other bounds it tells nobody when there is room again.
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::TOOMANYREFS) => Err(io::ErrorKind::WouldBlock.into()),
            other => Ok(other?),
        };
        let full = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        match once(self.socket.get_ref()) {
            // Once more, so that `writable` knows.
            Err(error) if full(&error) => match self.socket.try_io(Interest::WRITABLE, once) {
                Err(error) if full(&error) => Ok(false),
                other => Ok(other.map(|()| true)?),
            },
            other => Ok(other.map(|()| true)?),
        }
    }

    fn signal_process(&self, signal: Signal) -> Result<(), HostError> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Err(Errno::SRCH) => Err(HostError::Gone),
            other => Ok(other?),
        }
    }

    fn inbox(&self, socket: &OwnedFd) -> Result<MutexGuard<'_, Vec<u8>>, Errno> {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        receive(socket, &mut inbox)?;
        Ok(inbox)
    }
}

/// A packet, in place of what was in the buffer.
fn receive(socket: &OwnedFd, buffer: &mut Vec<u8>) -> Result<(), Errno> {
    buffer.clear();
    buffer.reserve(PACKET);
    // Without room for descriptors the kernel closes those that come.
    recv(socket, spare_capacity(buffer), RecvFlags::DONTWAIT)?;
    Ok(())
}

fn send(socket: &OwnedFd, packet: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BESIDE))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !rights.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL);
    }
    sendmsg(socket, &[IoSlice::new(packet)], &mut rights, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
    Ok(())
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
