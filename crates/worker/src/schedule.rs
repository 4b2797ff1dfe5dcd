//! Things that wait for their time.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

/// Items by the time they are due; those of one instant keep their order. It never reads a clock.
#[derive(Debug)]
pub(crate) struct Schedule<T> {
    items: BTreeMap<(DateTime<Utc>, u64), T>,
    next: u64,
}

impl<T> Schedule<T> {
    pub(crate) fn new() -> Self {
        Schedule { items: BTreeMap::new(), next: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn insert(&mut self, due: DateTime<Utc>, item: T) {
        self.items.insert((due, self.next), item);
        self.next += 1;
    }

    /// When the next item is due.
    pub(crate) fn next_due(&self) -> Option<DateTime<Utc>> {
        self.items.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes out an item that is due.
    pub(crate) fn pop_due(&mut self, now: DateTime<Utc>) -> Option<T> {
        self.next_due().filter(|due| *due <= now)?;
        self.items.pop_first().map(|(_, item)| item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_out_by_time_then_by_order() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let mut schedule = Schedule::new();
        for (due, item) in [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b'), (i64::from(u32::MAX) * 100, 'z')] {
            schedule.insert(at(due), item);
        }
        assert_eq!(schedule.next_due(), Some(at(1)));
        assert_eq!(schedule.pop_due(at(0)), None);
        let due: String = std::iter::from_fn(|| schedule.pop_due(at(5))).collect();
        assert_eq!(due, "abcd");
        assert_eq!(schedule.len(), 1);
    }
}
