//! Lamport's logical clock, which orders what workers say.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The largest value that is taken over from a peer: 2^62.
///
/// At this bound or below, a clock has 2^62 ticks before it leaves the 64-bit integers of AMQP's tables. A value
/// above it, which no honest clock reaches, counts as a message without a clock.
const MAX_PEER: u64 = 1 << 62;

/// Lamport's logical clock (`kombu/clocks.py`): ticks with each message sent, and is ahead of each received.
#[derive(Debug, Default)]
pub struct LamportClock(AtomicU64);

impl LamportClock {
    /// A clock that stands at `value`.
    pub fn new(value: u64) -> Self {
        LamportClock(AtomicU64::new(value.min(MAX_PEER)))
    }

    /// Where it stands.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Ticks, before a message is sent; returns the new value.
    pub fn forward(&self) -> u64 {
        self.0.fetch_add(1, Relaxed) + 1
    }

    /// Ticks past a peer's value, when its message is received; returns the new value.
    ///
    /// A value above 2^62 is not believed: the clock ticks by one, and can neither overflow nor stand still.
    pub fn adjust(&self, other: u64) -> u64 {
        let other = if other > MAX_PEER { 0 } else { other };
        let tick = |value: u64| value.max(other) + 1;
        self.0.fetch_update(Relaxed, Relaxed, |value| Some(tick(value))).map_or_else(tick, tick)
    }
}
