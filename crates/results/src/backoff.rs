//! How often and how fast an operation is tried again: the retry policy that Celery's stores share
//! (`celery/backends/base.py`, `retry_policy`), with jitter.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// How often an operation is tried again.
pub(crate) const MAX_RETRIES: u32 = 20;

/// How long to wait before retry `retry`, counted from 0: at once, then a second, give or take a quarter.
pub(crate) fn delay(retry: u32) -> Duration {
    match retry {
        0 => Duration::ZERO,
        _ => Duration::from_millis(750 + random() % 500),
    }
}

/// A random part of a pause, between half and the whole.
pub(crate) fn jitter(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + (random() % 1_000) as f64 / 2_000.0)
}

fn random() -> u64 {
    RandomState::new().hash_one(0)
}
