//! An interpreter as a process that cannot outlive us.
//!
//! We are no subreaper: descriptors tell when a process that is not our child has ended, while every process that a task
//! has left behind would become a zombie of ours, which nobody can tell from the children of others in this program.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command};
use std::sync::{OnceLock, mpsc};
use std::thread;

use rustix::fd::BorrowedFd;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, getppid, pidfd_open, set_parent_process_death_signal,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use super::ready;

/// A process of ours, killed when this is dropped.
pub struct Process {
    child: Owned,
    pidfd: AsyncFd<OwnedFd>,
}

impl Process {
    /// Starts the command with `fds` open in it under the numbers that they have here.
    pub async fn spawn(command: Command, fds: Vec<OwnedFd>) -> io::Result<Self> {
        let (reply, spawned) = oneshot::channel();
        let work = Box::new(move || {
            // If nobody waits any more, it is dropped with the reply.
            let _ = reply.send(spawn(command, &fds));
        });
        lasting_thread()?.send(work).map_err(|_| io::ErrorKind::BrokenPipe)?;
        let child = spawned.await.map_err(|_| io::ErrorKind::BrokenPipe)??;
        let pidfd = watched(child.0.id() as i32)?;
        Ok(Process { child, pidfd })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.0.id()
    }

    /// Returns when it has ended.
    pub async fn ended(&self) {
        ended(&self.pidfd).await;
    }

    /// Kills it if it has not ended; its exit code, negative for a signal.
    pub fn reap(mut self) -> i32 {
        self.child.end()
    }
}

/// A descriptor of a process, which needs not be a child of ours.
pub fn watched(pid: i32) -> io::Result<AsyncFd<OwnedFd>> {
    let pid = Pid::from_raw(pid).filter(|pid| !pid.is_init()).ok_or(io::ErrorKind::InvalidInput)?;
    ready::watched(pidfd_open(pid, PidfdFlags::empty())?, Interest::READABLE)
}

/// Returns when the process of the descriptor has ended.
pub async fn ended(pidfd: &AsyncFd<OwnedFd>) {
    let _ = pidfd.readable().await;
}

struct Owned(Child);

impl Owned {
    fn end(&mut self) -> i32 {
        let _ = self.0.kill();
        match self.0.wait() {
            Ok(status) => status.code().or(status.signal().map(|signal| -signal)).unwrap_or_default(),
            Err(_) => -Signal::KILL.as_raw(), // somebody else has waited for it
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.end();
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// The kernel ends a process with the *thread* that started it, so that thread must not end before we do.
fn lasting_thread() -> io::Result<&'static mpsc::Sender<Work>> {
    static THREAD: OnceLock<mpsc::Sender<Work>> = OnceLock::new();
    if let Some(thread) = THREAD.get() {
        return Ok(thread);
    }
    let (work, queue) = mpsc::channel::<Work>();
    thread::Builder::new()
        .name("celeriac-spawn".to_owned())
        .spawn(move || queue.into_iter().for_each(|work| work()))?;
    Ok(THREAD.get_or_init(|| work))
}

#[expect(unsafe_code, reason = "between fork and exec, for which there is no other way")]
fn spawn(mut command: Command, fds: &[OwnedFd]) -> io::Result<Owned> {
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let parent = getpid();
    // SAFETY: it makes system calls only, on descriptors that the caller keeps open, and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            if getppid() != Some(parent) {
                return Err(io::ErrorKind::BrokenPipe.into()); // the parent has died before that
            }
            for number in &numbers {
                fcntl_setfd(BorrowedFd::borrow_raw(*number), FdFlags::empty())?;
            }
            Ok(())
        });
    }
    command.spawn().map(Owned)
}
