use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(250);

/// Wakes the thread that listens.
#[derive(Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    ringing: Condvar,
}

/// What the thread sleeps with.
pub(crate) struct Ear {
    bell: Arc<Bell>,
    pause: Duration,
}

impl Bell {
    /// To be called after there is something to do.
    pub fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ringing.notify_one();
    }
}

impl Ear {
    /// Nothing of the file is asked; the caller looks at it whenever [`sleep`](Self::sleep) returns.
    pub fn new(_database: &Path) -> io::Result<(Arc<Bell>, Self)> {
        let bell = Arc::new(Bell::default());
        Ok((bell.clone(), Ear { bell, pause: SHORTEST }))
    }

    /// Announces sleep. Who then finds something to do must not [`sleep`](Self::sleep).
    pub fn lie_down(&mut self) {}

    /// Sleeps until the bell rings, it is time to look at the file if that is asked for, or the time is over.
    pub fn sleep(&mut self, changes: bool, timeout: Option<Duration>) {
        let pause = if changes { Some(self.pause) } else { None };
        self.pause = (self.pause * 2).min(LONGEST);
        let mut rung = self.bell.rung.lock().unwrap_or_else(PoisonError::into_inner);
        rung = match [pause, timeout].into_iter().flatten().min() {
            Some(time) => {
                let waited = self.bell.ringing.wait_timeout_while(rung, time, |rung| !*rung);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => {
                let waited = self.bell.ringing.wait_while(rung, |rung| !*rung);
                waited.unwrap_or_else(PoisonError::into_inner)
            }
        };
        *rung = false;
    }

    /// Forgets changes that were announced until now.
    pub fn catch_up(&mut self) {}

    /// Notes that there was something to do: the next pause is short.
    pub fn busy(&mut self) {
        self.pause = SHORTEST;
    }
}
