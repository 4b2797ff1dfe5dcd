use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use celeriac_protocol::Event;

use super::Time;
use super::roster::{Member, Roster};
use crate::heart::INTERVAL;
use crate::state::Drift;

/// How late our own heartbeat may come back while we judge others, in seconds.
const LATE: f64 = 0.5;
/// A deafness that is shorter than this, in seconds, may be one late look of ours.
const MOMENT: f64 = 0.75;
/// How late it may be while we lead.
const DEAF: f64 = 1.0;
/// How many intervals a member may be silent.
const LIMIT: f64 = 2.4;
/// Clocks may differ by so many seconds without a word, as in Celery.
const DRIFT_MAX: f64 = 16.0;
/// How many that left are remembered, so that what they sent before does not bring them back.
const OFFLINES: usize = 1_000;

/// What was heard of one member.
#[derive(Debug, Clone, Copy, Default)]
struct Heard {
    /// When, by the steady clock.
    last: Option<f64>,
    /// The stamp of its newest `worker-online`.
    online: Option<f64>,
    /// Seconds between its heartbeats, as it tells now.
    freq: Option<f64>,
}

/// What a watcher hears.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// When we began to listen, while we do.
    since: Option<Time>,
    /// What was heard of the members.
    heard: HashMap<Arc<str>, Heard>,
    /// Nobody counts as silent for longer than since then.
    restarted: f64,
    /// When our own heartbeat that came back last was sent, by the steady clock.
    own: Option<f64>,
    /// How long that took: the lag of our queue, in seconds.
    lag: f64,
    /// Since when we have not heard ourselves, as far as we looked.
    deaf: Option<f64>,
    /// Whose clock was told to differ.
    drifted: HashSet<Arc<str>>,
    /// Who said that it goes: its incarnation, and when it said so.
    offlines: HashMap<Arc<str>, (u64, f64)>,
    offline_order: VecDeque<Arc<str>>,
}

impl Hearing {
    pub(super) fn start(&mut self, now: Time) {
        *self = Hearing {
            since: Some(now),
            restarted: now.steady,
            deaf: Some(now.steady),
            drifted: std::mem::take(&mut self.drifted),
            offlines: std::mem::take(&mut self.offlines),
            offline_order: std::mem::take(&mut self.offline_order),
            ..Hearing::default()
        };
    }

    pub(super) fn stop(&mut self) {
        self.since = None;
        self.own = None;
        self.heard = HashMap::new();
    }

    /// Whether we listen.
    pub(super) fn has_begun(&self) -> bool {
        self.since.is_some()
    }

    /// Everybody's silence begins now.
    pub(super) fn restart(&mut self, now: f64) {
        self.restarted = now;
    }

    /// Our own event came back. One that was sent before we listened is replayed.
    pub(super) fn heard_own(&mut self, event: &Event, now: Time) {
        if self.own.is_some() || self.since.is_some_and(|since| event.timestamp >= since.wall) {
            if self.own.is_none() {
                // What was heard before may have been a replay.
                self.restart(now.steady);
            }
            self.lag = (now.wall - event.timestamp).max(0.0);
            self.own = Some(now.steady - self.lag);
        }
    }

    /// Whether what comes was sent before we listened, as far as we know: it proves nobody alive now.
    pub(super) fn is_replay(&self) -> bool {
        self.own.is_none()
    }

    /// Whether what comes has waited in our queue for long.
    pub(super) fn is_behind(&self) -> bool {
        self.is_replay() || self.lag > DEAF
    }

    /// Nobody else is remembered.
    pub(super) fn retain(&mut self, roster: &Roster) {
        self.heard.retain(|hostname, _| roster.member(hostname).is_some());
        self.drifted.retain(|hostname| roster.member(hostname).is_some());
    }

    /// Whether what an event says is too old to mean that its sender lives.
    pub(super) fn is_old(&self, event: &Event, freq: f64, now: Time) -> bool {
        self.is_replay() && now.wall - event.timestamp > LIMIT * freq
    }

    pub(super) fn heard(&mut self, hostname: &Arc<str>, now: f64) {
        self.of(hostname).last = Some(now);
    }

    /// It has come.
    pub(super) fn online(&mut self, hostname: &Arc<str>, timestamp: f64) {
        let heard = self.of(hostname);
        heard.online = Some(heard.online.map_or(timestamp, |online| online.max(timestamp)));
    }

    /// Whether an event was sent before its sender's newest `online`.
    pub(super) fn is_before_online(&self, event: &Event) -> bool {
        let heard = self.heard.get(event.hostname.as_str());
        heard.and_then(|heard| heard.online).is_some_and(|online| event.timestamp < online)
    }

    /// How often it beats from now on.
    pub(super) fn tells_freq(&mut self, hostname: &Arc<str>, freq: f64) {
        self.of(hostname).freq = Some(freq);
    }

    fn of(&mut self, hostname: &Arc<str>) -> &mut Heard {
        self.heard.entry(hostname.clone()).or_default()
    }

    /// Whether it was heard lately.
    pub(super) fn hears(&self, member: &Member, now: f64) -> bool {
        let heard = self.heard.get(&member.hostname).and_then(|heard| heard.last);
        heard.is_some_and(|heard| now - heard <= LIMIT * member.freq)
    }

    pub(super) fn forget(&mut self, hostname: &str) {
        self.heard.remove(hostname);
        self.drifted.remove(hostname);
    }

    /// The first drift of a worker's clock that is worth a warning; what waited in our queue is not its fault.
    pub(super) fn drift(&mut self, event: &Event, now: Time) -> Option<Drift> {
        let drift = Drift {
            hostname: event.hostname.as_str().into(),
            timestamp: event.timestamp,
            local_received: now.wall - self.lag,
        };
        // What waits in a queue that has gone unread was sent long ago, for how long our own heartbeat tells.
        let is_timely = self.own.is_some_and(|own| now.steady - own <= DRIFT_MAX);
        let is_drift = is_timely && drift.seconds() > DRIFT_MAX;
        (is_drift && self.drifted.insert(drift.hostname.clone())).then_some(drift)
    }

    /// Somebody said that it goes.
    pub(super) fn gone(&mut self, hostname: &Arc<str>, incarnation: u64, timestamp: f64) {
        if self.offlines.insert(hostname.clone(), (incarnation, timestamp)).is_none() {
            self.offline_order.push_back(hostname.clone());
        }
        if self.offline_order.len() > OFFLINES
            && let Some(oldest) = self.offline_order.pop_front()
        {
            self.offlines.remove(&oldest);
        }
    }

    /// Whether an event was sent before its sender said that it goes.
    pub(super) fn is_over(&self, event: &Event, incarnation: u64) -> bool {
        let offline = self.offlines.get(event.hostname.as_str());
        offline.is_some_and(|(gone, stamp)| *gone == incarnation && event.timestamp <= *stamp)
    }

    /// Looks whether we hear ourselves well enough to judge others. When we did not for more than a moment, words of
    /// others may be lost, too: everybody's silence begins now.
    pub(super) fn judges(&mut self, interval: f64, now: Time) -> bool {
        if !self.own.is_some_and(|own| now.steady - own <= interval + LATE) {
            self.deaf.get_or_insert(now.steady);
            return false;
        }
        if self.deaf.take().is_some_and(|since| now.steady - since > MOMENT) {
            self.restart(now.steady);
        }
        true
    }

    /// Whether we have heard for long enough to know who is there, as far as they beat as often as Celery's.
    pub(super) fn is_sure(&self, now: f64) -> bool {
        self.own.is_some() && self.deaf.is_none() && now - self.restarted >= LIMIT * INTERVAL
    }

    /// Whether we hear ourselves well enough to lead.
    pub(super) fn hears_itself(&self, interval: f64, now: Time) -> bool {
        let Some(since) = self.since else { return true };
        match self.own {
            Some(own) => now.steady - own <= interval + DEAF,
            None => now.steady - since.steady <= interval + DEAF,
        }
    }

    /// Whether a member was silent for too long.
    pub(super) fn is_silent(&self, hostname: &str, freq: f64, now: f64) -> bool {
        let heard = self.heard.get(hostname).copied().unwrap_or_default();
        let last = heard.last.unwrap_or(self.restarted).max(self.restarted);
        now - last > LIMIT * heard.freq.unwrap_or(freq)
    }
}
