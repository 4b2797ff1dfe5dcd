//! How long tasks take, as far as it was seen.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A message for each task costs more than a task that is shorter.
const SHORT: Duration = Duration::from_millis(1);

/// The moving averages of tasks, by name.
#[derive(Default)]
pub struct Paces(HashMap<Arc<str>, Duration>);

impl Paces {
    /// How long a short task is expected to take; nothing for one that is not, or not known to be.
    pub fn short(&self, name: &str) -> Option<Duration> {
        self.0.get(name).copied().filter(|average| *average < SHORT)
    }

    /// One long run makes a task long at once; it takes some short ones to make it short again.
    pub fn note(&mut self, name: &Arc<str>, run: Duration) {
        let average = self.0.entry(name.clone()).or_insert(run);
        *average = if run > *average { run } else { *average - (*average - run) / 8 };
    }
}
