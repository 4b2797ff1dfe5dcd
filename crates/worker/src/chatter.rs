//! What the cluster costs this worker: messages sent and received, by kind.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use celeriac_protocol::{Map, Value};
use tokio::time::Instant;

/// How many kinds are told apart; others are counted as `other`.
const KINDS: usize = 64;
/// The most bytes of an event's kind that is told apart.
const LONGEST: usize = 64;
/// What all others are counted as.
const OTHER: &str = "other";
/// How many kinds a line of the log names.
const NAMED: usize = 8;

/// Counts messages by kind: `worker-heartbeat`, `beat`, `hello`. Tasks and results are none of its.
#[derive(Debug)]
pub struct Chatter {
    started: Instant,
    counts: Mutex<Counts>,
    /// What was counted, and when, when a line of the log last told it.
    told: Mutex<(Counts, Instant)>,
}

#[derive(Debug, Default, Clone)]
struct Counts {
    sent: Kinds,
    received: Kinds,
}

/// How many of each kind.
#[derive(Debug, Default, Clone)]
struct Kinds(BTreeMap<String, u64>);

impl Default for Chatter {
    fn default() -> Self {
        let now = Instant::now();
        Chatter { started: now, counts: Mutex::default(), told: Mutex::new((Counts::default(), now)) }
    }
}

impl Chatter {
    /// Counts a message that was published.
    pub(crate) fn sent(&self, kind: &str) {
        lock(&self.counts).sent.count(kind);
    }

    /// Counts a message that came.
    pub(crate) fn received(&self, kind: &str) {
        lock(&self.counts).received.count(kind);
    }

    /// Counts an event that came. Whoever sent it chose its kind, which is shown in the log.
    pub(crate) fn received_event(&self, kind: &str) {
        let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let is_known = (kind.starts_with("worker-") || kind.starts_with("task-"))
            && kind.len() <= LONGEST
            && kind.bytes().all(is_plain);
        self.received(if is_known { kind } else { OTHER });
    }

    /// All that was counted: by direction, by kind, and over how many seconds.
    pub fn to_value(&self) -> Value {
        let Counts { sent, received } = lock(&self.counts).clone();
        let since = (self.started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        Map::from_iter([
            ("sent", sent.into_value()),
            ("received", received.into_value()),
            ("since", since.into()),
        ])
        .into()
    }

    /// What was counted since the last such line; none where nothing was.
    fn line(&self, now: Instant) -> Option<String> {
        let counts = lock(&self.counts).clone();
        let mut told = lock(&self.told);
        let (earlier, since) = std::mem::replace(&mut *told, (counts.clone(), now));
        let (sent, received) = (counts.sent.since(&earlier.sent), counts.received.since(&earlier.received));
        let seconds = (now - since).as_secs_f64();
        (sent.total() + received.total() > 0).then(|| {
            let messages = if sent.total() == 1 { "message" } else { "messages" };
            let (sent, received) = (sent.told(messages, seconds), received.told("", seconds));
            format!("gossip: in the last {seconds:.0} s sent {sent}, received {received}")
        })
    }

    /// Logs what the cluster costs, again and again; never where the interval is zero.
    pub(crate) async fn tell(&self, interval: Duration) {
        if interval.is_zero() {
            return;
        }
        loop {
            let last = lock(&self.told).1;
            // The line that is due goes on to be so after the worker has found its broker again.
            tokio::time::sleep_until(last + interval).await;
            if let Some(line) = self.line(Instant::now()) {
                tracing::info!("{line}");
            }
        }
    }
}

impl Kinds {
    fn count(&mut self, kind: &str) {
        if let Some(count) = self.0.get_mut(kind) {
            *count += 1;
        } else if self.0.len() < KINDS {
            self.0.insert(kind.to_owned(), 1);
        } else {
            *self.0.entry(OTHER.to_owned()).or_default() += 1;
        }
    }

    fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Without what was counted before.
    fn since(&self, earlier: &Kinds) -> Kinds {
        let new = |(kind, count): (&String, &u64)| {
            let count = count - earlier.0.get(kind).unwrap_or(&0);
            (count > 0).then(|| (kind.clone(), count))
        };
        Kinds(self.0.iter().filter_map(new).collect())
    }

    /// `151 messages (0.5/s: 150 worker-heartbeat, 1 beat)`, the most frequent first.
    fn told(&self, messages: &str, seconds: f64) -> String {
        let total = self.total();
        let head = format!("{total} {messages}");
        if total == 0 {
            return head.trim_end().to_owned();
        }
        let mut kinds: Vec<(&str, u64)> = self.0.iter().map(|(kind, count)| (&**kind, *count)).collect();
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let rest: u64 = kinds.iter().skip(NAMED).map(|(_, count)| count).sum();
        kinds.truncate(NAMED);
        kinds.extend((rest > 0).then_some(("of other kinds", rest)));
        let kinds: Vec<_> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let rate = total as f64 / seconds.max(0.001);
        format!("{} ({rate:.1}/s: {})", head.trim_end(), kinds.join(", "))
    }

    fn into_value(self) -> Value {
        self.0.into_iter().map(|(kind, count)| (kind, count.into())).collect::<Map>().into()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(chatter: &Chatter, seconds: u64) -> Option<String> {
        let last = lock(&chatter.told).1;
        chatter.line(last + Duration::from_secs(seconds))
    }

    #[test]
    fn a_line_tells_what_is_new_by_kind_and_rate() {
        let chatter = Chatter::default();
        assert_eq!(after(&chatter, 300), None);
        for _ in 0..150 {
            chatter.sent("worker-heartbeat");
        }
        chatter.sent("beat");
        for kind in ["change", "control.ping", "control.ping"] {
            chatter.received(kind);
        }
        let line = "gossip: in the last 300 s sent 151 messages (0.5/s: 150 worker-heartbeat, 1 beat), \
                    received 3 (0.0/s: 2 control.ping, 1 change)";
        assert_eq!(after(&chatter, 300).as_deref(), Some(line));
        assert_eq!(after(&chatter, 300), None, "it was told");
        chatter.sent("beat");
        let line = "gossip: in the last 10 s sent 1 message (0.1/s: 1 beat), received 0";
        assert_eq!(after(&chatter, 10).as_deref(), Some(line));
        chatter.received("beat");
        let line = "gossip: in the last 10 s sent 0 messages, received 1 (0.1/s: 1 beat)";
        assert_eq!(after(&chatter, 10).as_deref(), Some(line));
    }

    #[test]
    fn kinds_that_others_choose_do_not_fill_the_memory() {
        let chatter = Chatter::default();
        for number in 0..10_000 {
            chatter.received(&format!("kind-{number}"));
        }
        let counts = lock(&chatter.counts).clone();
        assert_eq!((counts.received.0.len(), counts.received.total()), (KINDS + 1, 10_000));
        let line = after(&chatter, 1).unwrap();
        assert!(
            line.len() < 300 && line.contains("9936 other") && line.ends_with("57 of other kinds)"),
            "{line}"
        );
    }

    #[test]
    fn events_of_strange_kinds_are_not_named() {
        let chatter = Chatter::default();
        let longest = format!("task-{}", "x".repeat(LONGEST - 5));
        for kind in ["worker-heartbeat", "task-sent", &longest] {
            chatter.received_event(kind);
        }
        let long = format!("{longest}x");
        for kind in [&long, "worker-\nERROR", "task-é", "task-A", "beat", "xworker-a", ""] {
            chatter.received_event(kind);
        }
        let Kinds(received) = lock(&chatter.counts).clone().received;
        let counted: Vec<_> = received.iter().map(|(kind, count)| (&**kind, *count)).collect();
        assert_eq!(counted, [("other", 7), ("task-sent", 1), (&*longest, 1), ("worker-heartbeat", 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn lines_come_at_their_interval_and_no_sooner() {
        let chatter = Chatter::default();
        let span = Duration::from_secs(300);
        chatter.sent("beat");
        let told = |chatter: &Chatter| lock(&chatter.told).0.sent.total();
        // As after a loss of the broker: what was begun anew tells when the first would have.
        for _ in 0..2 {
            assert!(tokio::time::timeout(span / 3, chatter.tell(span)).await.is_err());
            assert_eq!(told(&chatter), 0);
        }
        assert!(tokio::time::timeout(span / 2, chatter.tell(span)).await.is_err());
        assert_eq!(told(&chatter), 1);
        chatter.tell(Duration::ZERO).await;
    }
}
