use std::collections::{HashMap, HashSet};
use std::iter;

use celeriac_protocol::Value;

use super::members::Members;
use crate::due::due;

/// Seconds without a new candidate before a decision: candidates that no roster has, because they send no heartbeats
/// or stalled, are heard in it.
const SETTLE: f64 = 0.5;
/// Seconds to hold back, in favour of Python candidates, our own candidacy while none is heard, and acks while only
/// one is.
const HOLD: f64 = 1.0;
/// Seconds to wait for the acks of members that are no candidates. Who lives and does not answer for so long has its
/// gossip switched off.
const PATIENCE: f64 = 10.0;
/// Seconds until an election that is not decided is given up, and one that is decided is forgotten.
const EXPIRE: f64 = 60.0;

/// One election as we see it.
#[derive(Debug)]
pub(super) struct Round {
    opened: f64,
    /// The moment of the roster when the first candidate was heard.
    moment: Option<u64>,
    /// When the last new candidate was heard, until that has settled.
    settling: Option<f64>,
    is_patient: bool,
    candidates: HashMap<String, Candidacy>,
    acks: HashSet<String>,
    /// One that must still ack, so that most acks are no reason to look at everybody.
    missing: Option<String>,
    owed: usize,
    owed_since: Option<f64>,
    proposal: Option<(String, Value)>,
    /// Since when our candidacy is held back.
    held_since: Option<f64>,
    /// Whether we are, or were, a candidate ourselves.
    pub(super) stands: bool,
    /// Who was elected.
    pub(super) leader: Option<String>,
    /// The last decision on this id, while nobody who took part in that stands again: what is heard now may be late.
    before: Option<Decision>,
}

/// A decision that was made.
#[derive(Debug)]
struct Decision {
    leader: String,
    /// Whether we took part.
    stood: bool,
    /// Who else did.
    hostnames: HashSet<String>,
}

/// Candidates in the order in which they win: clock, then `HOSTNAME.PID`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidacy {
    pub(super) clock: u64,
    pub(super) name: String,
}

impl Round {
    pub(super) fn new(now: f64) -> Self {
        Round {
            opened: now,
            moment: None,
            settling: None,
            is_patient: true,
            candidates: HashMap::new(),
            acks: HashSet::new(),
            missing: None,
            owed: 0,
            owed_since: None,
            proposal: None,
            held_since: None,
            stands: false,
            leader: None,
            before: None,
        }
    }

    /// Begins anew, if there was a decision; of several, the first counts.
    pub(super) fn reopen(&mut self, now: f64) {
        let Some(leader) = self.leader.take() else { return };
        let hostnames = self.candidates.drain().map(|(hostname, _)| hostname).collect();
        let before = Decision { leader, stood: self.stands, hostnames };
        *self = Round { before: Some(self.before.take().unwrap_or(before)), ..Round::new(now) };
    }

    /// Makes us a candidate, unless the decision was made without us: then returns the leader.
    ///
    /// What we publish comes back to us as any candidate's does.
    pub(super) fn stand(&mut self, topic: String, action: Value, now: f64) -> Result<(), String> {
        self.before = self.before.take().filter(|before| !before.stood);
        if let Some(before) = &self.before {
            return Err(before.leader.clone());
        }
        self.stands = true;
        self.proposal = Some((topic, action));
        self.held_since = Some(now);
        Ok(())
    }

    /// A candidate is heard, to which we owe an ack.
    pub(super) fn add_candidate(&mut self, hostname: &str, candidacy: Candidacy, moment: u64, now: f64) {
        self.moment.get_or_insert(moment);
        self.owed += 1;
        self.owed_since.get_or_insert(now);
        self.before = self.before.take().filter(|before| !before.hostnames.contains(hostname));
        if self.candidates.insert(hostname.to_owned(), candidacy).is_none() {
            self.settling = Some(now);
        }
    }

    /// A worker acks one of the candidates.
    pub(super) fn add_ack(&mut self, hostname: &str) {
        if self.leader.is_none() && !self.acks.contains(hostname) {
            self.acks.insert(hostname.to_owned());
        }
    }

    /// A worker is gone. If it has acked, others may have decided for it, so it stays a candidate.
    pub(super) fn remove_silent(&mut self, hostname: &str) {
        if self.leader.is_none() && !self.acks.contains(hostname) {
            self.candidates.remove(hostname);
        }
    }

    /// The topic and action of our candidacy, if it is to be published now.
    pub(super) fn take_candidacy(&mut self, members: &Members, now: f64) -> Option<(String, Value)> {
        let since = self.held_since?;
        let held = !members.are_all_ours() && !members.is_one_stranger();
        if held && self.candidates.is_empty() && !due(since, HOLD, now) {
            return None;
        }
        self.held_since = None;
        self.proposal.clone()
    }

    /// How many acks to publish now.
    pub(super) fn take_owed(&mut self, members: &Members, now: f64) -> usize {
        let held = self.candidates.len() < 2
            && self.leader.is_none()
            && !members.are_all_ours()
            && self.owed_since.is_some_and(|since| !due(since, HOLD, now));
        if held {
            return 0;
        }
        self.owed_since = None;
        std::mem::take(&mut self.owed)
    }

    /// Decides if that can be done now; `true` when it has just been.
    pub(super) fn decide(&mut self, me: &str, members: &Members, now: f64) -> bool {
        if self.leader.is_some() {
            return false;
        }
        self.settling = self.settling.filter(|since| !due(*since, SETTLE, now));
        if self.is_patient && due(self.opened, PATIENCE, now) {
            self.is_patient = false;
            self.missing = None;
        }
        if self.settling.is_some() || !self.is_complete(me, members) {
            return false;
        }
        self.leader = self.candidates.values().min().map(|first| first.name.clone());
        self.acks = HashSet::new();
        self.leader.is_some()
    }

    /// What to run, if we are the one.
    pub(super) fn take_proposal(&mut self, me: &str) -> Option<(String, Value)> {
        let proposal = self.proposal.take();
        proposal.filter(|_| self.leader.as_deref() == Some(me))
    }

    /// Whether we are a candidate and wait for the decision.
    pub(super) fn is_ours(&self) -> bool {
        self.stands && self.leader.is_none()
    }

    pub(super) fn is_expired(&self, now: f64) -> bool {
        due(self.opened, EXPIRE, now)
    }

    pub(super) fn opened(&self) -> f64 {
        self.opened
    }

    /// How many names it keeps.
    pub(super) fn names(&self) -> usize {
        let before = self.before.as_ref().map_or(0, |before| before.hostnames.len());
        self.candidates.len() + self.acks.len() + before
    }

    /// When to look at it again.
    pub(super) fn next_timeout(&self) -> f64 {
        let patience = self.is_patient && self.leader.is_none();
        let times = [
            self.settling.map(|since| since + SETTLE),
            self.held_since.map(|since| since + HOLD),
            self.owed_since.map(|since| since + HOLD),
            patience.then_some(self.opened + PATIENCE),
        ];
        times.into_iter().flatten().fold(self.opened + EXPIRE, f64::min)
    }

    /// Whether everybody who must has acked: we, the candidates, and who was a member when the first was heard.
    fn is_complete(&mut self, me: &str, members: &Members) -> bool {
        let Some(moment) = self.moment else { return false };
        let must = |name: &str| {
            name == me
                || self.candidates.contains_key(name)
                || self.is_patient && members.was_there(name, moment)
        };
        if self.missing.as_deref().is_some_and(|name| must(name) && !self.acks.contains(name)) {
            return false;
        }
        let others = members.since(moment).filter(|_| self.is_patient);
        let mut all = iter::once(me).chain(self.candidates.keys().map(String::as_str)).chain(others);
        self.missing = all.find(|name| !self.acks.contains(*name)).map(str::to_owned);
        self.missing.is_none()
    }
}
