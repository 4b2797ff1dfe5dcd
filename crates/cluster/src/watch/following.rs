//! A worker that follows a lead, or looks for one.

mod judging;

use std::sync::Arc;

use celeriac_protocol::revoked::Revoked;

use super::leading::Leading;
use super::message::{Beat, Key, MAX_COUNT, Message, NodeId};
use super::roster::Roster;
use super::told::HOLD;
use super::{Action, Ears, Role, Time, Watch, WatchError, send};
use judging::Verdict;

/// A lead is silent when no beat came for so many of its intervals.
const SILENCE: f64 = 1.2;
/// Seconds that are more than a rounding error.
const LOOSE: f64 = 0.1;
/// Seconds in which a lead must answer a probe that the broker has taken.
const ANSWER: f64 = 1.0;
/// How many times as long as the probe took to the broker its answer may take.
const ROUND: f64 = 3.0;
/// Seconds that a broker has to take it: where nothing can be said, nobody can lead.
const TAKEN: f64 = 10.0;
/// Seconds that one who has heard no lead at its start waits at most before it leads.
const ALONE: f64 = 3.0;
/// Seconds that one who is no member yet waits longer than others, at most.
const UNKNOWN: f64 = 3.0;
/// Seconds of pause before a snapshot is asked for, at most.
pub(super) const JITTER: f64 = 2.0;
/// Whom a worker follows.
#[derive(Debug)]
pub(super) struct Following {
    lead: Option<Lead>,
    /// When it beat last, or when we began to listen.
    heard: f64,
    interval: f64,
    seek: Seek,
    /// When we asked last if it is there, and whether the broker has handed that on.
    asked: f64,
    taken: bool,
    /// When to ask for a snapshot.
    ask: Option<f64>,
    /// Until then nobody is told of those that are absent from the lead's roster.
    pub(super) hold: f64,
}

#[derive(Debug)]
struct Lead {
    node: NodeId,
    hostname: Arc<str>,
    size: usize,
    sure: bool,
    watchers: Vec<NodeId>,
}

/// How far we are with finding a lead that is silent.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Seek {
    /// It is not silent yet.
    No,
    /// It is our turn then to ask if it is there.
    Ask(f64),
    /// We have asked, and wait for the answer until then.
    Asked(f64),
    /// There was no lead when we started: we ask once more then.
    Claim(f64),
    /// We have, and wait for the answer until then.
    Sure(f64),
}

impl Following {
    pub(super) fn new(now: f64, interval: f64) -> Self {
        Following {
            lead: None,
            heard: now,
            interval,
            seek: Seek::No,
            asked: now,
            taken: false,
            ask: None,
            hold: 0.0,
        }
    }

    /// The lead's silence begins now; one that has not heard of any asks again.
    pub(super) fn restart(&mut self, now: f64, is_new: bool) {
        self.heard = now;
        self.seek = if is_new { Seek::Ask(now) } else { Seek::No };
    }

    /// The lead's silence begins now; whoever asks goes on.
    pub(super) fn calm(&mut self, now: f64) {
        self.heard = now;
        if matches!(self.seek, Seek::Ask(_)) && self.lead.is_some() {
            self.seek = Seek::No;
        }
    }

    /// The lead has said that it goes: its silence needs not be waited for.
    pub(super) fn abandoned(&mut self, now: f64) {
        self.heard = now - self.interval * SILENCE - LOOSE;
        self.ask = None;
    }

    pub(super) fn next_timeout(&self, seeks: bool) -> f64 {
        let seek = match self.seek {
            _ if !seeks => f64::MAX,
            Seek::No => self.heard + self.interval * SILENCE,
            Seek::Ask(until) | Seek::Asked(until) | Seek::Claim(until) | Seek::Sure(until) => until,
        };
        seek.min(self.ask.unwrap_or(f64::MAX))
    }

    /// Whether its lead is not silent.
    pub(super) fn is_led(&self, now: f64) -> bool {
        self.lead.is_some() && now - self.heard < self.interval * SILENCE
    }

    /// Whether its lead knows who is there.
    pub(super) fn is_led_surely(&self, now: f64) -> bool {
        self.is_led(now) && self.lead.as_ref().is_some_and(|lead| lead.sure)
    }

    pub(super) fn is_led_by(&self, node: NodeId) -> bool {
        self.lead.as_ref().is_some_and(|lead| lead.node == node)
    }

    /// The lead, when it is this worker and named that node to follow it.
    pub(super) fn is_second(&self, lead: &str, node: NodeId) -> bool {
        self.lead
            .as_ref()
            .is_some_and(|known| &*known.hostname == lead && known.watchers.get(1) == Some(&node))
    }

    /// Something of the roster is missing: ask for it soon.
    pub(super) fn ask_at(&mut self, moment: f64) {
        self.ask.get_or_insert(moment);
    }

    /// Whether a snapshot is wanted.
    pub(super) fn asks(&self) -> bool {
        self.ask.is_some()
    }

    pub(super) fn stop_asking(&mut self) {
        self.ask = None;
    }

    pub(super) fn lead_and_watchers(&self, roster: &Roster) -> (Option<Arc<str>>, Vec<Arc<str>>) {
        let Some(lead) = &self.lead else { return (None, Vec::new()) };
        let watchers = lead.watchers.iter().filter_map(|node| roster.hostname(*node));
        (Some(lead.hostname.clone()), watchers.collect())
    }
}

/// Only forgers come to the last: it is for all who lead then, as are terms that two happen to share.
fn next_term(term: u64) -> u64 {
    MAX_COUNT.min(term + 1)
}

impl Watch {
    /// Asks if there is a lead.
    pub(super) fn probe(&mut self, now: Time, actions: &mut Vec<Action>) {
        let Role::Follows(following) = &mut self.role else { return };
        following.seek = Seek::Asked(now.steady + TAKEN);
        (following.asked, following.taken) = (now.steady, false);
        let message = Arc::new(Message::Probe { node: self.config.node });
        actions.push(Action::Send { key: Key::Lead, message, mandatory: true });
    }

    /// The broker has handed on our question. One that is slow is as slow with the answer.
    pub(super) fn on_accepted(&mut self, now: Time) {
        let Role::Follows(following) = &mut self.role else { return };
        let answered = now.steady + ANSWER.max(ROUND * (now.steady - following.asked));
        match &mut following.seek {
            Seek::Asked(until) | Seek::Sure(until) => *until = answered,
            Seek::No | Seek::Ask(_) | Seek::Claim(_) => return,
        }
        following.taken = true;
    }

    /// There is no lead.
    pub(super) fn on_returned(&mut self, revoked: &Revoked, now: Time, actions: &mut Vec<Action>) {
        let can_watch = self.can_watch();
        let Role::Follows(following) = &mut self.role else { return };
        if !matches!(following.seek, Seek::Asked(_) | Seek::Sure(_)) || self.resumes.is_some() {
            return;
        }
        if !can_watch {
            following.restart(now.steady, false);
        } else if self.term == 0 && !matches!(following.seek, Seek::Sure(_)) {
            // A thousand that start together do not all lead.
            following.seek = Seek::Claim(now.steady + self.random.below(ALONE));
        } else {
            self.claim(revoked, now, actions);
        }
    }

    pub(super) fn tick_following(&mut self, revoked: &mut Revoked, now: Time, actions: &mut Vec<Action>) {
        let can_watch = self.can_watch();
        let seeks = !self.retired;
        let Role::Follows(following) = &mut self.role else { return };
        if following.ask.is_some_and(|due| due <= now.steady) {
            following.ask = Some(now.steady + JITTER + self.random.below(JITTER));
            actions.push(send(self.lead_key(), Message::Ask { node: self.config.node }));
        }
        if self.compare.is_some_and(|due| due <= now.steady) {
            self.compare(revoked, now, actions);
        }
        let Role::Follows(following) = &mut self.role else { return };
        if !seeks || following.next_timeout(true) > now.steady {
            return;
        }
        match following.seek {
            Seek::No if now.steady - following.heard >= following.interval * SILENCE => {
                let silent = following.lead.as_ref().map(|lead| lead.node);
                // The first ranks take their turns; the many others must not all come at once if these do not, nor
                // before a broker has told so many of who did.
                let size = self.roster.len() as f64;
                let last = 2.0 + (size / 200.0).min(4.0) + self.random.below((size / 50.0).max(2.0));
                let pause = match self.roster.member(&self.hostname) {
                    Some(_) if can_watch => last.min(0.3 * self.roster.rank(&self.hostname, silent) as f64),
                    Some(_) => last,
                    // Nobody knows us yet, nor we how many there are.
                    None => last + self.random.below(UNKNOWN),
                };
                following.seek = Seek::Ask(now.steady + pause);
                self.tick_following(revoked, now, actions);
            }
            Seek::Ask(until) if until <= now.steady => self.probe(now, actions),
            // There is a lead that does not answer. Those who know its term take its place before us.
            Seek::Asked(until)
                if until <= now.steady && (self.term == 0 || !can_watch || !following.taken) =>
            {
                following.restart(now.steady, false);
            }
            Seek::Asked(until) if until <= now.steady => self.claim(revoked, now, actions),
            Seek::Claim(until) if until <= now.steady => {
                self.probe(now, actions);
                if let Role::Follows(following) = &mut self.role {
                    following.seek = Seek::Sure(now.steady + TAKEN);
                }
            }
            Seek::Sure(until) if until <= now.steady => following.restart(now.steady, false),
            _ => {}
        }
    }

    /// Leads from now on. One that watches already takes over at once, others listen first.
    pub(super) fn claim(&mut self, revoked: &Revoked, now: Time, actions: &mut Vec<Action>) {
        self.term = next_term(self.top);
        self.top = self.term;
        // What versions were told in older terms, true or not, is over.
        self.roster.set_version(0);
        self.synced = Some((self.term, self.config.node));
        self.compare = None;
        self.exchange = None;
        self.hearing.restart(now.steady);
        self.join_myself();
        self.told.hold(now.steady + HOLD);
        let watched = self.ears.events;
        let leading = Leading::new(now.steady, watched, &self.config, &self.roster);
        self.role = Role::Leads(Box::new(leading));
        self.choose_watchers(now);
        if watched {
            self.listen(Ears { events: true, watchers: true, lead: true }, actions);
        }
        self.follows(self.config.node, &self.hostname.clone(), actions);
        self.beat(Key::Beat, revoked, now, actions);
        self.elect(now, actions, |elections, scene, actions| elections.on_lead(scene, actions));
    }

    pub(super) fn on_beat(
        &mut self,
        beat: &Beat,
        revoked: &Revoked,
        now: Time,
        actions: &mut Vec<Action>,
    ) -> Result<(), WatchError> {
        if beat.node == self.config.node {
            self.on_echo(beat, now, actions);
            return Ok(());
        }
        self.check_order(beat)?;
        let verdict = self.judge(beat, now)?;
        self.note(beat);
        self.clock.adjust(beat.clock);
        match verdict {
            Verdict::Follow => self.follow(beat, revoked, now, actions),
            Verdict::Oppose => self.beat_soon(now),
            Verdict::Raise => {
                self.term = next_term(beat.term);
                self.top = self.top.max(self.term);
                self.synced = Some((self.term, self.config.node));
                self.beat_soon(now);
                self.follows(self.config.node, &self.hostname.clone(), actions);
            }
        }
        Ok(())
    }

    fn follow(&mut self, beat: &Beat, revoked: &Revoked, now: Time, actions: &mut Vec<Action>) {
        let is_new = beat.term != self.term || !self.is_led_by(beat.node);
        if let Role::Leads(leading) = &self.role {
            if leading.is_established() {
                let roster = Message::Snapshot(self.snapshot());
                actions.push(send(Key::Node(beat.node), roster));
            }
            self.role = Role::Follows(Following::new(now.steady, self.config.beat));
        }
        self.term = beat.term;
        self.top = self.top.max(beat.term);
        let Role::Follows(following) = &mut self.role else { return };
        following.lead = Some(Lead {
            node: beat.node,
            hostname: beat.hostname.clone(),
            size: beat.size,
            sure: beat.sure,
            watchers: beat.watchers.clone(),
        });
        following.heard = now.steady;
        following.interval = beat.interval;
        following.seek = Seek::No;
        if is_new {
            following.hold = now.steady + HOLD;
            self.told.hold(now.steady + HOLD);
        }
        self.compare_roster(beat, is_new, now);
        self.compare_revokes(beat, revoked, now);
        let watches = self.can_watch() && beat.watchers.contains(&self.config.node);
        self.listen(Ears { events: watches, watchers: watches, lead: false }, actions);
        self.follows(beat.node, &beat.hostname, actions);
        if is_new {
            self.elect(now, actions, |elections, scene, actions| elections.on_lead(scene, actions));
        }
    }

    /// How the lead is reached: one that has just begun may not have its own key yet.
    pub(super) fn lead_key(&self) -> Key {
        match &self.role {
            Role::Follows(Following { lead: Some(lead), .. }) => Key::Node(lead.node),
            _ => Key::Lead,
        }
    }

    fn is_led_by(&self, node: NodeId) -> bool {
        matches!(&self.role, Role::Follows(following) if following.is_led_by(node))
    }

    /// Whether our roster was the lead's in this term, but for what was missed since.
    pub(super) fn is_synced(&self) -> bool {
        self.synced.is_some_and(|(term, node)| term == self.term && self.is_led_by(node))
    }
}
