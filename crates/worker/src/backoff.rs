use std::time::Duration;

/// Waits that double up to a limit, each a random part between half and the whole, so that a thousand workers do
/// not come back in the same instant.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    limit: Duration,
    current: Duration,
}

impl Backoff {
    /// Starts with about `first`, ends at about `limit`.
    pub fn new(first: Duration, limit: Duration) -> Self {
        Backoff { first, limit, current: first }
    }

    /// The next wait.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Duration {
        let whole = self.current;
        self.current = (self.current * 2).min(self.limit);
        whole.mul_f64(0.5 + 0.5 * random())
    }

    /// Starts over.
    pub fn reset(&mut self) {
        self.current = self.first;
    }
}

/// A random number in `0..1`.
pub(crate) fn random() -> f64 {
    let (high, _) = uuid::Uuid::new_v4().as_u64_pair();
    (high >> 11) as f64 / (1u64 << 53) as f64
}
