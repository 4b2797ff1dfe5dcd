use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};

/// Wakes the thread that listens.
pub(crate) struct Bell {
    asleep: AtomicBool,
    wire: OwnedFd,
}

/// What the thread sleeps with.
pub(crate) struct Ear {
    bell: Arc<Bell>,
    changes: OwnedFd,
}

impl Bell {
    /// To be called after there is something to do. Costs a system call only when the thread sleeps.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::SeqCst) {
            // It can only fail when it is rung already, to the brim.
            let _ = rustix::io::write(&self.wire, &1u64.to_ne_bytes());
        }
    }
}

impl Ear {
    /// Listens to the write-ahead log of a database, which must be open in that mode.
    pub fn new(database: &Path) -> io::Result<(Arc<Bell>, Self)> {
        let wire = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let bell = Arc::new(Bell { asleep: AtomicBool::new(false), wire });
        let changes = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        add_watch(&changes, log, WatchFlags::MODIFY)?;
        Ok((bell.clone(), Ear { bell, changes }))
    }

    /// Announces sleep. Who then finds something to do must not [`sleep`](Self::sleep).
    pub fn lie_down(&mut self) {
        self.bell.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Sleeps until the bell rings, the file changes if that is asked for, or the time is over.
    pub fn sleep(&mut self, changes: bool, timeout: Option<Duration>) {
        let timeout = timeout.map(|time| Timespec {
            tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        });
        let mut fds =
            [PollFd::new(&self.bell.wire, PollFlags::IN), PollFd::new(&self.changes, PollFlags::IN)];
        let count = if changes { 2 } else { 1 };
        // A signal only wakes it early.
        let _ = poll(fds.get_mut(..count).unwrap_or_default(), timeout.as_ref());
        self.bell.asleep.store(false, Ordering::SeqCst);
        let _ = rustix::io::read(&self.bell.wire, &mut [0; 8]);
    }

    /// Forgets changes that were announced until now.
    pub fn catch_up(&mut self) {
        let mut events = [0; 4096];
        while rustix::io::read(&self.changes, &mut events).is_ok_and(|read| read == events.len()) {}
    }

    /// Notes that there was something to do.
    pub fn busy(&mut self) {}
}
