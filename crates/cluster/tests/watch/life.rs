//! How processes begin, end, stand still and lose the broker.

use std::sync::Arc;

use celeriac_cluster::gossip::{self, Gossip};
use celeriac_cluster::heart::{self, Heart};
use celeriac_cluster::watch::message::NodeId;
use celeriac_cluster::watch::{Config, Ears, Input, Time, Watch};
use celeriac_protocol::LamportClock;
use celeriac_protocol::revoked::Revoked;

use super::process::{EPOCH, End, Kind, Process, Role};
use super::python::Python;
use super::sim::{EXCUSE, Sim, What};
use super::told::Told;

impl Sim {
    /// Starts a process; it connects within the next tenth of a second.
    pub fn start(&mut self, hostname: &str, role: Role) -> usize {
        let place = self.processes.len();
        let pid = place as u32 + 1;
        let node = NodeId(self.random.bits());
        let clock = Arc::new(LamportClock::default());
        let skew = self.by_name.get(hostname).map_or(0.0, |same| self.processes[same[0]].skew);
        // Two starts of one name are a millisecond apart at least.
        let incarnation = ((EPOCH + self.now + skew) * 1e3) as u64 + place as u64;
        let kind = match role {
            Role::Watch | Role::Heartless => {
                let config = Config {
                    hostname: hostname.to_owned(),
                    pid,
                    node,
                    incarnation,
                    heartbeat: (role == Role::Watch).then_some(self.settings.heartbeat),
                    watchers: self.settings.watchers,
                    beat: self.settings.beat,
                    seed: self.random.bits(),
                };
                let now = Time { steady: self.now, wall: EPOCH + self.now + skew };
                Kind::Watch(Box::new(Watch::new(config, clock.clone(), now)))
            }
            Role::Classic => {
                let config = gossip::Config::new(hostname, pid);
                Kind::Classic(Box::new(Gossip::new(config, clock.clone(), EPOCH + self.now + skew)))
            }
            Role::Python => Kind::Python(Box::new(Python::new(hostname, pid))),
            Role::Deaf => Kind::Deaf,
        };
        let heart = Heart::new(self.settings.heartbeat, incarnation);
        let heart = match role {
            Role::Heartless => None,
            Role::Watch => Some(heart.with_node(node)),
            Role::Classic | Role::Deaf | Role::Python => Some(heart),
        };
        let hostname: Arc<str> = hostname.into();
        self.by_name.entry(hostname.clone()).or_default().push(place);
        self.by_node.insert(node, place);
        self.processes.push(Process {
            hostname,
            pid,
            node,
            role,
            kind,
            skew,
            started: self.now,
            ended: None,
            is_connected: false,
            is_paused: false,
            session: 0,
            ears: Ears::default(),
            wanted: Ears::default(),
            heart,
            clock,
            revoked: Revoked::default(),
            backlog: Default::default(),
            lag: 0.0,
            excused_until: 0.0,
            tick_at: f64::MAX,
            heart_at: f64::MAX,
            ticks: 0,
            sent_until: 0.0,
            mailbox_until: 0.0,
            events_until: 0.0,
            told: Told::default(),
            heard: Vec::new(),
            outcomes: Vec::new(),
            expired: Vec::new(),
            follows: None,
            twins: 0,
            drifts: Vec::new(),
            ignored: 0,
        });
        let wait = self.random.between(0.0, 0.1);
        self.later(wait, What::Connect(place));
        place
    }

    /// So many workers, named `PREFIX0@h` and on.
    pub fn start_many(&mut self, count: usize, prefix: &str, role: Role) {
        for number in 0..count {
            self.start(&format!("{prefix}{number}@h"), role);
        }
    }

    /// As [`Sim::start_many`], each at a moment of the next seconds.
    pub fn start_within(&mut self, seconds: f64, count: usize, prefix: &str, role: Role) {
        let mut moments: Vec<f64> = (0..count).map(|_| self.random.between(0.0, seconds)).collect();
        moments.sort_by(f64::total_cmp);
        let begin = self.now;
        for (number, moment) in moments.into_iter().enumerate() {
            self.run_until(begin + moment);
            self.start(&format!("{prefix}{number}@h"), role);
        }
    }

    /// SIGKILL.
    pub fn crash(&mut self, process: usize) {
        self.note(process, "crashes");
        self.disconnect(process);
        self.processes[process].ended = Some((self.now, End::Crashed));
    }

    /// A clean end: says that it goes.
    pub fn stop(&mut self, process: usize) {
        self.note(process, "stops");
        if self.processes[process].is_paused {
            self.wake(process);
        }
        self.leave(process);
        self.disconnect(process);
        self.processes[process].ended = Some((self.now, End::Stopped));
    }

    /// SIGSTOP, and SIGCONT so many seconds later.
    pub fn pause(&mut self, process: usize, seconds: f64) {
        self.note(process, "stands still");
        let paused = &mut self.processes[process];
        if paused.is_paused || !paused.is_alive() {
            return;
        }
        paused.is_paused = true;
        if seconds > 2.3 {
            paused.excused_until = paused.excused_until.max(self.now + seconds + EXCUSE);
        }
        self.later(seconds, What::Wake(process));
    }

    /// The connection breaks, and is back so many seconds later.
    pub fn cut(&mut self, process: usize, seconds: f64) {
        self.note(process, "loses the broker");
        if !self.processes[process].is_here() {
            return;
        }
        self.disconnect(process);
        let cut = &mut self.processes[process];
        cut.excused_until = cut.excused_until.max(self.now + seconds + EXCUSE);
        self.later(seconds, What::Connect(process));
    }

    /// The connection that it consumes by breaks; on its other one it says before that goes too that it is offline.
    pub fn part(&mut self, process: usize, seconds: f64) {
        if !self.processes[process].is_here() {
            return;
        }
        self.leave(process);
        self.cut(process, seconds);
    }

    fn leave(&mut self, process: usize) {
        self.beat(process, heart::Input::Stop);
        if let Kind::Watch(_) = self.processes[process].kind {
            self.hand(process, Input::Leaving);
        }
    }

    pub fn connect(&mut self, process: usize) {
        let place = process;
        let process = &mut self.processes[place];
        if !process.is_alive() || process.is_connected {
            return;
        }
        process.session += 1;
        process.is_connected = true;
        let wall = process.time(self.now).wall;
        match &mut process.kind {
            Kind::Watch(_) => self.hand(place, Input::Connected(None)),
            Kind::Classic(gossip) => {
                gossip.resume(wall);
                self.listeners.push(place);
                self.plan_tick(place);
            }
            Kind::Python(_) => {
                self.listeners.push(place);
                self.later(5.0, What::Periodic(place));
            }
            Kind::Deaf => {}
        }
        self.note(place, "is connected");
        // The heart starts after gossip has.
        let wait = self.random.between(0.001, 0.05);
        self.later(wait, What::Start(place));
    }

    fn disconnect(&mut self, process: usize) {
        self.listeners.retain(|listener| *listener != process);
        let process = &mut self.processes[process];
        process.is_connected = false;
        process.is_paused = false;
        process.ears = Ears::default();
        process.wanted = Ears::default();
        process.backlog.clear();
        process.tick_at = f64::MAX;
        process.heart_at = f64::MAX;
    }

    /// It goes on: by its timers first, or by what has come first.
    pub fn wake(&mut self, process: usize) {
        if !std::mem::take(&mut self.processes[process].is_paused) {
            return;
        }
        self.note(process, "goes on");
        let timers_first = self.random.chance(0.5);
        for timers in [timers_first, !timers_first] {
            if timers {
                self.tick(process);
                self.beat(process, heart::Input::Tick);
            } else {
                let backlog = std::mem::take(&mut self.processes[process].backlog);
                for parcel in backlog {
                    self.take(process, &parcel);
                }
            }
        }
        self.plan_tick(process);
    }
}
