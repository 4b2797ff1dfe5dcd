use std::collections::HashMap;
use std::sync::Arc;

use celeriac_protocol::{Map, Value};

use super::{Action, CANNOT_WIN, MAX_ID, Scene, Stand};

/// Seconds without a new candidate before a decision.
const SETTLE: f64 = 0.5;
/// Seconds for a candidate to appear that does not listen to the cluster's exchange, where there are such workers.
const ALONE: f64 = 1.0;
/// Seconds without a new candidate of theirs before we ack, and until a decoy is worth its message.
const HOLD: f64 = 0.3;
/// The most seconds that new candidates put off our acks.
const MAX_HOLD: f64 = 2.0;
/// The most seconds that they put off a decision.
const PATIENCE: f64 = 10.0;

/// Who stands in an election, as the lead hears it.
#[derive(Debug)]
pub(super) struct Poll {
    opened: f64,
    topic: String,
    /// The last new candidate was heard.
    changed: f64,
    /// Those that told us, and their clocks.
    ours: HashMap<String, u64>,
    /// Those that elect by Celery's own messages. They stay after the decision, to know who stands again.
    strangers: HashMap<String, Stranger>,
    /// It is decided: who comes now is late, or of the next election of this id.
    over: bool,
    /// Strangers may need a decoy.
    patient: bool,
    decoy: Option<f64>,
    decoyed: bool,
    owed: Option<Owed>,
}

#[derive(Debug)]
struct Stranger {
    clock: u64,
    late: bool,
}

/// Acks that were not published yet.
#[derive(Debug)]
struct Owed {
    /// For how many candidates; none when it is for the decoy alone.
    candidates: usize,
    since: f64,
    due: f64,
}

impl Poll {
    pub(super) fn new(over: bool, now: f64) -> Self {
        Poll {
            opened: now,
            topic: String::new(),
            changed: now,
            ours: HashMap::new(),
            strangers: HashMap::new(),
            over,
            patient: false,
            decoy: None,
            decoyed: false,
            owed: None,
        }
    }

    /// One stands that told us.
    pub(super) fn stand(&mut self, stand: &Stand, now: f64) {
        if !self.ours.contains_key(&stand.name) {
            self.ours.insert(stand.name.clone(), stand.clock);
            self.changed = now;
            self.take_topic(&stand.topic);
        }
    }

    /// The clock of a stranger's candidacy that is known.
    pub(super) fn stranger(&self, name: &str) -> Option<u64> {
        self.strangers.get(name).map(|stranger| stranger.clock)
    }

    /// A stranger stands, or stands anew.
    pub(super) fn stand_stranger(&mut self, name: String, clock: u64, topic: &str, now: f64) {
        self.strangers.insert(name, Stranger { clock, late: self.over });
        self.changed = now;
        self.take_topic(topic);
        if self.over && self.owed.is_none() {
            // The decoy of the election that is over may be forgotten there.
            self.decoyed = false;
        }
        let owed = self.owed.get_or_insert(Owed { candidates: 0, since: now, due: now });
        owed.candidates += 1;
        owed.due = (now + HOLD).min(owed.since + MAX_HOLD);
    }

    /// Publishes a decoy where strangers may need one, when that is due.
    pub(super) fn meet(&mut self, id: &str, scene: &Scene<'_>, actions: &mut Vec<Action>) {
        self.patient |= scene.strangers || !self.strangers.is_empty();
        let needed = if self.over { self.owed.is_some() } else { self.patient };
        if needed && !self.decoyed && self.decoy.is_none() {
            let we_are_one = (scene.members)().len() < 2;
            self.decoy = Some(if we_are_one { scene.now } else { scene.now + HOLD });
        }
        if self.decoy.take_if(|due| *due <= scene.now).is_none() {
            return;
        }
        self.decoyed = true;
        // Where two are real, none is needed.
        if self.owed.as_ref().is_none_or(|owed| owed.candidates < 2) {
            let fields =
                [("topic", self.topic.as_str().into()), ("action", Value::Null), ("cver", Value::Int(1))];
            let fields = [("id", id.into())].into_iter().chain(fields).collect();
            let pid = Some(i64::from(scene.pid));
            actions.push(publish(scene.hostname, pid, "worker-elect", Some(CANNOT_WIN), fields));
        }
    }

    /// Publishes one ack in the name of each of us.
    pub(super) fn ack(&mut self, id: &str, scene: &Scene<'_>, actions: &mut Vec<Action>) {
        self.owed = None;
        actions.extend((scene.members)().into_iter().map(|(hostname, pid)| {
            let fields = [("id", id.into())].into_iter().collect();
            publish(&hostname, pid, "worker-elect-ack", None, fields)
        }));
    }

    /// The first by clock, then by name, of the strangers if there are any.
    pub(super) fn winner(&self) -> Option<String> {
        let strangers = self.strangers.iter().map(|(name, stranger)| (stranger.clock, name));
        let ours = self.ours.iter().map(|(name, clock)| (*clock, name));
        let first = strangers.min().or_else(|| ours.min());
        first.map(|(_, name)| name.clone())
    }

    /// It is decided. If that was by us alone, strangers have seen our decoy, and our acks tell those of them that
    /// decide by name, and are asked late, that it is.
    pub(super) fn close(&mut self, leads: bool, now: f64) {
        if !leads {
            (self.owed, self.decoy) = (None, None);
        } else if !self.over && self.decoyed && self.strangers.is_empty() {
            self.owed = Some(Owed { candidates: 0, since: now, due: now });
        }
        self.over = true;
        self.forget_ours();
    }

    /// Another election of the same id begins. Who was heard since the decision may have been of it already.
    pub(super) fn reopen(&mut self, now: f64) {
        let mut strangers = std::mem::take(&mut self.strangers);
        strangers.retain(|_, stranger| std::mem::take(&mut stranger.late));
        let (decoyed, decoy, owed) = (self.decoyed && !strangers.is_empty(), self.decoy, self.owed.take());
        *self = Poll { strangers, decoyed, decoy, owed, ..Poll::new(false, now) };
    }

    /// We lead anew, perhaps another did meanwhile.
    pub(super) fn restart(&mut self, now: f64) {
        self.opened = now;
        self.changed = now;
    }

    /// Another leads: whom we heard of tell it.
    pub(super) fn forget_ours(&mut self) {
        self.ours = HashMap::new();
    }

    /// How many names it keeps.
    pub(super) fn names(&self) -> usize {
        self.ours.len() + self.strangers.len()
    }

    /// When a decoy is due.
    pub(super) fn decoy_at(&self) -> Option<f64> {
        self.decoy
    }

    /// When acks are due: after a decoy, or it would be of no use.
    pub(super) fn acks_at(&self) -> Option<f64> {
        self.owed.as_ref().map(|owed| self.decoy.map_or(owed.due, |decoy| owed.due.max(decoy)))
    }

    /// When it is to be decided.
    pub(super) fn decides_at(&self) -> Option<f64> {
        if self.over || self.names() == 0 {
            return None;
        }
        let settled = self.changed + SETTLE;
        let alone = if self.patient && self.strangers.is_empty() { self.opened + ALONE } else { settled };
        Some(settled.max(alone).min(self.opened + PATIENCE))
    }

    fn take_topic(&mut self, topic: &str) {
        if self.topic.is_empty() && topic.len() <= MAX_ID {
            self.topic = topic.to_owned();
        }
    }
}

/// An event about an election, in the name of any of us.
fn publish(
    hostname: &Arc<str>,
    pid: Option<i64>,
    kind: &'static str,
    clock: Option<u64>,
    fields: Map,
) -> Action {
    Action::Publish { hostname: hostname.clone(), pid, clock, kind, fields }
}
