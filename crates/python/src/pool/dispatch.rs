//! Which child runs what, and until when: a pure machine. What happens and the time go in, actions come out.
//!
//! An idle child gets the job that has waited longest. Jobs that were measured short may be given ahead, so that a child
//! has always something to do, but no more than it is expected to do in [`AHEAD`]. A child that does not answer for as
//! long runs something that has turned out to be long: what it has not begun is taken back, and others run it.
//!
//! A pool whose tasks share a child has one, which gets every job that may run.

mod child;
mod stock;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::child::{Child, Given, Timer, Timers};
use self::stock::Stock;
use super::kind::Kind;
use super::pace::Paces;

/// A job, by a number of its own.
pub type Token = u64;
/// A child, by a number of its own: slots are used again.
pub type Id = u64;

/// How long what a child was given is expected to take at most, where it is more than one job.
const AHEAD: Duration = Duration::from_millis(5);
/// A packet is this many jobs at most: when the child has taken it, only its own hand gives them back.
const PACKET: usize = 16;
/// How long a child has to unwind at the hard limit before it is killed.
const GRACE: Duration = Duration::from_millis(100);
/// How long nobody is started after one that did not come up.
const PAUSE: Duration = Duration::from_secs(1);

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start a child in this slot.
    Fork(Id, u32),
    /// Give it these jobs, in one packet.
    Send(Id, Vec<Token>),
    /// Take back what it has not taken, and have it send what it has ended.
    TakeBack(Id),
    /// Look whether this job has run for as long as it may, or is to be ended.
    Look(Id, Token, Bound),
    /// Have it end.
    Exit(Id),
    /// Kill it.
    Kill(Id),
}

/// What ends a job before it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bound {
    /// Its soft time limit.
    Soft,
    /// Its hard time limit.
    Hard,
    /// Remote control, by this signal.
    Signal(i32),
}

/// A job as the machine knows it.
pub struct Job {
    /// Its task's name.
    pub name: Arc<str>,
    /// After how long it is told.
    pub soft: Option<Duration>,
    /// After how long it is ended.
    pub hard: Option<Duration>,
    /// Whether there may be a stock of such, if it is short.
    pub is_light: bool,
}

/// What becomes of the jobs of a child that has ended; what it has not begun waits again.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// The jobs that it ran.
    pub lost: Vec<Token>,
    /// Jobs that it has begun, and whose answers died with it.
    pub unheard: Vec<Token>,
}

/// The machine.
pub struct Dispatch {
    kind: Kind,
    limit: usize,
    alive: Duration,
    waiting: VecDeque<Token>,
    jobs: HashMap<Token, Given>,
    children: BTreeMap<Id, Child>,
    timers: Timers,
    paces: Paces,
    last: Id,
    stock: Stock,
    /// When children may be started: not before the zygote is there, nor soon after one has failed to come up.
    starts: Option<Instant>,
}

impl Dispatch {
    /// For `limit` jobs at once; each child has `alive` to come up.
    pub fn new(kind: Kind, limit: usize, alive: Duration, now: Instant) -> Self {
        Dispatch {
            kind,
            limit,
            alive,
            waiting: VecDeque::new(),
            jobs: HashMap::new(),
            children: BTreeMap::new(),
            timers: Timers::new(),
            paces: Paces::default(),
            last: 0,
            stock: Stock::new(now),
            starts: Some(now),
        }
    }

    /// How many jobs run at once.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Has so many jobs run at once, as far as the pool can.
    pub fn resize(&mut self, limit: usize) {
        self.limit = limit.min(self.kind.most());
    }

    /// Has every child replaced when it has ended what it runs.
    pub fn restart(&mut self) -> Vec<Action> {
        let staying = self.children.iter_mut().filter(|(_, child)| !child.leaves);
        staying
            .map(|(id, child)| {
                child.leaves = true;
                Action::Exit(*id)
            })
            .collect()
    }

    /// A job waits.
    pub fn submit(&mut self, token: Token, mut job: Job) {
        if !self.kind.ends_tasks() {
            (job.soft, job.hard) = (None, None);
        }
        if !job.is_light {
            self.stock.forbid();
        }
        self.jobs.insert(token, Given { child: None, expected: None, job, timers: Vec::new() });
        self.waiting.push_back(token);
    }

    /// How many jobs there should be in stock; none where what comes may be long.
    pub fn stock(&self) -> usize {
        if self.stock.is_there() { self.limit * stock::SIZE as usize } else { 0 }
    }

    /// Forgets all that wait.
    pub fn discard_waiting(&mut self) -> Vec<Token> {
        let waiting: Vec<_> = self.waiting.drain(..).collect();
        for token in &waiting {
            self.jobs.remove(token);
        }
        waiting
    }

    /// The jobs that children have.
    pub fn given(&self) -> Vec<Token> {
        self.children.values().flat_map(|child| child.given.iter().copied()).collect()
    }

    /// The child that has a job.
    pub fn child_of(&self, token: Token) -> Option<Id> {
        self.jobs.get(&token)?.child
    }

    /// A child can take jobs.
    pub fn up(&mut self, id: Id) {
        if let Some(child) = self.children.get_mut(&id) {
            child.is_up = true;
        }
    }

    /// Whether a child can take jobs.
    pub fn is_up(&self, id: Id) -> bool {
        self.children.get(&id).is_some_and(|child| child.is_up)
    }

    /// A job has ended after `run`, or needs not be run; false for one that the child does not have.
    pub fn answered(&mut self, id: Id, token: Token, run: Option<Duration>, now: Instant) -> bool {
        let Some(child) = self.children.get_mut(&id) else { return false };
        if !child.take(token, &mut self.jobs, &mut self.timers) {
            return false;
        }
        let Some(given) = self.jobs.remove(&token) else { return false };
        if let Some(run) = run {
            child.answered += 1;
            child.is_slow = false;
            child.since = now;
            child.watch(id, &mut self.timers);
            self.paces.note(&given.job.name, run);
            if given.job.is_light && !self.kind.is_shared() {
                self.stock.judge(self.paces.of_all(), now);
            }
        }
        true
    }

    /// Jobs of a child that it has not begun.
    pub fn taken_back(&mut self, id: Id, tokens: &[Token]) {
        let Some(child) = self.children.get_mut(&id) else { return };
        for token in tokens.iter().rev() {
            if child.take(*token, &mut self.jobs, &mut self.timers) {
                self.waiting.push_front(*token);
            }
        }
    }

    /// The same, of a child that takes nothing at the moment.
    pub fn refused(&mut self, id: Id, tokens: &[Token], now: Instant) {
        self.taken_back(id, tokens);
        if let Some(child) = self.children.get_mut(&id) {
            child.is_blocked = true;
            self.timers.insert((now + AHEAD, Timer::Unblock(id)));
        }
    }

    /// A child gets nothing any more: it ends, or it has said so.
    pub fn leaves(&mut self, id: Id) {
        if let Some(child) = self.children.get_mut(&id) {
            child.leaves = true;
        }
    }

    /// A child has ended, while it ran these jobs, after it has begun so many of those that come one after the other.
    pub fn ended(&mut self, id: Id, running: &[Token], begun: u64, now: Instant) -> Ended {
        let Some(mut child) = self.children.remove(&id) else { return Ended::default() };
        let began = usize::try_from(begun.saturating_sub(child.answered)).unwrap_or(usize::MAX);
        let given: Vec<_> = child.given.iter().copied().enumerate().collect();
        let mut ended = Ended::default();
        for (place, token) in given.into_iter().rev() {
            child.take(token, &mut self.jobs, &mut self.timers);
            let list = match (running.contains(&token), place < began) {
                (true, _) => &mut ended.lost,
                (false, true) => &mut ended.unheard,
                (false, false) => {
                    self.waiting.push_front(token);
                    continue;
                }
            };
            list.push(token);
            self.jobs.remove(&token);
        }
        if !child.is_up {
            // One that cannot start must not be started again and again at once.
            self.starts = self.starts.map(|_| now + PAUSE);
        }
        ended
    }

    /// From now on children can be started, or cannot.
    pub fn can_start(&mut self, can: bool, now: Instant) {
        self.starts = can.then_some(now);
    }

    /// Whether a child is to end: what comes up late has missed that.
    pub fn is_leaving(&self, id: Id) -> bool {
        self.children.get(&id).is_none_or(|child| child.leaves)
    }

    /// Whether a task is known to be short.
    pub fn is_short(&self, name: &str) -> bool {
        self.paces.short(name).is_some()
    }

    /// A job is to be ended, as soon as it runs.
    pub fn bound(&mut self, token: Token, bound: Bound, at: Instant) {
        if let Some(given) = self.jobs.get_mut(&token) {
            given.timers.push((at, Timer::Bound(token, bound)));
            self.timers.insert((at, Timer::Bound(token, bound)));
        }
    }

    /// A child is to be dead soon.
    pub fn condemn(&mut self, id: Id, now: Instant) {
        self.leaves(id);
        self.timers.insert((now + GRACE, Timer::Kill(id)));
    }

    /// When [`turn`](Dispatch::turn) has something to do at the latest, after `now`.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let timer = self.timers.first().map(|(at, _)| *at);
        timer.into_iter().chain(self.starts.filter(|at| *at > now)).min()
    }

    /// What is to be done now.
    pub fn turn(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            let timer = self.timers.pop_first();
            actions.extend(timer.and_then(|(_, timer)| self.due(timer, now)));
        }
        self.balance(now, &mut actions);
        self.give(now, &mut actions);
        self.stock.watch(self.children.values(), &mut self.timers, now);
        actions
    }

    fn due(&mut self, timer: Timer, now: Instant) -> Option<Action> {
        match timer {
            Timer::Slow(id) => {
                let child = self.children.get_mut(&id)?;
                child.is_watched = false;
                if child.since + AHEAD > now {
                    child.watch(id, &mut self.timers);
                    return None;
                }
                child.is_slow = true;
                (child.given.len() > 1).then_some(Action::TakeBack(id))
            }
            Timer::Stuck => {
                self.stock.time_is_up();
                None
            }
            Timer::Bound(token, bound) => {
                let id = self.jobs.get(&token)?.child?;
                Some(Action::Look(id, token, bound))
            }
            Timer::Unblock(id) => {
                self.children.get_mut(&id)?.is_blocked = false;
                None
            }
            Timer::Kill(id) => self.children.contains_key(&id).then_some(Action::Kill(id)),
            Timer::Alive(id) => {
                let child = self.children.get(&id)?;
                (!child.is_up).then_some(Action::Kill(id))
            }
        }
    }

    /// Starts and ends children, until there are as many as there are to be.
    fn balance(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let staying = self.children.values().filter(|child| !child.leaves).count();
        let may_start = self.starts.is_some_and(|at| at <= now);
        let wanted = if self.kind.is_shared() { self.limit.min(1) } else { self.limit };
        for _ in staying..wanted {
            if !may_start {
                break;
            }
            let taken: BTreeSet<u32> = self.children.values().map(|child| child.index).collect();
            let Some(index) = (0..).find(|index| !taken.contains(index)) else { break };
            self.last += 1;
            self.children.insert(self.last, Child::new(index, self.kind.is_shared(), now));
            self.timers.insert((now + self.alive, Timer::Alive(self.last)));
            actions.push(Action::Fork(self.last, index));
        }
        for _ in wanted..staying {
            // An idle one, if there is one.
            let stays = |(_, child): &(&Id, &mut Child)| !child.leaves;
            let surplus = self.children.iter_mut().filter(stays).min_by_key(|(_, child)| child.given.len());
            let Some((id, child)) = surplus else { break };
            child.leaves = true;
            actions.push(Action::Exit(*id));
        }
    }

    fn give(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let mut packets: BTreeMap<Id, Vec<Token>> = BTreeMap::new();
        while let Some(token) = self.waiting.front() {
            let Some(given) = self.jobs.get_mut(token) else {
                self.waiting.pop_front();
                continue;
            };
            let expected = self.paces.short(&given.job.name);
            let open = self.children.iter_mut().filter(|(_, child)| child.has_room(expected, self.limit));
            let Some((id, child)) = open.min_by_key(|(_, child)| (!child.given.is_empty(), child.expected))
            else {
                break;
            };
            let token = *token;
            self.waiting.pop_front();
            (given.child, given.expected) = (Some(*id), expected);
            if child.given.is_empty() {
                child.since = now;
                child.is_slow = expected.is_none();
            }
            child.given.push_back(token);
            child.expected += expected.unwrap_or(AHEAD);
            child.watch(*id, &mut self.timers);
            for (limit, bound) in [(given.job.soft, Bound::Soft), (given.job.hard, Bound::Hard)] {
                if let Some(at) = limit.and_then(|limit| now.checked_add(limit)) {
                    given.timers.push((at, Timer::Bound(token, bound)));
                    self.timers.insert((at, Timer::Bound(token, bound)));
                }
            }
            packets.entry(*id).or_default().push(token);
        }
        for (id, tokens) in packets {
            actions.extend(tokens.chunks(PACKET).map(|packet| Action::Send(id, packet.to_vec())));
        }
    }
}
