//! What is shown while the workers work: a bar on a terminal, else a line now and then.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Between two lines without a terminal.
const PAUSE: Duration = Duration::from_secs(2);

const BAR: &str = "{bar:40.green/white} {pos}/{len} files  {per_sec}  {elapsed}";

/// Cheap to clone.
#[derive(Clone)]
pub struct Progress {
    bar: ProgressBar,
    /// When the last line was written; `None` where there is a bar, or nothing to see.
    lines: Option<Arc<Mutex<Instant>>>,
}

impl Progress {
    /// On standard error.
    pub fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(0), target).with_style(style);
        Progress { bar, lines: (!terminal).then(|| Arc::new(Mutex::new(Instant::now()))) }
    }

    /// Shows nothing.
    #[cfg(test)]
    pub fn hidden() -> Self {
        Progress { bar: ProgressBar::hidden(), lines: None }
    }

    /// There is one more file to do.
    pub fn found(&self) {
        self.bar.inc_length(1);
    }

    /// One more is done.
    pub fn done(&self) {
        self.bar.inc(1);
        let Some(lines) = &self.lines else { return };
        let mut last = lines.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= PAUSE {
            *last = Instant::now();
            eprintln!("{} of {} files so far", self.bar.position(), self.bar.length().unwrap_or_default());
        }
    }

    /// All are done.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
