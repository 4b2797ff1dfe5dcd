//! Elections, by Celery's own messages.
//!
//! A candidate publishes one `worker-elect`; each worker that hears it publishes one `worker-elect-ack`. The candidate
//! with the smallest (clock, `HOSTNAME.PID`) wins and runs the action. Celery decides after as many acks as it knows
//! workers, whoever sent them, so that two candidates may both win, or none. Here a candidate decides when *each* of
//! them has acked, and each candidate that it has heard of.
//!
//! Why that makes one winner: let W be the smallest. Had W acked this election before it became a candidate, it would
//! have heard another candidate and set its clock past that one's, and so not be the smallest. So its `worker-elect`
//! is the first that it published of this election, and as each channel keeps its order, whoever has an ack of W's has
//! heard that W is a candidate. Everybody waits for an ack of W's before deciding: everybody decides for W. That is
//! why hearing a candidate adjusts the clock, which Celery does not, and why our actions must be published in their
//! order on one channel.
//!
//! What this takes for granted, and how it is kept likely:
//! - W is in the roster of each candidate. If it is in none, it is still heard before anybody decides if its message
//!   takes less than half a second.
//! - What a worker published has come before it counts as lost. A candidate that is gone without an ack of its own is
//!   out, as nobody can have decided for it; one that had acked may win, as somebody may have, and then nobody runs
//!   the action.
//! - Python candidates do not adjust their clocks and decide by their own rule: with them, none is sure.
//!
//! While there are workers that are not celeriac's, ours leave an election to candidates of theirs. Our candidacy is
//! held back until another is heard, which our clock is then past, or for a second; so Python's decide among
//! themselves, as well as they ever do. One of them that decides while it knows itself alone raises in `sort_heap`: our
//! acks are held back until two candidates are heard, or for a second. One that is alone with us decides by its own ack,
//! so it must hear of us before that: then our candidacy is not held back.
//!
//! A worker that is no candidate keeps what it hears just the same for a minute, since it may become one late, even
//! after the decision. An id is used again when somebody stands who has stood already.

use std::collections::HashMap;

use celeriac_protocol::{Map, Value};

use super::members::Members;
use super::round::{Candidacy, Round};
use super::{Action, GossipError};

/// The most elections that are kept.
const MAX_ROUNDS: usize = 1_000;
/// The most of them in which we are a candidate: these keep their action.
const MAX_OWN: usize = 100;
/// The most names in all of them together: two elections of 5,000 candidates.
const MAX_NAMES: usize = 20_000;
/// The most bytes of an election's id.
pub(super) const MAX_ID: usize = 1024;

/// All elections that are open or were of late.
#[derive(Debug)]
pub(super) struct Elections {
    us: Us,
    pub(super) rounds: HashMap<String, Round>,
}

/// Our two names: in the roster, and as a candidate.
#[derive(Debug)]
struct Us {
    hostname: String,
    /// `HOSTNAME.PID`.
    name: String,
}

impl Elections {
    pub(super) fn new(hostname: &str, pid: u32) -> Self {
        let us = Us { hostname: hostname.to_owned(), name: format!("{hostname}.{pid}") };
        Elections { us, rounds: HashMap::new() }
    }

    /// We shall be a candidate. When this id was decided already without us, we hear of it too late to stand.
    pub(super) fn stand(
        &mut self,
        id: String,
        topic: String,
        action: Value,
        members: &Members,
        now: f64,
        actions: &mut Vec<Action>,
    ) {
        if id.len() > MAX_ID {
            return actions.push(Action::Refused(GossipError::LongId(id.len())));
        }
        if self.rounds.get(&id).is_some_and(Round::is_ours) {
            return;
        }
        if self.rounds.values().filter(|round| round.is_ours()).count() >= MAX_OWN {
            return actions.push(Action::Refused(GossipError::TooManyElections));
        }
        let round = self.rounds.entry(id.clone()).or_insert_with(|| Round::new(now));
        round.reopen(now);
        match round.stand(topic, action, now) {
            Ok(()) => self.us.look(&id, round, members, now, actions),
            Err(leader) => actions.push(Action::Elected { id, leader, run: None }),
        }
        self.trim(actions);
    }

    /// A `worker-elect` is heard.
    pub(super) fn on_elect(
        &mut self,
        id: &str,
        hostname: &str,
        candidacy: Candidacy,
        members: &Members,
        now: f64,
        actions: &mut Vec<Action>,
    ) {
        let round = self.rounds.entry(id.to_owned()).or_insert_with(|| Round::new(now));
        round.reopen(now);
        round.add_candidate(hostname, candidacy, members.moment(), now);
        self.us.look(id, round, members, now, actions);
        self.trim(actions);
    }

    /// A `worker-elect-ack` is heard.
    pub(super) fn on_ack(
        &mut self,
        id: &str,
        hostname: &str,
        members: &Members,
        now: f64,
        actions: &mut Vec<Action>,
    ) {
        // One that comes before any candidate is not missed: each worker acks us, too, if we become one.
        let Some(round) = self.rounds.get_mut(id) else { return };
        round.add_ack(hostname);
        self.us.look(id, round, members, now, actions);
        self.trim(actions);
    }

    /// A worker is gone, or has come anew under its old name.
    pub(super) fn on_gone(&mut self, hostname: &str) {
        self.rounds.values_mut().for_each(|round| round.remove_silent(hostname));
    }

    /// Looks at all elections again: time has passed, or the roster has changed.
    pub(super) fn look(&mut self, members: &Members, now: f64, actions: &mut Vec<Action>) {
        self.rounds.retain(|id, round| {
            self.us.look(id, round, members, now, actions);
            let expired = round.is_expired(now);
            if expired && round.is_ours() {
                actions.push(Action::Expired(id.clone()));
            }
            !expired
        });
    }

    /// When to look again, in seconds.
    pub(super) fn next_timeout(&self) -> Option<f64> {
        self.rounds.values().map(Round::next_timeout).reduce(f64::min)
    }

    /// Drops the oldest until what is kept is within its bounds, and those that we wait for last.
    fn trim(&mut self, actions: &mut Vec<Action>) {
        while self.rounds.len() > MAX_ROUNDS
            || self.rounds.values().map(Round::names).sum::<usize>() > MAX_NAMES
        {
            let age = |round: &Round| (round.is_ours(), round.opened());
            let oldest = self.rounds.iter().min_by(|(_, one), (_, other)| {
                let (one, other) = (age(one), age(other));
                one.0.cmp(&other.0).then(one.1.total_cmp(&other.1))
            });
            let Some(id) = oldest.map(|(id, _)| id.clone()) else { return };
            if self.rounds.remove(&id).is_some_and(|round| round.is_ours()) {
                actions.push(Action::Expired(id));
            }
        }
    }
}

impl Us {
    /// Stands, acks and decides, in this order, as far as can be.
    fn look(&self, id: &str, round: &mut Round, members: &Members, now: f64, actions: &mut Vec<Action>) {
        if let Some((topic, action)) = round.take_candidacy(members, now) {
            let fields =
                [("id", id.into()), ("topic", topic.into()), ("action", action), ("cver", Value::Int(1))];
            actions.push(Action::Publish { kind: "worker-elect", fields: Map::from_iter(fields) });
        }
        for _ in 0..round.take_owed(members, now) {
            let fields = Map::from_iter([("id", id.into())]);
            actions.push(Action::Publish { kind: "worker-elect-ack", fields });
        }
        if !round.decide(&self.hostname, members, now) {
            return;
        }
        let run = round.take_proposal(&self.name);
        if let Some(leader) = round.leader.clone().filter(|_| round.stands) {
            actions.push(Action::Elected { id: id.to_owned(), leader, run });
        }
    }
}
