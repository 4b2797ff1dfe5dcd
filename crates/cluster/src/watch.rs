//! Gossip at linear cost: every worker sends Celery's heartbeats, a few *watchers* listen to them, and one of these, the
//! *lead*, tells all what changed.
//!
//! The driver opens a mailbox on the cluster's exchange, bound to `all.*` and our own `node.<id>`, and hands
//! in what comes: messages, and, while we watch, the events of all workers. It carries the [`Action`]s out in their
//! order. What is said, to whom and by which key is [`message`]'s.

mod action;
mod change;
mod elections;
mod events;
mod following;
mod hearing;
mod leading;
pub mod message;
mod random;
pub mod revokes;
pub mod roster;
mod sync;
mod told;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use celeriac_protocol::clock::LamportClock;
use celeriac_protocol::revoked::Revoked;

pub use action::{Action, Ears, Input, Standing, WatchError};

use crate::state::Worker;
use elections::{Elections, Scene};
use following::Following;
use hearing::Hearing;
use leading::Leading;
use message::{Beat, Key, Message, NodeId};
use random::Random;
use revokes::Exchange;
use roster::Roster;
use told::Told;

/// How late a tick may be before we doubt what we know, in seconds.
const STALL: f64 = 1.0;
/// Seconds after a stall in which what came meanwhile is heard before anything is done.
const CATCH_UP: f64 = 0.2;
/// Seconds after our own reconnect in which nobody is called lost: others reconnect as well.
const GRACE: f64 = 15.0;
/// How many leads are remembered by their beats.
const LEADS: usize = 16;

/// Now, by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Time {
    /// Seconds of a clock that is never set; all deadlines are of it.
    pub steady: f64,
    /// Seconds since 1970, by which events and revokes are stamped.
    pub wall: f64,
}

/// Who we are, and how we gossip.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Our node's name.
    pub hostname: String,
    /// Our process id.
    pub pid: u32,
    /// Our name on the cluster's exchange, random.
    pub node: NodeId,
    /// Our start, in milliseconds since 1970, as our heartbeats tell it.
    pub incarnation: u64,
    /// Seconds between our heartbeats; without any we are no member, and never watch.
    pub heartbeat: Option<f64>,
    /// How many watch, the lead included.
    pub watchers: usize,
    /// Seconds between two beats of ours, if we lead.
    pub beat: f64,
    /// What our random pauses start from.
    pub seed: u64,
}

/// A worker's gossip.
#[derive(Debug)]
pub struct Watch {
    config: Config,
    hostname: Arc<str>,
    clock: Arc<LamportClock>,
    random: Random,
    roster: Roster,
    /// The term and the lead whose roster ours was last.
    synced: Option<(u64, NodeId)>,
    told: Told,
    term: u64,
    /// The highest term that we took part in.
    top: u64,
    /// Counts our beats.
    seq: u64,
    role: Role,
    /// What was asked for by [`Action::Listen`].
    ears: Ears,
    hearing: Hearing,
    elections: Elections,
    /// The last beat of the last leads: term and sequence.
    beats: VecDeque<(NodeId, u64, u64)>,
    /// Whose term was too far ahead to be believed at once.
    jumped: Option<(NodeId, u64)>,
    /// How many beats in a row told of other revokes than ours.
    strikes: u32,
    /// The digests that were compared last, the lead's and ours, and how often already.
    compared: ((u64, u64), u32),
    /// Revokes are compared with the lead's then.
    compare: Option<f64>,
    exchange: Option<Exchange>,
    /// The digest of our revokes, and when it was made.
    digest: Option<(f64, u64)>,
    /// Told names that two workers have.
    twins: HashSet<Arc<str>>,
    crowd_told: bool,
    /// We said that we go.
    retired: bool,
    /// After a stall: when things go on.
    resumes: Option<f64>,
    /// Nobody is called lost before.
    grace: f64,
    /// Who was said to lead, and in which term.
    followed: Option<(NodeId, u64)>,
    /// When something happened last.
    now: Time,
}

#[derive(Debug)]
enum Role {
    Follows(Following),
    Leads(Box<Leading>),
}

impl Watch {
    /// A worker that has heard nobody yet. `clock` is the one by which its events are stamped.
    pub fn new(config: Config, clock: Arc<LamportClock>, now: Time) -> Self {
        Watch {
            hostname: config.hostname.as_str().into(),
            random: Random::new(config.seed),
            clock,
            roster: Roster::default(),
            synced: None,
            told: Told::default(),
            term: 0,
            top: 0,
            seq: 0,
            role: Role::Follows(Following::new(now.steady, config.beat)),
            ears: Ears::default(),
            hearing: Hearing::default(),
            elections: Elections::new(),
            beats: VecDeque::new(),
            jumped: None,
            strikes: 0,
            compared: Default::default(),
            compare: None,
            exchange: None,
            digest: None,
            twins: HashSet::new(),
            crowd_told: false,
            retired: false,
            resumes: None,
            grace: now.steady,
            followed: None,
            now,
            config,
        }
    }

    /// What to do now that something has happened. `revoked` is what this worker knows to be revoked; what others tell
    /// is added to it.
    pub fn handle(&mut self, input: Input<'_>, revoked: &mut Revoked, now: Time) -> Vec<Action> {
        let mut actions = Vec::new();
        self.now = now;
        if now.steady - self.next_timeout() > STALL {
            self.stall(now);
        }
        match input {
            Input::Connected(heard) => self.on_connected(heard, revoked, now, &mut actions),
            Input::Listening => self.hearing.start(now),
            Input::Event(event) => self.on_event(event, revoked, now, &mut actions),
            Input::Message(message) => self.on_message(message, revoked, now, &mut actions),
            Input::Returned => self.on_returned(revoked, now, &mut actions),
            Input::Accepted => self.on_accepted(now),
            Input::Unblocked => self.on_unblocked(now),
            Input::Tick => {}
            Input::Leaving => self.on_leaving(now, &mut actions),
            Input::Election { id, topic, action } => {
                self.elect(now, &mut actions, |elections, scene, actions| {
                    elections.stand(scene, id, topic, action, actions);
                });
            }
        }
        self.tick(revoked, now, &mut actions);
        actions
    }

    /// When [`Input::Tick`] is due, in seconds of the steady clock.
    pub fn next_timeout(&self) -> f64 {
        if let Some(resumes) = self.resumes {
            return resumes;
        }
        let role = match &self.role {
            Role::Follows(following) => following.next_timeout(!self.retired),
            Role::Leads(leading) => leading.next_timeout(),
        };
        let others = [self.told.next_timeout(), self.compare.unwrap_or(f64::MAX)];
        let elections = self.elections.next_timeout().unwrap_or(f64::MAX);
        others.into_iter().fold(role.min(elections), f64::min)
    }

    /// The members of the roster, ourselves apart, in the order of their numbers.
    pub fn members(&self) -> impl Iterator<Item = Worker> {
        let others = self.roster.iter().filter(|member| member.hostname != self.hostname);
        others.map(|member| member.to_worker(self.now.wall))
    }

    /// The roster, ourselves included.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// What we know of the cluster as a whole.
    pub fn standing(&self) -> Standing {
        let (lead, watchers) = match &self.role {
            Role::Follows(following) => following.lead_and_watchers(&self.roster),
            Role::Leads(leading) => {
                let others = leading.watchers.iter().filter_map(|node| self.roster.hostname(*node));
                (Some(self.hostname.clone()), std::iter::once(self.hostname.clone()).chain(others).collect())
            }
        };
        Standing {
            lead,
            leads: self.leads(),
            term: self.term,
            version: self.roster.version(),
            digest: self.roster.digest(),
            watchers,
            size: self.roster.len(),
        }
    }

    fn leads(&self) -> bool {
        matches!(self.role, Role::Leads(_))
    }

    /// Seconds between our own heartbeats.
    fn heartbeat(&self) -> f64 {
        let interval = self.config.heartbeat.unwrap_or(crate::heart::INTERVAL);
        interval.clamp(*roster::FREQS.start(), *roster::FREQS.end())
    }

    /// Whether we may watch and lead.
    fn can_watch(&self) -> bool {
        self.config.heartbeat.is_some() && !self.retired
    }

    /// We did nothing for a while, or could say nothing: what we know may be over.
    fn stall(&mut self, now: Time) {
        self.resumes = Some(now.steady + CATCH_UP);
    }

    /// What we or others had to say has waited: the silence of others begins now. A question that is under way has its
    /// own time.
    fn on_unblocked(&mut self, now: Time) {
        match &mut self.role {
            Role::Follows(following) => following.calm(now.steady),
            Role::Leads(_) if self.resumes.is_none() => self.stall(now),
            Role::Leads(_) => {}
        }
    }

    fn on_connected(
        &mut self,
        heard: Option<&Beat>,
        revoked: &Revoked,
        now: Time,
        actions: &mut Vec<Action>,
    ) {
        let is_first = self.term == 0;
        self.retired = false;
        self.resumes = None;
        self.ears = Ears::default();
        self.hearing.stop();
        self.exchange = None;
        self.role = Role::Follows(Following::new(now.steady, self.config.beat));
        if !is_first {
            self.grace = now.steady + GRACE;
        }
        if let Some(beat) = heard {
            let followed = self.on_beat(beat, revoked, now, actions);
            actions.extend(followed.err().map(Action::Ignored));
        }
        if self.term == 0 {
            self.probe(now, actions);
        }
    }

    fn tick(&mut self, revoked: &mut Revoked, now: Time, actions: &mut Vec<Action>) {
        if let Some(resumes) = self.resumes {
            if now.steady < resumes {
                return;
            }
            self.resumes = None;
            self.hearing.restart(now.steady);
            match &mut self.role {
                Role::Follows(following) => following.restart(now.steady, self.term == 0),
                Role::Leads(leading) => leading.restart(now.steady),
            }
        }
        match self.role {
            Role::Follows(_) => self.tick_following(revoked, now, actions),
            Role::Leads(_) => self.tick_leading(revoked, now, actions),
        }
        if self.told.next_timeout() <= now.steady {
            self.tell_doubted(now, actions);
        }
        if self.elections.next_timeout().is_some_and(|due| due <= now.steady) {
            self.elect(now, actions, |elections, scene, actions| elections.tick(scene, actions));
        }
    }

    fn on_message(&mut self, message: &Message, revoked: &mut Revoked, now: Time, actions: &mut Vec<Action>) {
        let mut result = Ok(());
        match message {
            Message::Beat(beat) => result = self.on_beat(beat, revoked, now, actions),
            Message::Change(change) => result = self.on_change(change, now, actions),
            Message::Snapshot(snapshot) if self.leads() => result = self.on_yield(snapshot, now, actions),
            Message::Snapshot(snapshot) => result = self.on_snapshot(snapshot, now, actions),
            Message::Ask { node } => self.on_ask(*node, now, actions),
            Message::Probe { node } => self.on_probe(*node, revoked, now, actions),
            Message::Compare(compare) => self.on_compare(compare, revoked, now, actions),
            Message::Revokes(page) => self.on_page(page, revoked, now, actions),
            Message::Delta { ids } => self.on_delta(ids, revoked, now, actions),
            Message::Stand(stand) => self.elect(now, actions, |elections, scene, actions| {
                elections.on_stand(scene, stand, actions);
            }),
            Message::Elected(elected) => result = self.on_elected(elected, now, actions),
        }
        actions.extend(result.err().map(Action::Ignored));
    }

    fn on_elected(
        &mut self,
        elected: &message::Elected,
        now: Time,
        actions: &mut Vec<Action>,
    ) -> Result<(), WatchError> {
        let from_lead = match &self.role {
            Role::Follows(following) => following.is_led_by(elected.node),
            Role::Leads(_) => elected.node == self.config.node,
        };
        if !from_lead {
            return Err(WatchError::Stranger("elected"));
        }
        self.clock.adjust(elected.clock);
        self.elect(now, actions, |elections, scene, actions| elections.on_elected(scene, elected, actions));
        Ok(())
    }

    /// Has the elections do something.
    fn elect<T>(
        &mut self,
        now: Time,
        actions: &mut Vec<Action>,
        act: impl FnOnce(&mut Elections, &Scene<'_>, &mut Vec<Action>) -> T,
    ) -> T {
        let roster = &self.roster;
        let members = || {
            let listening = roster.iter().filter(|member| member.node.is_some());
            listening.map(|member| (member.hostname.clone(), member.pid)).collect()
        };
        let scene = Scene {
            node: self.config.node,
            hostname: &self.hostname,
            pid: self.config.pid,
            clock: &self.clock,
            leads: matches!(self.role, Role::Leads(_)),
            led: match &self.role {
                Role::Follows(following) => following.is_led(now.steady),
                Role::Leads(_) => true,
            },
            members: &members,
            strangers: roster.has_strangers(),
            now: now.steady,
        };
        act(&mut self.elections, &scene, actions)
    }

    /// Asks for other ears, if it has others.
    fn listen(&mut self, ears: Ears, actions: &mut Vec<Action>) {
        if self.ears != ears {
            if !ears.events {
                self.hearing.stop();
            }
            self.ears = ears;
            actions.push(Action::Listen(ears));
        }
    }

    /// Says who leads, once.
    fn follows(&mut self, node: NodeId, hostname: &Arc<str>, actions: &mut Vec<Action>) {
        let followed = Some((node, self.term));
        if self.followed != followed {
            self.followed = followed;
            actions.push(Action::Follows { lead: hostname.clone(), term: self.term });
        }
    }
}

fn send(key: Key, message: Message) -> Action {
    Action::Send { key, message: Arc::new(message), mandatory: false }
}
