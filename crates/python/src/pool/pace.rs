//! How long tasks take, as far as it was seen.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A message for each task costs more than a task that is shorter.
const SHORT: Duration = Duration::from_millis(1);
/// What tasks are taken to need as long as little was seen of them.
const UNKNOWN: Duration = Duration::from_millis(5);
/// One task counts as this at most in the average of all, lest it be remembered for ever.
const MOST: Duration = Duration::from_secs(1);

/// The moving averages of tasks: by name, of the last ten or so, and of the last hundreds of all.
pub struct Paces {
    by_name: HashMap<Arc<str>, Duration>,
    all: Duration,
}

impl Default for Paces {
    fn default() -> Self {
        Paces { by_name: HashMap::new(), all: UNKNOWN }
    }
}

impl Paces {
    /// How long a short task is expected to take; nothing for one that is not, or not known to be.
    pub fn short(&self, name: &str) -> Option<Duration> {
        self.by_name.get(name).copied().filter(|average| *average < SHORT)
    }

    /// How long a task takes, whatever its name.
    pub fn of_all(&self) -> Duration {
        self.all
    }

    /// One long run makes a task long at once; it takes some short ones to make it short again.
    pub fn note(&mut self, name: &Arc<str>, run: Duration) {
        self.all = self.all - self.all / 256 + run.min(MOST) / 256;
        let average = self.by_name.entry(name.clone()).or_insert(run);
        *average = if run > *average { run } else { *average - (*average - run) / 8 };
    }
}
