//! The pool: requests run in Python children, which are watched and replaced.
//!
//! `dispatch` decides which child runs what, without I/O; `drive` carries that out (`send`, `bounds`) and hears the children; `settle`
//! does what an answer asks for; `home` has the zygote and its service; `undone` has the service store what no child
//! could.

mod bounds;
mod dispatch;
mod drive;
mod home;
mod kind;
mod member;
mod pace;
pub(crate) mod request;
mod send;
mod settle;
mod undone;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use celeriac_protocol::{Map, Value};
use celeriac_worker::{Executor, Facts, Hosted, Parts, PoolStats, Request};
use tokio::sync::{Notify, watch};

use self::dispatch::{Bound, Dispatch, Id, Job, Token};
pub use self::home::{Home, Revive};
pub use self::kind::Kind;
use self::member::Member;
use crate::host::{Cancel, Child, Events};
use crate::report::Floats;

/// No stock is kept of larger bodies.
const LIGHT: usize = 64 << 10;
/// How long the children may take to end at the end, before they are killed.
const END: Duration = Duration::from_secs(5);

/// What a pool does besides the worker's settings.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// What its tasks run in.
    pub kind: Kind,
    /// `worker_proc_alive_timeout`: how long a child may take to come up.
    pub proc_alive_timeout: Duration,
    /// `worker_max_tasks_per_child`, which the children mind themselves.
    pub max_tasks_per_child: Option<u64>,
    /// Whether more may be prefetched than `worker_prefetch_multiplier` says while tasks are short: nobody has set it.
    pub stocks: bool,
    /// Whether the parent may read JSON for the children, as kombu does.
    pub reads_json: bool,
    /// How time limits are shown.
    pub floats: Floats,
    /// Whether a revoke stores nothing of what runs, as in Celery 5.7.
    pub spares_running: bool,
}

/// Runs requests in children: one at a time in each, or all in one.
///
/// An early acknowledgement is said when a request is sent to its child. An idle child begins it at once; one that is
/// known to be short may wait for others of its kind for a few milliseconds.
pub struct Pool {
    home: Arc<Home>,
    parts: Parts,
    settings: PoolSettings,
    state: Mutex<State>,
    /// The next deadline is earlier than what the clock waits for.
    sooner: Notify,
    load: watch::Sender<usize>,
    /// How many deliveries there should be in stock.
    stock: watch::Sender<usize>,
}

struct State {
    dispatch: Dispatch,
    held: HashMap<Token, Held>,
    children: HashMap<Id, Member>,
    /// Exits that were told before we knew the child.
    exits: HashMap<i32, i32>,
    /// How many jobs were sent to children that are no more.
    gone: u64,
    last: Token,
    armed: Option<Instant>,
    closed: bool,
    /// Whether rate limits hold.
    has_rates: bool,
}

/// A request that waits or runs.
struct Held {
    request: Box<Request>,
    /// It was sent to a child before.
    begun: bool,
    /// It was told to end, by remote control with this signal.
    terminated: Option<i32>,
    _loaded: Loaded,
}

/// Counts a request until it is settled.
struct Loaded(watch::Sender<usize>);

impl Held {
    fn new(request: Box<Request>, load: &watch::Sender<usize>) -> Self {
        Held { request, begun: false, terminated: None, _loaded: Loaded::new(load) }
    }
}

impl Loaded {
    fn new(load: &watch::Sender<usize>) -> Self {
        load.send_modify(|load| *load += 1);
        Loaded(load.clone())
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        self.0.send_modify(|load| *load -= 1);
    }
}

impl Pool {
    /// Starts the children of a zygote, on the current runtime.
    pub fn start(home: Arc<Home>, events: Events, settings: PoolSettings, parts: Parts) -> Hosted {
        let now = Instant::now();
        let state = State {
            dispatch: Dispatch::new(
                settings.kind,
                parts.settings.concurrency,
                settings.proc_alive_timeout,
                now,
            ),
            held: HashMap::new(),
            children: HashMap::new(),
            exits: HashMap::new(),
            gone: 0,
            last: 0,
            armed: None,
            closed: false,
            has_rates: !parts.settings.disable_rate_limits,
        };
        let (load, stock) = (watch::Sender::new(0), watch::Sender::new(0));
        let sooner = Notify::new();
        let pool = Arc::new(Pool { home, parts, settings, state: Mutex::new(state), sooner, load, stock });
        let _ = pool.home.pool.set(Arc::downgrade(&pool)); // there is one pool
        pool.turn();
        tokio::spawn(pool.clone().keep_time());
        tokio::spawn(pool.clone().watch(events));
        Hosted { executor: Arc::new(Handle(pool.clone())), backend: pool }
    }

    /// The children that can take jobs, by their names.
    fn up(&self) -> Vec<(String, Arc<Child>)> {
        let (state, kind) = (self.state(), self.settings.kind);
        let up = state.children.iter().filter(|(id, _)| state.dispatch.is_up(**id));
        up.map(|(id, member)| (kind.process(*id), member.child.clone())).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what children have and `which` is true of. It comes again, or is stored as to be retried.
    fn cancel_given(&self, which: impl Fn(&Facts) -> bool) -> Vec<Held> {
        let mut state = self.state();
        let given = state.dispatch.given().into_iter();
        let held =
            |state: &State, token| state.held.get(&token).is_some_and(|held| which(&held.request.facts));
        let tokens: Vec<Token> = given.filter(|token| held(&state, *token)).collect();
        for token in tokens.iter().copied() {
            let Some(id) = state.dispatch.child_of(token) else { continue };
            match self.settings.kind {
                Kind::Prefork | Kind::Spawn | Kind::Solo if state.runs(id, token) => {
                    state.end_child(id, token);
                    if let Some(member) = state.children.get_mut(&id) {
                        member.terminated = true;
                    }
                }
                // It is not known to have begun.
                Kind::Prefork | Kind::Spawn | Kind::Solo | Kind::Threads => {}
                Kind::Asyncio => {
                    let _ = state.cancel(id, token, Cancel::Revoke); // else it runs on
                }
            }
        }
        tokens.into_iter().filter_map(|token| state.held.remove(&token)).collect()
    }
}

/// The pool as the worker has it.
struct Handle(Arc<Pool>);

#[async_trait]
impl Executor for Handle {
    fn concurrency(&self) -> usize {
        self.0.state().dispatch.limit()
    }

    fn resize(&self, concurrency: usize) {
        self.0.state().dispatch.resize(concurrency);
        self.0.turn();
    }

    fn submit(&self, request: Box<Request>) {
        let held = Held::new(request, &self.0.load);
        self.0.state().submit(held);
    }

    fn wake(&self) -> bool {
        self.0.turn();
        false
    }

    fn stock(&self) -> watch::Receiver<usize> {
        self.0.stock.subscribe()
    }

    fn load(&self) -> usize {
        *self.0.load.borrow()
    }

    fn discard_waiting(&self) {
        let mut state = self.0.state();
        let mut begun = Vec::new();
        for token in state.dispatch.discard_waiting() {
            // One that was acknowledged, and taken back from its child, is ours to run.
            begun.extend(state.held.remove(&token).filter(|held| held.begun));
        }
        begun.into_iter().for_each(|held| state.submit(held));
    }

    async fn idle(&self) {
        // The pool holds a sender.
        let _ = self.0.load.subscribe().wait_for(|load| *load == 0).await;
    }

    fn terminate(&self, facts: &Facts, signal: i32) {
        let mut state = self.0.state();
        let same = |held: &Held| std::ptr::eq(&*held.request.facts, facts);
        let token = state.held.iter().find(|(_, held)| same(held)).map(|(token, _)| *token);
        if let Some(token) = token {
            state.dispatch.bound(token, Bound::Signal(signal), Instant::now());
        }
        drop(state);
        self.0.turn();
    }

    fn cancel_late(&self) {
        if !self.0.settings.kind.ends_tasks() {
            return;
        }
        for held in self.0.cancel_given(|facts| facts.policy.acks_late) {
            let pool = self.0.clone();
            tokio::spawn(async move { pool.cancelled(held, true).await });
        }
        self.0.turn();
    }

    async fn cancel(&self) {
        {
            let mut state = self.0.state();
            state.closed = true;
            state.dispatch.resize(0);
            for token in state.dispatch.discard_waiting() {
                state.held.remove(&token);
            }
        }
        let cancelled = self.0.cancel_given(|_| true);
        self.0.turn();
        if !self.0.settings.kind.ends_tasks() && !cancelled.is_empty() {
            self.0.state().kill_all(); // nothing else stops a thread
        }
        for held in cancelled {
            // What is acknowledged late comes again by itself (`celery/worker/consumer/consumer.py`).
            let tell = !held.request.facts.policy.acks_late;
            self.0.cancelled(held, tell).await;
        }
        if tokio::time::timeout(END, self.0.childless()).await.is_err() {
            self.0.state().kill_all();
        }
    }

    fn restart(&self) {
        self.0.restart();
    }

    fn stats(&self) -> PoolStats {
        let (state, kind) = (self.0.state(), self.0.settings.kind);
        let pid = |member: &Member| u32::try_from(member.child.pid()).unwrap_or_default();
        PoolStats {
            implementation: kind.implementation(),
            threads: (kind == Kind::Threads).then(|| state.children.values().map(|member| member.most).sum()),
            processes: state.children.values().map(pid).collect(),
            max_tasks_per_child: self.0.settings.max_tasks_per_child,
            writes: state.writes(),
        }
    }
}

impl State {
    /// What was given to whom (`celery/concurrency/asynpool.py`, `human_write_stats`); shares are of all that ever was.
    fn writes(&self) -> Map {
        let raw: Vec<u64> = self.children.values().map(|member| member.sent).collect();
        let total = self.gone + raw.iter().sum::<u64>();
        let share = |sent: u64| format!("{:.2}", sent as f64 / total.max(1) as f64);
        let average = format!("{:.2}", if total > 0 { 1.0 / raw.len().max(1) as f64 } else { 0.0 });
        let active = self.children.values().filter(|member| !member.running().is_empty()).count();
        let queues =
            Map::from_iter([("total", Value::from(raw.len() as u64)), ("active", (active as u64).into())]);
        Map::from_iter([
            ("total", Value::from(total)),
            ("avg", average.into()),
            ("all", raw.iter().map(|sent| share(*sent)).collect::<Vec<_>>().join(", ").into()),
            ("raw", raw.iter().map(u64::to_string).collect::<Vec<_>>().join(", ").into()),
            ("strategy", "idle first".into()),
            ("inqueues", queues.into()),
        ])
    }

    fn submit(&mut self, held: Held) {
        let facts = &held.request.facts;
        let has_rate = self.has_rates && facts.task.rate().is_some();
        let job = Job {
            name: facts.task.name.as_str().into(),
            soft: facts.policy.soft_time_limit,
            hard: facts.policy.time_limit,
            is_light: !facts.policy.acks_late && !has_rate && facts.body.data.len() <= LIGHT,
        };
        if self.closed {
            return; // the dropped request has given its delivery back
        }
        self.last += 1;
        self.dispatch.submit(self.last, job);
        self.held.insert(self.last, held);
    }

    /// Whether a child runs this job.
    fn runs(&self, id: Id, token: Token) -> bool {
        let member = self.children.get(&id);
        member.is_some_and(|member| member.running().iter().any(|running| running.token == token))
    }

    fn kill_all(&self) {
        for member in self.children.values() {
            let _ = member.child.kill(); // it may have ended by itself
        }
    }
}
