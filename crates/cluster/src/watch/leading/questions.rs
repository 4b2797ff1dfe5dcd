//! What others ask the lead, and what one tells it that has given way.

use std::collections::BTreeSet;
use std::sync::Arc;

use celeriac_protocol::revoked::Revoked;

use super::{PACE, PACE_MAX};
use crate::watch::message::{Key, MAX_MEMBERS, Message, NodeId, Snapshot};
use crate::watch::roster::Member;
use crate::watch::{Action, Role, Time, Watch, WatchError, send};

/// How many questions of a second are answered at once.
const ASKS: usize = 8;
/// The roster is told to all when more than this part of them wait for it.
const FEW: usize = 4;
/// Who beats less often, in seconds, is not heard before others doubt that it is there.
const SLOW: f64 = 2.0;

/// How many questions came within a second.
#[derive(Debug, Default)]
pub(in crate::watch) struct Rate {
    since: f64,
    count: usize,
}

impl Rate {
    /// Whether one more is answered by itself.
    pub(in crate::watch) fn admit(&mut self, now: f64) -> bool {
        if now - self.since >= 1.0 {
            (self.since, self.count) = (now, 0);
        }
        self.count += 1;
        self.count <= ASKS
    }
}

/// Questions for the roster or for revokes.
#[derive(Debug, Default)]
pub(in crate::watch) struct Asks {
    pub(in crate::watch) rate: Rate,
    /// Who waits for the roster.
    waiting: BTreeSet<NodeId>,
    /// Which buckets of revokes are told to all.
    pub(in crate::watch) buckets: Vec<usize>,
    /// Those who wait are not answered before.
    rest: f64,
}

impl Asks {
    pub(super) fn next_timeout(&self) -> f64 {
        if self.waiting.is_empty() && self.buckets.is_empty() {
            f64::MAX
        } else {
            self.rest.max(self.rate.since + 1.0)
        }
    }
}

impl Watch {
    pub(in crate::watch) fn snapshot(&self) -> Snapshot {
        Snapshot {
            node: self.config.node,
            term: self.term,
            version: self.roster.version(),
            members: self.roster.iter().cloned().collect(),
            departures: self.roster.departures().iter().cloned().collect(),
        }
    }

    pub(in crate::watch) fn on_probe(
        &mut self,
        node: NodeId,
        revoked: &Revoked,
        now: Time,
        actions: &mut Vec<Action>,
    ) {
        if self.leads() && self.resumes.is_none() && self.hearing.hears_itself(self.heartbeat(), now) {
            self.beat(Key::Node(node), revoked, now, actions);
        }
    }

    pub(in crate::watch) fn on_ask(&mut self, node: NodeId, now: Time, actions: &mut Vec<Action>) {
        let Role::Leads(leading) = &mut self.role else { return };
        if leading.asks.rate.admit(now.steady) {
            actions.push(send(Key::Node(node), Message::Snapshot(self.snapshot())));
        } else {
            // No more than may be members.
            if leading.asks.waiting.len() < MAX_MEMBERS {
                leading.asks.waiting.insert(node);
            }
        }
    }

    /// At the end of the second the others are answered: all at once when that is less.
    pub(super) fn answer_all(&mut self, revoked: &Revoked, now: Time, actions: &mut Vec<Action>) {
        let Role::Leads(leading) = &mut self.role else { return };
        if leading.asks.next_timeout() > now.steady {
            return;
        }
        let buckets = std::mem::take(&mut leading.asks.buckets);
        let waiting = std::mem::take(&mut leading.asks.waiting);
        if !waiting.is_empty() {
            let size = self.roster.len() as f64;
            leading.asks.rest = now.steady + (size / PACE).min(PACE_MAX);
            let all = waiting.len() * FEW > self.roster.len();
            if all && !leading.pending.is_empty() {
                // Who knows all that was told before needs not read the roster.
                self.tell_pending(now, actions);
            }
            let message = Arc::new(Message::Snapshot(self.snapshot()));
            let keys: Vec<_> =
                if all { vec![Key::Change] } else { waiting.into_iter().map(Key::Node).collect() };
            actions.extend(keys.into_iter().map(|key| Action::Send {
                key,
                message: message.clone(),
                mandatory: false,
            }));
        }
        self.tell_revokes(&buckets, revoked, now, actions);
    }

    /// A lead has given way to us: those of its members who beat slowly may not have told us yet that they are there.
    /// It goes to the end itself.
    pub(in crate::watch) fn on_yield(
        &mut self,
        theirs: &Snapshot,
        now: Time,
        actions: &mut Vec<Action>,
    ) -> Result<(), WatchError> {
        if theirs.node == self.config.node {
            return Ok(());
        }
        let is_known = self.roster.hostname(theirs.node).is_some()
            && self.beats.iter().any(|(node, term, _)| *node == theirs.node && *term == theirs.term);
        let yielded = Some((theirs.node, theirs.term));
        let Role::Leads(leading) = &mut self.role else { return Ok(()) };
        if !is_known || leading.yielded == yielded {
            return Err(WatchError::Stranger("snapshot"));
        }
        leading.yielded = yielded;
        for member in &theirs.members {
            let is_known = self.roster.member(&member.hostname).is_some();
            let is_slow = member.freq > SLOW;
            if is_slow && !is_known && !self.roster.departed(member) {
                self.join(Member::clone(member), now, actions);
                self.note_heard(&member.hostname, now);
            }
        }
        let loser = self.roster.hostname(theirs.node).and_then(|name| self.roster.member(&name).cloned());
        if let Some(loser) = loser.filter(|loser| loser.hostname != self.hostname) {
            self.join(Member::clone(&loser), now, actions);
        }
        Ok(())
    }
}
