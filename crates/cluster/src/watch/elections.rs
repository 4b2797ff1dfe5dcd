//! Elections through the lead: a candidate tells it that it stands, and it announces to all who won.
//!
//! The lead orders candidates by (clock, `HOSTNAME.PID`) and decides when none has come for half a second. Every worker
//! remembers what was announced for a minute, so that a new lead repeats it. Candidates tell a new lead, and one that
//! says nothing, again, by the same clock: there they are the same candidates.
//!
//! An id is used again when somebody stands who stood in what is decided. Its clock is then past the one by which that
//! was announced; a message that is late is not.
//!
//! Workers that do not listen to the cluster's exchange, Python's and celeriac's with classic gossip, elect by Celery's
//! own messages and do not hear ours: a candidate among them always wins. It waits for as many acks as it knows
//! workers, so the lead acks in the name of each of us; and Python's raises in `sort_heap` when it knows of no other
//! candidate, so the lead publishes a decoy, which cannot win. Both come 0.3 s late on purpose, so that candidates of
//! the same election hear of each other before the first of them has its acks. A lead that is the only one of us has
//! nothing to hold back, as Python's do not need its ack: its decoy goes out at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use celeriac_protocol::clock::LamportClock;
use celeriac_protocol::{Event, Value};

use super::message::{Elected, Key, MAX_CLOCK, MAX_ID, Message, NodeId, Stand};
use super::{Action, WatchError, send};
use poll::Poll;

mod poll;
#[cfg(test)]
mod tests;

/// The clock of a decoy. It is past any that we believe, so that no celeriac worker takes it over, and far from the end
/// of 64 bits, since Python's monitors do.
pub(super) const CANNOT_WIN: u64 = MAX_CLOCK + MAX_CLOCK / 2;
/// Seconds until a candidate tells the lead again.
const RETRY: f64 = 2.0;
/// Seconds until a candidacy is given up, and until a decision is forgotten.
const EXPIRE: f64 = 60.0;
/// The most elections that are kept.
const MAX_ROUNDS: usize = 1_000;
/// The most of them in which we are a candidate: these keep their action.
const MAX_OWN: usize = 100;
/// The most candidates in all of them together.
const MAX_NAMES: usize = 20_000;

/// All elections that are open or were of late.
#[derive(Debug)]
pub(super) struct Elections {
    /// In an order that is the same in each run of a test.
    rounds: BTreeMap<String, Round>,
    /// Whether we led when we were last told.
    leads: bool,
}

/// What elections see of the worker at this moment.
pub(super) struct Scene<'a> {
    /// Our node.
    pub(super) node: NodeId,
    /// Our hostname.
    pub(super) hostname: &'a Arc<str>,
    /// Our process id.
    pub(super) pid: u32,
    /// Our logical clock.
    pub(super) clock: &'a LamportClock,
    /// We lead.
    pub(super) leads: bool,
    /// There is a live lead, ourselves included.
    pub(super) led: bool,
    /// The members that listen to the cluster's exchange, ourselves included: hostnames and process ids.
    pub(super) members: &'a dyn Fn() -> Vec<(Arc<str>, Option<i64>)>,
    /// Whether any member does not.
    pub(super) strangers: bool,
    /// Seconds of the steady clock.
    pub(super) now: f64,
}

/// One election as we see it.
#[derive(Debug)]
struct Round {
    opened: f64,
    own: Option<Own>,
    decision: Option<Decision>,
    /// Who stands, if we lead.
    poll: Option<Poll>,
}

/// Our candidacy, which is not decided.
#[derive(Debug)]
struct Own {
    stand: Stand,
    action: Value,
    since: f64,
    told: f64,
}

/// What was announced last.
#[derive(Debug)]
struct Decision {
    leader: String,
    clock: u64,
    at: f64,
    /// We stood in it.
    stood: bool,
}

impl Elections {
    pub(super) fn new() -> Self {
        Elections { rounds: BTreeMap::new(), leads: false }
    }

    /// We are to be a candidate. When this id was decided already without us, we are asked too late.
    pub(super) fn stand(
        &mut self,
        scene: &Scene<'_>,
        id: String,
        topic: String,
        action: Value,
        actions: &mut Vec<Action>,
    ) {
        if id.len() > MAX_ID {
            return actions.push(Action::Ignored(WatchError::LongId(id.len())));
        }
        if self.rounds.get(&id).is_some_and(|round| round.own.is_some()) {
            return;
        }
        if self.rounds.values().filter(|round| round.own.is_some()).count() >= MAX_OWN {
            return actions.push(Action::Ignored(WatchError::TooManyElections));
        }
        let round = self.rounds.entry(id.clone()).or_insert_with(|| Round::new(scene.now));
        if let Some(decision) = round.decision.as_ref().filter(|decision| !decision.stood) {
            return actions.push(Action::Elected { id, leader: decision.leader.clone(), run: None });
        }
        let stand = Stand {
            node: scene.node,
            id: id.clone(),
            topic,
            clock: scene.clock.forward().min(MAX_CLOCK),
            name: scene.name(),
            again: round.decision.is_some(),
        };
        round.opened = scene.now;
        round.own = Some(Own { stand, action, since: scene.now, told: scene.now });
        self.tell(scene, &id, actions);
        self.trim(actions);
    }

    /// Somebody stands; only the lead acts.
    pub(super) fn on_stand(&mut self, scene: &Scene<'_>, stand: &Stand, actions: &mut Vec<Action>) {
        self.leads = scene.leads;
        if !scene.leads || stand.clock > MAX_CLOCK || stand.id.len() > MAX_ID {
            return;
        }
        // What we announce must be later than all that it decides about.
        scene.clock.adjust(stand.clock);
        let round = self.rounds.entry(stand.id.clone()).or_insert_with(|| Round::new(scene.now));
        if let Some(decision) = &round.decision {
            if !stand.again || stand.clock <= decision.clock {
                let elected = decision.elected(scene.node, &stand.id);
                return match stand.node == scene.node {
                    true => self.conclude(scene, &elected, actions),
                    false => actions.push(send(Key::Node(stand.node), Message::Elected(elected))),
                };
            }
            round.reopen(scene.now);
        }
        let poll = round.poll(scene.now);
        poll.stand(stand, scene.now);
        poll.meet(&stand.id, scene, actions);
        self.trim(actions);
    }

    /// The lead has announced a winner, or has told it to us alone.
    pub(super) fn on_elected(&mut self, scene: &Scene<'_>, elected: &Elected, actions: &mut Vec<Action>) {
        self.leads = scene.leads;
        if elected.id.len() <= MAX_ID {
            scene.clock.adjust(elected.clock);
            self.conclude(scene, elected, actions);
            self.trim(actions);
        }
    }

    /// A `worker-elect` was heard of a worker that does not listen to the cluster's exchange.
    ///
    /// # Errors
    /// When it lacks what Celery asks for.
    pub(super) fn on_candidate(
        &mut self,
        scene: &Scene<'_>,
        event: &Event,
        actions: &mut Vec<Action>,
    ) -> Result<(), WatchError> {
        self.leads = scene.leads;
        let wrong =
            |field| WatchError::Field { kind: "worker-elect", hostname: event.hostname.clone(), field };
        let id = event.fields.get("id").and_then(Value::as_str).filter(|id| id.len() <= MAX_ID);
        let id = id.ok_or_else(|| wrong("id"))?;
        let clock = event.clock.ok_or_else(|| wrong("clock"))?;
        let pid = event.pid.ok_or_else(|| wrong("pid"))?;
        if let Some(field) =
            ["topic", "action", "cver"].into_iter().find(|key| event.fields.get(key).is_none())
        {
            return Err(wrong(field));
        }
        let name = format!("{}.{pid}", event.hostname);
        let round = self.rounds.entry(id.to_owned()).or_insert_with(|| Round::new(scene.now));
        let known = round.poll.as_ref().and_then(|poll| poll.stranger(&name));
        if known == Some(clock) {
            return Ok(());
        }
        if known.is_some() && round.decision.is_some() {
            round.reopen(scene.now);
        }
        let poll = round.poll(scene.now);
        let topic = event.fields.get("topic").and_then(Value::as_str).unwrap_or_default();
        poll.stand_stranger(name, clock, topic, scene.now);
        if scene.leads {
            poll.meet(id, scene, actions);
        }
        self.trim(actions);
        Ok(())
    }

    /// Another leads, perhaps we do, or by another term: candidates that do not know their winner tell again.
    pub(super) fn on_lead(&mut self, scene: &Scene<'_>, actions: &mut Vec<Action>) {
        self.leads = scene.leads;
        for (id, round) in &mut self.rounds {
            let Some(poll) = &mut round.poll else { continue };
            if scene.leads {
                poll.restart(scene.now);
                poll.meet(id, scene, actions);
            } else {
                poll.forget_ours();
            }
        }
        self.tell_where(scene, |_| true, actions);
    }

    /// Decides, acks, tells again and forgets, where that is due.
    pub(super) fn tick(&mut self, scene: &Scene<'_>, actions: &mut Vec<Action>) {
        self.leads = scene.leads;
        if scene.leads {
            self.tick_polls(scene, actions);
        }
        self.tell_where(scene, |own| own.told + RETRY <= scene.now, actions);
        self.rounds.retain(|id, round| {
            if round.own.take_if(|own| own.since + EXPIRE <= scene.now).is_some() {
                actions.push(Action::Expired(id.clone()));
            }
            if round.decision.take_if(|decision| decision.at + EXPIRE <= scene.now).is_some() {
                round.poll = None;
            }
            round.own.is_some() || round.decision.is_some() || round.opened + EXPIRE > scene.now
        });
    }

    /// When [`Elections::tick`] is due, in seconds of the steady clock.
    pub(super) fn next_timeout(&self) -> Option<f64> {
        self.rounds.values().map(|round| round.next_timeout(self.leads)).reduce(f64::min)
    }

    fn tick_polls(&mut self, scene: &Scene<'_>, actions: &mut Vec<Action>) {
        let mut decided = Vec::new();
        for (id, round) in &mut self.rounds {
            let Some(poll) = &mut round.poll else { continue };
            poll.meet(id, scene, actions);
            if poll.decides_at().is_some_and(|due| due <= scene.now) {
                decided.extend(poll.winner().map(|leader| (id.clone(), leader)));
            }
        }
        for (id, leader) in decided {
            let elected =
                Elected { node: scene.node, id, leader, clock: scene.clock.forward().min(MAX_CLOCK) };
            actions.push(send(Key::Change, Message::Elected(elected.clone())));
            self.conclude(scene, &elected, actions);
        }
        // They are as many as members: those of one election at a time.
        let is_due = |poll: &Poll| poll.acks_at().is_some_and(|due| due <= scene.now);
        let mut polls = self.rounds.iter_mut().filter_map(|(id, round)| Some((id, round.poll.as_mut()?)));
        if let Some((id, poll)) = polls.find(|(_, poll)| is_due(poll)) {
            poll.ack(id, scene, actions);
        }
    }

    /// Takes over who won, unless that is older than what we know.
    fn conclude(&mut self, scene: &Scene<'_>, elected: &Elected, actions: &mut Vec<Action>) {
        let round = self.rounds.entry(elected.id.clone()).or_insert_with(|| Round::new(scene.now));
        let own = round.own.take_if(|own| !own.stand.again || elected.clock > own.stand.clock);
        let known = round.decision.take_if(|decision| decision.clock >= elected.clock);
        let stood = own.is_some() || round.own.is_some();
        if let Some(own) = own {
            let run = (elected.leader == own.stand.name).then_some((own.stand.topic, own.action));
            let (id, leader) = (elected.id.clone(), elected.leader.clone());
            actions.push(Action::Elected { id, leader, run });
        }
        if let Some(known) = known {
            round.decision = Some(Decision { stood: known.stood || stood, ..known });
            return;
        }
        round.opened = scene.now;
        let (leader, clock, at) = (elected.leader.clone(), elected.clock, scene.now);
        round.decision = Some(Decision { leader, clock, at, stood });
        if let Some(poll) = &mut round.poll {
            poll.close(scene.leads, scene.now);
        }
    }

    /// Tells the lead of our candidacies, of some of them.
    fn tell_where(&mut self, scene: &Scene<'_>, tells: impl Fn(&Own) -> bool, actions: &mut Vec<Action>) {
        let all = self.rounds.iter().filter(|(_, round)| round.own.as_ref().is_some_and(&tells));
        let all: Vec<_> = all.map(|(id, _)| id.clone()).collect();
        all.iter().for_each(|id| self.tell(scene, id, actions));
    }

    fn tell(&mut self, scene: &Scene<'_>, id: &str, actions: &mut Vec<Action>) {
        let Some(own) = self.rounds.get_mut(id).and_then(|round| round.own.as_mut()) else { return };
        own.told = scene.now;
        let stand = own.stand.clone();
        if scene.leads {
            self.on_stand(scene, &stand, actions);
        } else if scene.led {
            actions.push(send(Key::Lead, Message::Stand(stand)));
        }
    }

    /// Drops the oldest until what is kept is within its bounds, and those that we wait for last.
    fn trim(&mut self, actions: &mut Vec<Action>) {
        let names = |round: &Round| round.poll.as_ref().map_or(0, Poll::names);
        let mut sum: usize = self.rounds.values().map(names).sum();
        while self.rounds.len() > MAX_ROUNDS || sum > MAX_NAMES {
            let age = |round: &Round| (round.own.is_some(), round.opened);
            let oldest = self.rounds.iter().min_by(|(_, one), (_, other)| {
                let (one, other) = (age(one), age(other));
                one.0.cmp(&other.0).then(one.1.total_cmp(&other.1))
            });
            let Some(id) = oldest.map(|(id, _)| id.clone()) else { return };
            let Some(round) = self.rounds.remove(&id) else { return };
            sum -= names(&round);
            actions.extend(round.own.map(|_| Action::Expired(id)));
        }
    }
}

impl Scene<'_> {
    /// Our name as a candidate.
    fn name(&self) -> String {
        format!("{}.{}", self.hostname, self.pid)
    }
}

impl Round {
    fn new(now: f64) -> Self {
        Round { opened: now, own: None, decision: None, poll: None }
    }

    fn poll(&mut self, now: f64) -> &mut Poll {
        let over = self.decision.is_some();
        self.poll.get_or_insert_with(|| Poll::new(over, now))
    }

    /// The id is used again. Who was heard since the decision may have been of the new election already.
    fn reopen(&mut self, now: f64) {
        self.opened = now;
        self.decision = None;
        if let Some(poll) = &mut self.poll {
            poll.reopen(now);
        }
    }

    fn next_timeout(&self, leads: bool) -> f64 {
        let poll = self.poll.as_ref().filter(|_| leads);
        let times = [
            self.own.as_ref().map(|own| (own.told + RETRY).min(own.since + EXPIRE)),
            self.decision.as_ref().map(|decision| decision.at + EXPIRE),
            poll.and_then(Poll::decoy_at),
            poll.and_then(Poll::acks_at),
            poll.and_then(Poll::decides_at),
        ];
        let open = self.own.is_none() && self.decision.is_none();
        let end = if open { self.opened + EXPIRE } else { f64::MAX };
        times.into_iter().flatten().fold(end, f64::min)
    }
}

impl Decision {
    fn elected(&self, node: NodeId, id: &str) -> Elected {
        Elected { node, id: id.to_owned(), leader: self.leader.clone(), clock: self.clock }
    }
}
