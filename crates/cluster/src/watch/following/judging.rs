//! What a lead's beat means: whether it is the next, whom to follow by it, and whether our roster is its own.

use std::cmp::Reverse;

use super::JITTER;
use crate::watch::message::Beat;
use crate::watch::{LEADS, Role, Time, Watch, WatchError};

/// How many beats to others may lie between two that we hear.
const MAX_UNHEARD: u64 = 100_000;
/// How far a term may be ahead.
const JUMP: u64 = 1_000;

/// What to do about a beat.
pub(super) enum Verdict {
    Follow,
    /// We lead, and rather than it.
    Oppose,
    /// We lead: take a higher term.
    Raise,
}

impl Watch {
    /// Beats of one node count up, so that none counts twice, by no more than it may have sent to others between.
    pub(super) fn check_order(&self, beat: &Beat) -> Result<(), WatchError> {
        let last = self.beats.iter().find(|(node, ..)| *node == beat.node);
        let is_next = |last: u64| beat.seq > last && beat.seq <= last + MAX_UNHEARD;
        match last {
            Some((_, _, seq)) if !is_next(*seq) => Err(WatchError::Stale("beat")),
            _ => Ok(()),
        }
    }

    pub(super) fn note(&mut self, beat: &Beat) {
        self.beats.retain(|(node, ..)| *node != beat.node);
        if self.beats.len() >= LEADS {
            self.beats.pop_front();
        }
        self.beats.push_back((beat.node, beat.term, beat.seq));
    }

    /// What a beat of somebody else means. A worker with a live lead goes over to a member of its roster only; a lead
    /// gives way to one, and tells strangers that it is there.
    pub(super) fn judge(&mut self, beat: &Beat, now: Time) -> Result<Verdict, WatchError> {
        let is_known = self.roster.has(&beat.hostname, beat.node);
        let theirs = (beat.term, beat.size, Reverse(beat.node));
        match &self.role {
            Role::Leads(leading) if is_known || !leading.is_established() => {
                if theirs < (self.term, self.roster.len(), Reverse(self.config.node)) {
                    return Ok(Verdict::Oppose);
                }
            }
            Role::Leads(_) if beat.term > self.term.saturating_add(JUMP) => {
                return Err(WatchError::Term(beat.term));
            }
            // Of two that do not hear each other's hearts yet the smaller does not raise, or they outbid each other.
            Role::Leads(_) => {
                let is_larger =
                    (beat.size, Reverse(beat.node)) < (self.roster.len(), Reverse(self.config.node));
                let raises = beat.term >= self.term && (is_larger || self.hearing.is_sure(now.steady));
                return Ok(if raises { Verdict::Raise } else { Verdict::Oppose });
            }
            Role::Follows(following) => {
                let live = following.lead.as_ref().filter(|_| following.is_led(now.steady));
                match live {
                    Some(lead) if lead.node == beat.node && beat.term < self.term => {
                        return Err(WatchError::Stale("beat"));
                    }
                    // It may have raised its term more than once between two beats.
                    Some(lead) if lead.node == beat.node && beat.term - self.term <= JUMP * 10 => {
                        return Ok(Verdict::Follow);
                    }
                    // Before we have a roster we cannot tell who is a stranger.
                    Some(_) if self.synced.is_some() && !is_known => {
                        return Err(WatchError::Stranger("beat"));
                    }
                    Some(lead) if theirs < (self.term, lead.size, Reverse(lead.node)) => {
                        return Err(WatchError::Stale("beat"));
                    }
                    _ => {}
                }
            }
        }
        // One that is far ahead is believed when a member tells it again: two clusters may have met.
        let told = Some((beat.node, beat.term));
        if self.term > 0 && beat.term > self.term.saturating_add(JUMP) && !(is_known && self.jumped == told) {
            self.jumped = told;
            return Err(WatchError::Term(beat.term));
        }
        Ok(Verdict::Follow)
    }

    /// A version that was missed, or another digest, means that the roster must be asked for.
    pub(super) fn compare_roster(&mut self, beat: &Beat, is_new: bool, now: Time) {
        let is_equal = beat.digest == self.roster.digest() && beat.size == self.roster.len();
        // A version that we were told before the lead's own is not of use.
        if is_equal && (is_new || beat.version < self.roster.version()) {
            self.synced = Some((beat.term, beat.node));
            self.roster.set_version(beat.version);
        }
        if !is_new && !is_equal && beat.version < self.roster.version() {
            // What led us past our lead was not its own.
            self.synced = None;
        }
        let is_right = self.is_synced() && is_equal && beat.version <= self.roster.version();
        // Who starts is not one of many that miss the same.
        let pause = self.random.below(if self.roster.is_empty() { JITTER / 10.0 } else { JITTER });
        let Role::Follows(following) = &mut self.role else { return };
        if is_right {
            following.stop_asking();
        } else {
            following.ask_at(now.steady + pause);
        }
    }
}
