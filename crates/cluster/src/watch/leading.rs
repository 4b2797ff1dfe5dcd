//! A worker that leads.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use celeriac_protocol::revoked::Revoked;

use super::following::Following;
use super::message::{
    Beat, Change, Departure, Happening, Key, MAX_MEMBERS, MAX_WATCHERS, Message, NodeId, Reason, Snapshot,
};
use super::roster::{Member, Roster};
use super::{Action, Config, Ears, Role, Time, Watch, WatchError, send};

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
/// Who beats less often, in seconds, is not heard before others doubt that it is there.
const SLOW: f64 = 2.0;
/// How many questions of a second are answered at once.
pub(super) const ASKS: usize = 8;
/// The roster is told to all when more than this part of them wait for it.
const FEW: usize = 4;
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

/// How many questions came within a second.
#[derive(Debug, Default)]
pub(super) struct Rate {
    since: f64,
    count: usize,
}

impl Rate {
    /// Whether one more is answered by itself.
    pub(super) fn admit(&mut self, now: f64) -> bool {
        if now - self.since >= 1.0 {
            (self.since, self.count) = (now, 0);
        }
        self.count += 1;
        self.count <= ASKS
    }
}

/// Questions for the roster or for revokes.
#[derive(Debug, Default)]
pub(super) struct Asks {
    pub(super) rate: Rate,
    /// Who waits for the roster.
    waiting: BTreeSet<NodeId>,
    /// Which buckets of revokes are told to all.
    pub(super) buckets: Vec<usize>,
    /// Those who wait are not answered before.
    rest: f64,
}

impl Asks {
    fn next_timeout(&self) -> f64 {
        if self.waiting.is_empty() && self.buckets.is_empty() {
            f64::MAX
        } else {
            self.rest.max(self.rate.since + 1.0)
        }
    }
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

    /// Something happens to a member: it is told here now, to the others soon.
    pub(super) fn happen(&mut self, happening: Happening, now: Time, actions: &mut Vec<Action>) {
        self.apply(&happening, actions);
        if let Some(leading) = self.leading() {
            leading.pending.push(happening);
        }
        self.check_watchers(now);
    }

    /// We are a member of the roster by which we begin to lead.
    pub(super) fn join_myself(&mut self) {
        let known = self.roster.member(&self.hostname);
        let is_there = known.is_some_and(|member| member.incarnation == self.config.incarnation);
        if is_there || self.config.heartbeat.is_none() {
            return;
        }
        let member = Member {
            number: self.roster.next_number(),
            hostname: self.hostname.clone(),
            incarnation: self.config.incarnation,
            node: Some(self.config.node),
            pid: Some(self.config.pid.into()),
            freq: self.heartbeat(),
            sw_ident: Some(crate::heart::IDENT.into()),
            sw_ver: Some(env!("CARGO_PKG_VERSION").into()),
            sw_sys: Some(crate::heart::system().into()),
        };
        self.roster.apply(&Happening::Joined(Arc::new(member)));
    }

    /// A worker joins, or comes back: with the next number.
    pub(super) fn join(&mut self, member: Member, now: Time, actions: &mut Vec<Action>) {
        let is_new = self.roster.member(&member.hostname).is_none();
        if is_new && self.roster.is_full() {
            if !std::mem::replace(&mut self.crowd_told, true) {
                actions.push(Action::Crowded { limit: MAX_MEMBERS });
            }
            return;
        }
        let member = Member { number: self.roster.next_number(), ..member };
        self.happen(Happening::Joined(Arc::new(member)), now, actions);
    }

    /// A member was heard; who found no place is none.
    pub(super) fn note_heard(&mut self, hostname: &Arc<str>, now: Time) {
        if self.roster.member(hostname).is_some() {
            self.hearing.heard(hostname, now.steady);
        }
    }

    /// A member is gone.
    pub(super) fn part(&mut self, member: &Member, reason: Reason, now: Time, actions: &mut Vec<Action>) {
        let departure =
            Departure { hostname: member.hostname.clone(), incarnation: member.incarnation, reason };
        if let Some(leading) = self.leading() {
            leading.previous.remove(&member.hostname);
        }
        self.happen(Happening::Gone(departure), now, actions);
    }

    /// Looks who was silent for too long, and who is to watch.
    fn look(&mut self, now: Time, actions: &mut Vec<Action>) {
        if self.hearing.judges(self.heartbeat(), now) && now.steady >= self.grace {
            let is_lost = |member: &&Arc<Member>| {
                member.hostname != self.hostname
                    && self.hearing.is_silent(&member.hostname, member.freq, now.steady)
            };
            let lost: Vec<_> = self.roster.iter().filter(is_lost).cloned().collect();
            for member in lost {
                self.part(&member, Reason::Lost, now, actions);
            }
        }
        self.choose_watchers(now);
    }

    /// Who started before we knew of Python's workers has not asked them, nor have we perhaps.
    fn greet(&mut self, now: Time, actions: &mut Vec<Action>) {
        let is_sure = self.hearing.is_sure(now.steady);
        let Role::Leads(leading) = &mut self.role else { return };
        if is_sure && !std::mem::replace(&mut leading.greeted, true) && self.roster.has_strangers() {
            actions.push(Action::Greet);
        }
    }

    /// The members of the lowest numbers that were heard watch. Who watches goes on.
    pub(super) fn choose_watchers(&mut self, now: Time) {
        let Role::Leads(leading) = &mut self.role else { return };
        if now.steady < leading.chooses || leading.watchers.len() >= leading.limit {
            return;
        }
        let free = self.roster.iter().filter(|member| self.hearing.hears(member, now.steady));
        let free = free.filter_map(|member| member.node);
        let free = free.filter(|node| *node != self.config.node && !leading.watchers.contains(node));
        let chosen: Vec<_> = free.take(leading.limit - leading.watchers.len()).collect();
        if !chosen.is_empty() {
            leading.watchers.extend(chosen);
            self.beat_soon(now);
        }
    }

    /// A watcher that is gone watches no more; all shall know it soon.
    fn check_watchers(&mut self, now: Time) {
        let Role::Leads(leading) = &mut self.role else { return };
        if leading.watchers.is_empty() {
            return;
        }
        let before = leading.watchers.len();
        let roster = &self.roster;
        leading.watchers.retain(|node| roster.hostname(*node).is_some());
        if leading.watchers.len() < before {
            self.choose_watchers(now);
            self.beat_soon(now);
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

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            node: self.config.node,
            term: self.term,
            version: self.roster.version(),
            members: self.roster.iter().cloned().collect(),
            departures: self.roster.departures().iter().cloned().collect(),
        }
    }

    pub(super) fn on_probe(&mut self, node: NodeId, revoked: &Revoked, now: Time, actions: &mut Vec<Action>) {
        if self.leads() && self.resumes.is_none() && self.hearing.hears_itself(self.heartbeat(), now) {
            self.beat(Key::Node(node), revoked, now, actions);
        }
    }

    pub(super) fn on_ask(&mut self, node: NodeId, now: Time, actions: &mut Vec<Action>) {
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
    fn answer_all(&mut self, revoked: &Revoked, now: Time, actions: &mut Vec<Action>) {
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
    pub(super) fn on_yield(
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
