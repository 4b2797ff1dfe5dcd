//! A worker that leads.

mod members;
mod questions;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use celeriac_protocol::revoked::Revoked;

use super::following::Following;
use super::message::{Beat, Change, Happening, Key, MAX_WATCHERS, Message, NodeId, Reason};
use super::roster::Roster;
use super::{Action, Config, Ears, Role, Time, Watch, send};
use questions::{Asks, Rate};

/// Seconds between two looks for members that are lost.
const LOOK: f64 = 0.25;
/// Seconds unopposed before a new lead listens to the members.
const SETTLE: f64 = 0.5;
/// Seconds in which changes are gathered, and in which the lead beats once besides its rhythm.
const BATCH: f64 = 1.0;
/// The same for one of a thousand and more.
const BATCH_MAX: f64 = 2.5;
/// Seconds in which a new lead hears the members before it names watchers.
const CHOOSE: f64 = 3.0;
/// Seconds after which a lead that does not hear itself gives up.
const GIVE_UP: f64 = 15.0;
/// How many members' worth of a roster all may be told in a second, and the longest pause that comes of it: it is the
/// largest of all messages, and while a thousand start each of them asks.
const PACE: f64 = 400.0;
const PACE_MAX: f64 = 5.0;

/// What a lead does next.
#[derive(Debug)]
pub(super) struct Leading {
    /// Since when it has listened to the members as their lead.
    established: Option<f64>,
    /// When it has heard the members for long enough to name watchers.
    chooses: f64,
    /// When it listens to them; not known before its own beat came back, since until then the others have not heard it
    /// either.
    settles: Option<f64>,
    /// When it gives way if its beat does not come back.
    gives_up: f64,
    interval: f64,
    beat_due: f64,
    beat_last: f64,
    look_due: f64,
    /// When we heard ourselves well enough last.
    heard: f64,
    /// Changes that were not told yet.
    pending: Vec<Happening>,
    /// When changes were told last, and the version, size and digest that they led to.
    told: f64,
    state: (u64, usize, u64),
    /// Who watches besides us.
    pub(super) watchers: Vec<NodeId>,
    limit: usize,
    /// Those whose revokes nobody has asked for were asked, or there were none.
    greeted: bool,
    /// Whose roster was taken over when it gave way, and in which term.
    yielded: Option<(NodeId, u64)>,
    /// The incarnations that those of a name followed, the last of them: what is heard of these is over.
    pub(super) previous: HashMap<Arc<str>, VecDeque<u64>>,
    pub(super) asks: Asks,
    /// Questions for many revokes by those who start.
    pub(super) starts: Rate,
}

impl Leading {
    pub(super) fn new(now: f64, watched: bool, config: &Config, roster: &Roster) -> Self {
        Leading {
            established: watched.then_some(now),
            chooses: if watched { now } else { f64::MAX },
            settles: None,
            gives_up: now + GIVE_UP,
            interval: config.beat,
            beat_due: now,
            beat_last: f64::MIN,
            look_due: now + LOOK,
            heard: now,
            pending: Vec::new(),
            told: f64::MIN,
            state: (roster.version(), roster.len(), roster.digest()),
            watchers: Vec::new(),
            limit: config.watchers.clamp(1, MAX_WATCHERS) - 1,
            greeted: false,
            yielded: None,
            previous: HashMap::new(),
            asks: Asks::default(),
            starts: Rate::default(),
        }
    }

    /// Whether nobody opposed it when it began.
    pub(super) fn is_established(&self) -> bool {
        self.established.is_some()
    }

    pub(super) fn restart(&mut self, now: f64) {
        self.look_due = now + LOOK;
        self.heard = now;
        self.beat_due = self.beat_due.max(now);
    }

    /// When what is pending is told: losses have waited for long, the joining of a thousand need not wake all of them each
    /// second.
    fn flush_due(&self) -> f64 {
        let is_lost =
            |happening: &Happening| matches!(happening, Happening::Gone(gone) if gone.reason == Reason::Lost);
        let batch = (self.state.1 as f64 / PACE).clamp(BATCH, BATCH_MAX);
        self.told + if self.pending.iter().any(is_lost) { BATCH / 2.0 } else { batch }
    }

    pub(super) fn next_timeout(&self) -> f64 {
        let settles = if self.is_established() { f64::MAX } else { self.settles.unwrap_or(self.gives_up) };
        let flush = if self.pending.is_empty() { f64::MAX } else { self.flush_due() };
        [self.look_due, settles, flush, self.asks.next_timeout()].into_iter().fold(self.beat_due, f64::min)
    }
}

impl Watch {
    fn leading(&mut self) -> Option<&mut Leading> {
        match &mut self.role {
            Role::Leads(leading) => Some(leading),
            Role::Follows(_) => None,
        }
    }

    pub(super) fn tick_leading(&mut self, revoked: &Revoked, now: Time, actions: &mut Vec<Action>) {
        let hears = self.hearing.hears_itself(self.heartbeat(), now);
        let Role::Leads(leading) = &mut self.role else { return };
        if !leading.is_established() && leading.settles.is_some_and(|settles| settles <= now.steady) {
            leading.established = Some(now.steady);
            self.listen(Ears { events: true, watchers: true, lead: true }, actions);
        }
        let Role::Leads(leading) = &mut self.role else { return };
        let is_unheard =
            leading.settles.is_none() && !leading.is_established() && leading.gives_up <= now.steady;
        if hears && !is_unheard {
            leading.heard = now.steady;
        } else if is_unheard || now.steady - leading.heard > GIVE_UP {
            // Nobody else can lead before we let go of the key.
            self.role = Role::Follows(Following::new(now.steady, self.config.beat));
            return self.listen(Ears::default(), actions);
        }
        if leading.look_due <= now.steady {
            leading.look_due = now.steady + LOOK;
            self.look(now, actions);
            self.greet(now, actions);
        }
        let Role::Leads(leading) = &mut self.role else { return };
        if leading.beat_due <= now.steady {
            if hears {
                self.beat(Key::Beat, revoked, now, actions);
            } else {
                // Nobody must follow one who does not hear.
                leading.beat_due = now.steady + LOOK;
            }
        }
        self.flush(now, actions);
        self.answer_all(revoked, now, actions);
    }

    /// Tells who leads, and by which roster.
    pub(super) fn beat(&mut self, key: Key, revoked: &Revoked, now: Time, actions: &mut Vec<Action>) {
        let clock = self.clock.forward();
        let revoked = self.revoked_digest(revoked, now);
        let Role::Leads(leading) = &mut self.role else { return };
        self.seq += 1;
        if key == Key::Beat {
            // Before it hears the members it may not be there for questions either: who starts must not lead as well.
            let is_heard_of = self.hearing.has_begun();
            leading.beat_due =
                now.steady + if is_heard_of { leading.interval } else { BATCH.min(leading.interval) };
            leading.beat_last = now.steady;
        }
        let (version, size, digest) = leading.state;
        let beat = Beat {
            node: self.config.node,
            hostname: self.hostname.clone(),
            term: self.term,
            seq: self.seq,
            interval: leading.interval,
            version,
            size,
            digest,
            watchers: std::iter::once(self.config.node).chain(leading.watchers.iter().copied()).collect(),
            sure: self.hearing.is_sure(now.steady),
            revoked,
            clock,
        };
        actions.push(send(key, Message::Beat(beat)));
    }

    /// Our own beat came back: by now the others have heard it, too. Before, a broker that is slow may have a hundred
    /// others who lead as well, and their queues would not make it faster.
    pub(super) fn on_echo(&mut self, beat: &Beat, now: Time, actions: &mut Vec<Action>) {
        let Role::Leads(leading) = &mut self.role else { return };
        if beat.term != self.term || leading.settles.is_some() || leading.is_established() {
            return;
        }
        // What another one has to say against it may take as long.
        let took = now.steady - (leading.gives_up - GIVE_UP);
        let settles = now.steady + SETTLE.max(took);
        leading.settles = Some(settles);
        leading.chooses = settles + CHOOSE;
        self.listen(Ears { events: false, watchers: true, lead: true }, actions);
    }

    /// Beats at the next tick, if it has not just done so.
    pub(super) fn beat_soon(&mut self, now: Time) {
        if let Some(leading) = self.leading() {
            let soon = now.steady.max(leading.beat_last + BATCH);
            leading.beat_due = leading.beat_due.min(soon);
        }
    }

    /// Tells what has changed: at once after a quiet second, else when the second is over.
    fn flush(&mut self, now: Time, actions: &mut Vec<Action>) {
        let Role::Leads(leading) = &mut self.role else { return };
        if !leading.pending.is_empty() && now.steady >= leading.flush_due() {
            self.tell_pending(now, actions);
        }
    }

    fn tell_pending(&mut self, now: Time, actions: &mut Vec<Action>) {
        let Role::Leads(leading) = &mut self.role else { return };
        leading.told = now.steady;
        leading.state = (self.roster.version(), self.roster.len(), self.roster.digest());
        let change = Change {
            node: self.config.node,
            term: self.term,
            version: self.roster.version(),
            steps: std::mem::take(&mut leading.pending),
        };
        actions.push(send(Key::Change, Message::Change(change)));
    }

    /// A lead that goes says so itself where nobody else listens to the workers.
    pub(super) fn on_leaving(&mut self, now: Time, actions: &mut Vec<Action>) {
        let Role::Leads(leading) = &mut self.role else { return };
        if leading.watchers.is_empty()
            && let Some(member) = self.roster.member(&self.hostname).cloned()
        {
            self.retired = true;
            self.part(&member, Reason::Left, now, actions);
            self.tell_pending(now, actions);
        }
        self.retire(now);
    }
}
