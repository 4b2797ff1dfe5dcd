//! A pool that grows with what there is to do, and shrinks when that is over (`celery/worker/autoscale.py`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Executor, PoolStats};
use crate::request::{Facts, Request};

/// Time between two looks at a pool that gets nothing to do.
const TICK: Duration = Duration::from_secs(1);

/// `--autoscale`: between which bounds a pool is resized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Autoscale {
    /// How many tasks run at once at most.
    pub max: usize,
    /// How many could at least.
    pub min: usize,
    /// For how long what it has grown to must not have been needed before it shrinks, `AUTOSCALE_KEEPALIVE`.
    pub keepalive: Duration,
}

/// An executor that is resized by its load, between bounds that remote control can move.
pub(crate) struct Autoscaler {
    scaled: Arc<Scaled>,
    clock: JoinHandle<()>,
}

struct Scaled {
    executor: Arc<dyn Executor>,
    scale: Mutex<Scale>,
}

/// When to resize to what: a pure machine.
struct Scale {
    bounds: Autoscale,
    /// When there was last as much to do as can run at once.
    needed: Instant,
}

impl Scale {
    /// The size for this load, if it is to be another one.
    fn turn(&mut self, current: usize, load: usize, now: Instant) -> Option<usize> {
        let Autoscale { max, min, keepalive } = self.bounds;
        if load >= current {
            self.needed = now;
        }
        let wanted = load.max(min).min(max);
        let may_shrink = current > max || now.saturating_duration_since(self.needed) > keepalive;
        (wanted > current || wanted < current && may_shrink).then_some(wanted)
    }
}

impl Autoscaler {
    /// Resizes this executor, which starts with the fewest.
    pub(crate) fn new(executor: Arc<dyn Executor>, bounds: Autoscale) -> Arc<Self> {
        let scale = Mutex::new(Scale { bounds, needed: Instant::now() });
        let scaled = Arc::new(Scaled { executor, scale });
        let watched = scaled.clone();
        let clock = tokio::spawn(async move {
            loop {
                tokio::time::sleep(TICK).await;
                watched.turn();
            }
        });
        Arc::new(Autoscaler { scaled, clock })
    }

    /// The bounds.
    pub(crate) fn bounds(&self) -> Autoscale {
        self.scaled.scale().bounds
    }

    /// Moves the bounds.
    pub(crate) fn update(&self, max: usize, min: usize) {
        {
            let bounds = &mut self.scaled.scale().bounds;
            (bounds.max, bounds.min) = (max, min);
        }
        self.scaled.turn();
    }
}

impl Scaled {
    fn scale(&self) -> MutexGuard<'_, Scale> {
        self.scale.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) {
        let mut scale = self.scale();
        let current = self.executor.concurrency();
        let Some(wanted) = scale.turn(current, self.executor.load(), Instant::now()) else { return };
        self.executor.resize(wanted);
        // Not every pool can be of any size.
        match self.executor.concurrency() {
            size if size > current => tracing::info!("Scaling up {} processes.", size - current),
            size if size < current => tracing::info!("Scaling down {} processes.", current - size),
            _ => {}
        }
    }
}

impl Drop for Autoscaler {
    fn drop(&mut self) {
        self.clock.abort();
    }
}

#[async_trait]
impl Executor for Autoscaler {
    fn concurrency(&self) -> usize {
        self.scaled.executor.concurrency()
    }

    fn resize(&self, concurrency: usize) {
        self.scaled.executor.resize(concurrency);
    }

    fn submit(&self, request: Box<Request>) {
        self.scaled.executor.submit(request);
    }

    fn wake(&self) -> bool {
        self.scaled.turn();
        self.scaled.executor.wake()
    }

    fn stock(&self) -> watch::Receiver<usize> {
        self.scaled.executor.stock()
    }

    fn load(&self) -> usize {
        self.scaled.executor.load()
    }

    fn discard_waiting(&self) {
        self.scaled.executor.discard_waiting();
    }

    async fn idle(&self) {
        self.scaled.executor.idle().await;
    }

    fn terminate(&self, facts: &Facts, signal: i32) {
        self.scaled.executor.terminate(facts, signal);
    }

    fn cancel_late(&self) {
        self.scaled.executor.cancel_late();
    }

    async fn cancel(&self) {
        self.clock.abort();
        self.scaled.executor.cancel().await;
    }

    fn restart(&self) {
        self.scaled.executor.restart();
    }

    fn stats(&self) -> PoolStats {
        self.scaled.executor.stats()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(min: usize) -> (Scale, Instant) {
        let bounds = Autoscale { max: 10, min, keepalive: Duration::from_secs(30) };
        let now = Instant::now();
        (Scale { bounds, needed: now }, now)
    }

    #[test]
    fn it_grows_at_once_to_the_load_and_no_further_than_it_may() {
        let (mut scale, now) = scale(2);
        assert_eq!(scale.turn(2, 0, now), None);
        assert_eq!(scale.turn(2, 2, now), None);
        assert_eq!(scale.turn(2, 5, now), Some(5));
        assert_eq!(scale.turn(5, 40, now), Some(10));
        assert_eq!(scale.turn(10, 40, now), None);
    }

    #[test]
    fn it_shrinks_when_it_was_not_needed_for_a_while() {
        let (mut scale, now) = scale(2);
        let at = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(scale.turn(10, 12, at(0)), None);
        assert_eq!(scale.turn(10, 4, at(20)), None);
        assert_eq!(scale.turn(10, 10, at(25)), None, "needed again");
        assert_eq!(scale.turn(10, 4, at(55)), None);
        assert_eq!(scale.turn(10, 4, at(56)), Some(4));
        assert_eq!(scale.turn(4, 0, at(56)), Some(2));
    }

    #[test]
    fn it_can_shrink_to_nothing_and_comes_back() {
        let (mut scale, now) = scale(0);
        assert_eq!(scale.turn(0, 0, now), None);
        assert_eq!(scale.turn(0, 1, now), Some(1));
        assert_eq!(scale.turn(1, 0, now + Duration::from_secs(31)), Some(0));
    }

    #[test]
    fn what_remote_control_has_forbidden_ends_at_once() {
        let (mut scale, now) = scale(0);
        scale.bounds.max = 3;
        assert_eq!(scale.turn(10, 10, now), Some(3));
    }
}
