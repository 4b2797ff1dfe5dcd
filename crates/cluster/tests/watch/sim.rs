use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use celeriac_cluster::gossip;
use celeriac_cluster::heart::{self, Heart};
use celeriac_cluster::watch::message::{Key, Message, NodeId};
use celeriac_cluster::watch::{Ears, Input};

use super::process::{EPOCH, Kind, Parcel, Process};
use super::reign::Reigns;
use super::{Faults, Random};

/// Seconds for which the others may doubt who stood still or had no connection, after it goes on.
pub const EXCUSE: f64 = 15.0;
/// The shortest time between two ticks of one worker.
const SHORTEST: f64 = 0.01;

/// A cluster over one broker, in virtual time.
pub struct Sim {
    pub seed: u64,
    pub now: f64,
    pub random: Random,
    pub faults: Faults,
    pub processes: Vec<Process>,
    pub settings: Settings,
    pub count: Count,
    pub reigns: Reigns,
    /// What went wrong.
    pub failures: Vec<String>,
    /// What was sent on the cluster's exchange, while somebody records it.
    pub record: Option<Vec<(Key, Arc<Message>)>>,
    /// The processes that hear more than their own mailbox.
    pub listeners: Vec<usize>,
    pub by_name: HashMap<Arc<str>, Vec<usize>>,
    pub by_node: HashMap<NodeId, usize>,
    pub trace: bool,
    agenda: BinaryHeap<Entry>,
    entries: u64,
}

/// How all workers gossip.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub watchers: usize,
    pub beat: f64,
    pub heartbeat: f64,
}

/// Messages so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Count {
    /// Deliveries of heartbeats, other events and cluster messages.
    pub delivered: u64,
    pub published: u64,
    /// Deliveries for elections, among them.
    pub elections: u64,
    pub snapshots: u64,
    pub ticks: u64,
}

struct Entry {
    at: f64,
    number: u64,
    what: What,
}

/// What happens at a moment.
pub enum What {
    Connect(usize),
    Start(usize),
    Tick(usize),
    Heart(usize),
    /// A message reaches the broker.
    Arrive {
        from: Option<(usize, u32)>,
        parcel: Parcel,
        mandatory: bool,
    },
    Deliver {
        to: usize,
        session: u32,
        parcel: Parcel,
    },
    Confirm {
        to: usize,
        session: u32,
        returned: bool,
    },
    Unblock {
        to: usize,
        session: u32,
    },
    /// The queues that it wants are bound.
    Bind {
        process: usize,
        session: u32,
        ears: Ears,
    },
    Listening {
        process: usize,
        session: u32,
    },
    Wake(usize),
    Periodic(usize),
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The earliest is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.total_cmp(&self.at).then(other.number.cmp(&self.number))
    }
}

impl Sim {
    pub fn new(seed: u64, faults: Faults) -> Self {
        Sim {
            seed,
            now: 0.0,
            random: Random::new(seed),
            faults,
            processes: Vec::new(),
            settings: Settings { watchers: 2, beat: 5.0, heartbeat: 2.0 },
            count: Count::default(),
            reigns: Reigns::default(),
            failures: Vec::new(),
            record: None,
            listeners: Vec::new(),
            by_name: HashMap::new(),
            by_node: HashMap::new(),
            trace: std::env::var_os("CELERIAC_SIM_TRACE").is_some(),
            agenda: BinaryHeap::new(),
            entries: 0,
        }
    }

    /// Lets time pass.
    pub fn run(&mut self, seconds: f64) {
        self.run_until(self.now + seconds);
    }

    pub fn run_until(&mut self, end: f64) {
        while self.agenda.peek().is_some_and(|entry| entry.at <= end) {
            let Some(entry) = self.agenda.pop() else { break };
            self.now = self.now.max(entry.at);
            self.happen(entry.what);
        }
        self.now = self.now.max(end);
    }

    pub fn later(&mut self, seconds: f64, what: What) {
        self.at(self.now + seconds, what);
    }

    pub fn at(&mut self, at: f64, what: What) {
        self.entries += 1;
        self.agenda.push(Entry { at, number: self.entries, what });
    }

    /// Processes that run and have a connection.
    pub fn here(&self) -> Vec<usize> {
        (0..self.processes.len()).filter(|process| self.processes[*process].is_here()).collect()
    }

    /// Those of them that lead, by their own word.
    pub fn leads(&self) -> Vec<usize> {
        self.here().into_iter().filter(|process| self.processes[*process].leads()).collect()
    }

    /// Those that watch, the lead first, by the word of the first that leads.
    pub fn watchers(&self) -> Vec<usize> {
        let here = self.here();
        let Some(lead) = here.iter().find(|process| self.processes[**process].leads()) else {
            return Vec::new();
        };
        let Some(watch) = self.processes[*lead].watch() else { return Vec::new() };
        let names = watch.standing().watchers;
        let of =
            |name: &Arc<str>| here.iter().copied().find(|place| self.processes[*place].hostname == *name);
        names.iter().filter_map(of).collect()
    }

    /// Says that something is wrong; only the first things count.
    pub fn fail(&mut self, what: impl std::fmt::Display) {
        if self.trace {
            eprintln!("{:9.3} FAILURE {what}", self.now);
        }
        if self.failures.len() < 5 {
            self.failures.push(format!("seed {} at {:.3}: {what}", self.seed, self.now));
        }
    }

    pub fn note(&self, process: usize, what: &str) {
        if self.trace {
            let process = &self.processes[process];
            eprintln!("{:9.3} {} ({}) {what}", self.now, process.hostname, process.pid);
        }
    }

    /// Hands a worker of our gossip something, and carries out what follows.
    pub fn hand(&mut self, process: usize, input: Input<'_>) {
        let place = process;
        let process = &mut self.processes[place];
        let time = process.time(self.now);
        let Kind::Watch(watch) = &mut process.kind else { return };
        let actions = watch.handle(input, &mut process.revoked, time);
        for action in actions {
            self.carry_out(place, action);
        }
        self.plan_tick(place);
    }

    /// Publishes what a heart says now.
    pub fn beat(&mut self, process: usize, input: heart::Input) {
        let place = process;
        let process = &mut self.processes[place];
        let event = process.beat(input, self.now);
        let due = process.heart.as_ref().and_then(Heart::next_timeout);
        if let Some(due) = due.filter(|due| *due != process.heart_at) {
            process.heart_at = due;
            self.at(due, What::Heart(place));
        }
        if let Some(event) = event {
            self.publish(place, Parcel::Event(Arc::new(event)), false);
        }
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Connect(process) => self.connect(process),
            What::Start(process) if self.processes[process].is_here() => {
                self.beat(process, heart::Input::Start);
            }
            What::Start(_) => {}
            What::Tick(process) => self.tick(process),
            What::Heart(process) => self.heart(process),
            What::Arrive { from, parcel, mandatory } => self.arrive(from, parcel, mandatory),
            What::Deliver { to, session, parcel } => self.deliver(to, session, parcel),
            What::Confirm { to, session, returned } => self.confirm(to, session, returned),
            What::Unblock { to, session } => self.unblock(to, session),
            What::Listening { process, session } => self.listening(process, session),
            What::Bind { process, session, ears } => self.bind(process, session, ears),
            What::Wake(process) => self.wake(process),
            What::Periodic(process) => self.periodic(process),
        }
    }

    pub fn is_session(&self, process: usize, session: u32) -> bool {
        let process = &self.processes[process];
        process.is_here() && process.session == session
    }

    pub fn tick(&mut self, process: usize) {
        let place = process;
        let process = &mut self.processes[place];
        if process.tick_at > self.now || !process.is_here() || process.is_paused {
            return;
        }
        process.tick_at = f64::MAX;
        process.ticks += 1;
        self.count.ticks += 1;
        let now = process.time(self.now);
        match &mut process.kind {
            // The timer was for something that was put off since.
            Kind::Watch(watch) if watch.next_timeout() > now.steady => self.plan_tick(place),
            Kind::Watch(_) => self.hand(place, Input::Tick),
            Kind::Classic(gossip) => {
                let actions = gossip.handle(gossip::Input::Tick, now.wall);
                self.carry_out_classic(place, actions);
                self.plan_tick(place);
            }
            Kind::Python(_) | Kind::Deaf => {}
        }
    }

    pub fn plan_tick(&mut self, process: usize) {
        let place = process;
        let process = &mut self.processes[place];
        if !process.is_here() {
            return;
        }
        let due = match &process.kind {
            Kind::Watch(watch) => watch.next_timeout(),
            Kind::Classic(gossip) => gossip.next_timeout().map_or(f64::MAX, |due| due - EPOCH - process.skew),
            Kind::Python(_) | Kind::Deaf => return,
        };
        if due >= process.tick_at || due == f64::MAX {
            return;
        }
        // Threads wake a little late.
        let at = due.max(self.now + SHORTEST) + 0.003 * self.random.unit();
        if at < process.tick_at {
            process.tick_at = at;
            self.at(at, What::Tick(place));
        }
    }

    fn heart(&mut self, process: usize) {
        let beating = &self.processes[process];
        if beating.heart_at > self.now || !beating.is_here() || beating.is_paused {
            return;
        }
        if self.random.chance(self.faults.stalls) {
            return self.pause(process, 2.2);
        }
        self.beat(process, heart::Input::Tick);
    }

    fn periodic(&mut self, process: usize) {
        let now = self.now;
        if let (true, Kind::Python(python)) =
            (self.processes[process].is_here(), &mut self.processes[process].kind)
        {
            python.periodic(now);
            self.later(5.0, What::Periodic(process));
        }
    }
}
