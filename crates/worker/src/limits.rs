//! What waits for its turn by a rate limit (`celery/worker/consumer/consumer.py`, `kombu/utils/limits.py`).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::task::Rate;

/// How late a turn may be without making the next one late too: timers are coarse.
const LATE: Duration = Duration::from_millis(5);
/// The longest wait between two turns, which is for ever: past it, times would overflow.
const LONGEST: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// Items that wait in a lane for each limited task, in order. It never reads a clock.
///
/// Celery's token bucket holds one token: the next item may go one interval after the last one, and no rest saves
/// up more.
pub(crate) struct Limits<T> {
    lanes: HashMap<Arc<str>, Lane<T>>,
    /// Lanes in which something waits, by the time of its turn.
    turns: BTreeSet<(Instant, Arc<str>)>,
}

struct Lane<T> {
    name: Arc<str>,
    interval: Duration,
    /// When the last one had its turn.
    last: Option<Instant>,
    /// When the first that waits has its turn.
    turn: Instant,
    waiting: VecDeque<T>,
}

impl<T> Default for Limits<T> {
    fn default() -> Self {
        Limits { lanes: HashMap::new(), turns: BTreeSet::new() }
    }
}

impl<T> Limits<T> {
    /// Has an item wait for its turn, which may be now.
    pub(crate) fn push(&mut self, name: &str, rate: &Rate, item: T, now: Instant) {
        let lane = self.lanes.entry(name.into()).or_insert_with_key(|name| Lane {
            name: name.clone(),
            interval: interval(rate),
            last: None,
            turn: now,
            waiting: VecDeque::new(),
        });
        lane.waiting.push_back(item);
        if lane.waiting.len() == 1 {
            lane.interval = interval(rate);
            lane.turn = lane.next().map_or(now, |next| next.max(now));
            self.turns.insert((lane.turn, lane.name.clone()));
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.waiting.len()).sum()
    }

    /// When the next item has its turn.
    pub(crate) fn next_turn(&self) -> Option<Instant> {
        self.turns.first().map(|(turn, _)| *turn)
    }

    /// Takes out an item whose turn has come.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<T> {
        self.next_turn().filter(|turn| *turn <= now)?;
        let (turn, name) = self.turns.pop_first()?;
        let lane = self.lanes.get_mut(&name)?;
        let item = lane.waiting.pop_front();
        let last = now.checked_sub(LATE).map_or(turn, |earliest| turn.max(earliest));
        lane.last = Some(last);
        if !lane.waiting.is_empty() {
            lane.turn = last + lane.interval;
            self.turns.insert((lane.turn, name));
        }
        item
    }

    /// A task has another rate now, also for what waits already.
    pub(crate) fn change(&mut self, name: &str, rate: &Rate, now: Instant) {
        let Some(lane) = self.lanes.get_mut(name) else { return };
        lane.interval = interval(rate);
        if self.turns.remove(&(lane.turn, lane.name.clone())) {
            lane.turn = lane.next().map_or(now, |next| next.max(now));
            self.turns.insert((lane.turn, lane.name.clone()));
        }
    }

    /// Drops all that waits.
    pub(crate) fn clear(&mut self) {
        self.turns.clear();
        self.lanes.values_mut().for_each(|lane| lane.waiting.clear());
    }

    /// A task has no rate any more: all that waited for it, in order.
    pub(crate) fn lift(&mut self, name: &str) -> VecDeque<T> {
        let Some(lane) = self.lanes.remove(name) else { return VecDeque::new() };
        self.turns.remove(&(lane.turn, lane.name));
        lane.waiting
    }
}

impl<T> Lane<T> {
    fn next(&self) -> Option<Instant> {
        self.last.map(|last| last + self.interval)
    }
}

fn interval(rate: &Rate) -> Duration {
    Duration::try_from_secs_f64(1.0 / rate.per_second()).unwrap_or(LONGEST).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    /// What has its turn in each of the given milliseconds.
    fn popped(limits: &mut Limits<char>, start: Instant, at: &[u64]) -> String {
        let mut popped = String::new();
        for (index, millis) in at.iter().enumerate() {
            if index > 0 {
                popped.push(' ');
            }
            let now = start + Duration::from_millis(*millis);
            popped.extend(std::iter::from_fn(|| limits.pop(now)));
        }
        popped
    }

    fn limits(items: &str, text: &str, now: Instant) -> Limits<char> {
        let mut limits = Limits::default();
        items.chars().for_each(|item| limits.push("t", &rate(text), item, now));
        limits
    }

    #[test]
    fn one_goes_at_once_and_the_others_an_interval_apart_in_order() {
        let start = Instant::now();
        let mut limits = limits("abcd", "10/s", start);
        assert_eq!(popped(&mut limits, start, &[0, 99, 100, 150, 200]), "a  b  c");
        assert_eq!(limits.next_turn(), Some(start + Duration::from_millis(300)));
        assert_eq!(popped(&mut limits, start, &[300]), "d");
        assert_eq!(limits.next_turn(), None);
    }

    #[test]
    fn a_rest_saves_up_one_turn_and_no_more() {
        let start = Instant::now();
        let mut limits = limits("a", "10/s", start);
        assert_eq!(popped(&mut limits, start, &[0]), "a");
        // A second later, ten intervals have passed.
        let later = start + Duration::from_secs(1);
        "bcd".chars().for_each(|item| limits.push("t", &rate("10/s"), item, later));
        assert_eq!(popped(&mut limits, start, &[1000, 1099, 1100, 1200]), "b  c d");
    }

    #[test]
    fn a_late_look_gives_up_what_is_more_than_a_timer_s_delay() {
        let start = Instant::now();
        let mut limits = limits(&"x".repeat(20), "1000/s", start);
        let counts: Vec<_> = [0, 1, 3, 1000].map(|at| popped(&mut limits, start, &[at]).len()).into();
        // Two turns at 3 ms: one was late. At 1000 ms no more than what the delay of a timer may hold back.
        assert_eq!(counts, [1, 1, 2, 6]);
    }

    #[test]
    fn lanes_do_not_hold_each_other_up() {
        let start = Instant::now();
        let mut limits = limits("abc", "1/h", start);
        limits.push("other", &rate("1/s"), 'x', start);
        limits.push("other", &rate("1/s"), 'y', start);
        assert_eq!(popped(&mut limits, start, &[0, 1000, 2000]).replace(' ', "").len(), 3);
        assert_eq!(limits.next_turn(), Some(start + Duration::from_secs(3600)));
    }

    #[test]
    fn another_rate_holds_at_once_and_none_lets_all_go() {
        let start = Instant::now();
        let mut limits = limits("abcdefg", "1/h", start);
        assert_eq!(popped(&mut limits, start, &[0, 5000]), "a ");
        limits.change("t", &rate("10/s"), start + Duration::from_secs(5));
        assert_eq!(popped(&mut limits, start, &[5000, 5050, 5100]), "b  c");
        limits.change("t", &rate("1/m"), start + Duration::from_millis(5100));
        assert_eq!(limits.next_turn(), Some(start + Duration::from_millis(65_100)));
        assert_eq!(limits.lift("t"), ['d', 'e', 'f', 'g']);
        assert_eq!((limits.next_turn(), limits.lift("t").len()), (None, 0));
    }

    #[test]
    fn a_rate_of_next_to_nothing_is_for_ever() {
        let start = Instant::now();
        let mut limits = limits("ab", "1e-300/h", start);
        assert_eq!(popped(&mut limits, start, &[0, 1_000_000]), "a ");
        assert!(limits.next_turn().is_some_and(|turn| turn > start + LONGEST / 2));
    }
}
