//! A child as the machine knows it, and the jobs that it has.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::{AHEAD, Bound, Id, Job, Token};

/// What is to be done later, by its time.
pub type Timers = BTreeSet<(Instant, Timer)>;

/// What there is to do later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Is this child slow?
    Slow(Id),
    /// Are all still busy with something long?
    Stuck,
    Bound(Token, Bound),
    /// It has not ended by itself.
    Kill(Id),
    /// It has not come up.
    Alive(Id),
    /// It may take something again.
    Unblock(Id),
}

/// A job that was given to a child.
pub struct Given {
    pub child: Option<Id>,
    pub expected: Option<Duration>,
    pub job: Job,
    /// What goes with it when it has ended.
    pub timers: Vec<(Instant, Timer)>,
}

/// A child as the machine knows it.
pub struct Child {
    pub index: u32,
    /// It runs all that it has at once.
    pub is_shared: bool,
    pub is_up: bool,
    /// It gets nothing any more.
    pub leaves: bool,
    /// It runs something that is not short, as far as one can see.
    pub is_slow: bool,
    /// There is a timer that looks whether it is.
    pub is_watched: bool,
    /// Its socket was full a moment ago.
    pub is_blocked: bool,
    /// What it has not answered, in the order in which it runs it.
    pub given: VecDeque<Token>,
    /// How long that is expected to take.
    pub expected: Duration,
    /// How many jobs it has answered.
    pub answered: u64,
    /// When it last got something to do, or was heard of.
    pub since: Instant,
}

impl Child {
    pub fn new(index: u32, is_shared: bool, now: Instant) -> Self {
        Child {
            index,
            is_shared,
            is_up: false,
            leaves: false,
            is_slow: false,
            is_watched: false,
            is_blocked: false,
            given: VecDeque::new(),
            expected: Duration::ZERO,
            answered: 0,
            since: now,
        }
    }

    /// Whether it takes a job that is expected to be short, or not, where so many run at once.
    pub fn has_room(&self, expected: Option<Duration>, limit: usize) -> bool {
        let takes = self.is_up && !self.leaves && !self.is_blocked;
        if self.is_shared {
            return takes && self.given.len() < limit;
        }
        let ahead = expected.is_some_and(|expected| !self.is_slow && self.expected + expected <= AHEAD);
        takes && (self.given.is_empty() || ahead)
    }

    /// Has it looked at whether it is slow, while more than one job depends on that.
    pub fn watch(&mut self, id: Id, timers: &mut Timers) {
        if self.given.len() > 1 && !self.is_watched && !self.is_slow && !self.is_shared {
            self.is_watched = timers.insert((self.since + AHEAD, Timer::Slow(id)));
        }
    }

    /// Takes a job from it, and its timers; false when it does not have it.
    pub fn take(&mut self, token: Token, jobs: &mut HashMap<Token, Given>, timers: &mut Timers) -> bool {
        let Some(place) = self.given.iter().position(|given| *given == token) else { return false };
        self.given.remove(place);
        if let Some(given) = jobs.get_mut(&token) {
            self.expected = self.expected.saturating_sub(given.expected.unwrap_or(AHEAD));
            given.child = None;
            for timer in given.timers.drain(..) {
                timers.remove(&timer);
            }
        }
        true
    }
}
