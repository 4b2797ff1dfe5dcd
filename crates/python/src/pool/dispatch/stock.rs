//! Whether there is a stock of jobs: more at hand than Celery's prefetch count, which are done before others are here.

use std::time::{Duration, Instant};

use super::AHEAD;
use super::child::{Child, Timer, Timers};

/// So many jobs for each child are in stock where these are expected to be done within [`AHEAD`].
pub const SIZE: u32 = 16;
/// There is no stock when no child has answered for as long.
pub const STUCK: Duration = Duration::from_millis(50);
/// There is none again for as long, since each change starts the consumers anew and sends messages back.
pub const REST: Duration = Duration::from_secs(10);

/// The stock of a pool.
pub struct Stock {
    is_there: bool,
    /// There is none before then; where this is none, the next job that ends begins the rest.
    rests_until: Option<Instant>,
    /// There is a timer that looks whether all are stuck.
    is_timed: bool,
    /// Since when there is no child that could run anything.
    alone_since: Option<Instant>,
}

impl Stock {
    /// None yet, and no rest before it.
    pub fn new(now: Instant) -> Self {
        Stock { is_there: false, rests_until: Some(now), is_timed: false, alone_since: None }
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.is_there
    }

    /// There is one while jobs are short, on average: twice as long before it ends, lest it come and go.
    pub fn judge(&mut self, average: Duration, now: Instant) {
        let rests_until = *self.rests_until.get_or_insert(now + REST);
        let most = if self.is_there { 2 * AHEAD / SIZE } else { AHEAD / SIZE };
        if average > most {
            self.clear();
        } else {
            self.is_there |= now >= rests_until;
        }
    }

    /// There is none from now on, and for a while, whether there was one or not: what has come is nothing to be kept in stock.
    pub fn forbid(&mut self) {
        (self.is_there, self.rests_until) = (false, None);
    }

    fn clear(&mut self) {
        if self.is_there {
            self.forbid();
        }
    }

    /// There is none where all children are busy with something long, or gone. While all are busy, a timer looks for that.
    pub fn watch<'a>(
        &mut self,
        children: impl Iterator<Item = &'a Child> + Clone,
        timers: &mut Timers,
        now: Instant,
    ) {
        let able = children.filter(|child| child.is_up && !child.leaves);
        if !self.is_there || self.is_timed {
            return;
        }
        if able.clone().any(|child| child.given.is_empty()) {
            self.alone_since = None;
            return;
        }
        let heard = able.map(|child| child.since).max();
        let at = heard.unwrap_or_else(|| *self.alone_since.get_or_insert(now)) + STUCK;
        if at > now {
            self.is_timed = timers.insert((at, Timer::Stuck));
        } else {
            self.clear();
        }
    }

    /// The time of that timer has come.
    pub fn time_is_up(&mut self) {
        self.is_timed = false;
    }
}
