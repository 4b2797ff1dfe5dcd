//! What each signal means to a worker (`celery/apps/worker.py`), and the exit codes as measured on Celery 5.6.2.

use celeriac_worker::Shutdown;

const INITIATE: &str =
    "worker: Hitting Ctrl+C again will initiate cold shutdown, terminating all running tasks!";
const TERMINATE: &str = "worker: Hitting Ctrl+C again will terminate all running tasks!";
const WARM: &str = "worker: Warm shutdown (MainProcess)";
const COLD: &str = "worker: Cold shutdown (MainProcess)";
const WAITING: &str = "Waiting gracefully for cold shutdown to complete...";

/// The signals that end a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    Terminate,
    Interrupt,
    Quit,
    /// Ends it warmly too; it is to start anew.
    Hangup,
}

impl Signal {
    /// What the app is told of it; a hangup is Celery's own affair.
    fn name(self) -> Option<&'static str> {
        match self {
            Signal::Terminate => Some("SIGTERM"),
            Signal::Interrupt => Some("SIGINT"),
            Signal::Quit => Some("SIGQUIT"),
            Signal::Hangup => None,
        }
    }
}

/// A signal that ends the worker, as `worker_shutting_down` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// `SIGTERM`, for example.
    pub signal: &'static str,
    /// `Warm` or `Cold`.
    pub how: &'static str,
    /// The exit code that it stands for.
    pub code: u8,
}

/// How far a worker's end has come, and its exit code so far.
#[derive(Debug, Default)]
pub struct Ending {
    asked: Shutdown,
    interrupted: bool,
    /// The exit code.
    pub code: u8,
    /// Whether the process starts anew.
    pub restart: bool,
}

/// What is to be done about a signal.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// For standard output.
    pub say: &'static [&'static str],
    /// For the worker; `None` is to leave everything and go.
    pub shutdown: Option<Shutdown>,
}

impl Answer {
    /// What the app is told.
    pub(super) fn tell(&self, signal: Signal) -> Option<Ended> {
        let cold = self.shutdown? > Shutdown::Warm;
        let code = u8::from(cold || signal != Signal::Terminate);
        Some(Ended { signal: signal.name()?, how: if cold { "Cold" } else { "Warm" }, code })
    }
}

impl Ending {
    /// The worker has ended by itself.
    pub fn fail(&mut self) {
        self.code = 1;
        self.restart = false;
    }

    /// Takes a signal in.
    pub(super) fn signal(&mut self, signal: Signal) -> Answer {
        let ask = |say, shutdown| Answer { say, shutdown: Some(shutdown) };
        let answer = match (signal, self.asked) {
            (Signal::Hangup, _) => {
                self.restart = self.restart || self.asked == Shutdown::No;
                ask(&[], Shutdown::Warm)
            }
            // Said again each time, and ignored but the first.
            (Signal::Terminate, _) => ask(&[WARM], Shutdown::Warm),
            (Signal::Interrupt, Shutdown::No | Shutdown::Warm) if !self.interrupted => {
                self.interrupted = true;
                self.code = 1;
                ask(&[INITIATE, WARM], Shutdown::Warm)
            }
            (Signal::Interrupt, Shutdown::No | Shutdown::Warm) => ask(&[TERMINATE], Shutdown::Cold),
            (Signal::Quit, Shutdown::No | Shutdown::Warm) => ask(&[TERMINATE, COLD], Shutdown::Cold),
            (_, Shutdown::Cold) => ask(&[WAITING], Shutdown::Now),
            (_, Shutdown::Now) => Answer { say: &[COLD], shutdown: None },
        };
        match answer.shutdown {
            None => self.code = 1,
            Some(Shutdown::Cold) => self.code = 0,
            Some(_) => {}
        }
        self.restart &= signal == Signal::Hangup;
        self.asked = self.asked.max(answer.shutdown.unwrap_or_default());
        answer
    }
}

#[cfg(test)]
mod tests {
    use Signal::{Hangup, Interrupt, Quit, Terminate};

    use super::*;

    fn after(signals: &[Signal]) -> (Option<Shutdown>, u8) {
        let mut ending = Ending::default();
        let answers: Vec<_> = signals.iter().map(|signal| ending.signal(*signal)).collect();
        (answers.iter().map(|answer| answer.shutdown).next_back().flatten(), ending.code)
    }

    #[test]
    fn exit_codes_are_celerys() {
        for (signals, code) in [
            (&[Terminate][..], 0),
            (&[Terminate, Terminate], 0),
            (&[Interrupt], 1),
            (&[Quit], 0),
            (&[Interrupt, Interrupt], 0),
            (&[Interrupt, Quit], 0),
            (&[Terminate, Interrupt], 1),
        ] {
            assert_eq!(after(signals).1, code, "{signals:?}");
        }
    }

    #[test]
    fn each_interrupt_is_harder() {
        assert_eq!(after(&[Interrupt]).0, Some(Shutdown::Warm));
        assert_eq!(after(&[Interrupt; 2]).0, Some(Shutdown::Cold));
        assert_eq!(after(&[Interrupt; 3]).0, Some(Shutdown::Now));
        assert_eq!(after(&[Interrupt; 4]), (None, 1));
    }

    #[test]
    fn the_app_is_told_what_celery_tells_it() {
        let mut ending = Ending::default();
        let mut told =
            |signal| ending.signal(signal).tell(signal).map(|told| (told.signal, told.how, told.code));
        assert_eq!(told(Terminate), Some(("SIGTERM", "Warm", 0)));
        assert_eq!(told(Hangup), None);
        assert_eq!(told(Interrupt), Some(("SIGINT", "Warm", 1)));
        assert_eq!(told(Interrupt), Some(("SIGINT", "Cold", 1)));
        assert_eq!(told(Quit), Some(("SIGQUIT", "Cold", 1)));
        assert_eq!(told(Quit), None, "it is over");
    }

    #[test]
    fn only_a_hangup_alone_restarts() {
        for (signals, restart) in
            [(&[Hangup][..], true), (&[Terminate, Hangup], false), (&[Hangup, Quit], false)]
        {
            let mut ending = Ending::default();
            for signal in signals {
                ending.signal(*signal);
            }
            assert_eq!(ending.restart, restart, "{signals:?}");
        }
    }

    #[test]
    fn a_terminate_never_hardens() {
        assert_eq!(after(&[Terminate; 5]).0, Some(Shutdown::Warm));
    }
}
