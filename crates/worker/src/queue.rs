//! The queue between the intake and the runners, which wakes as few of them as it can.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Items that wait for a runner. Pushing wakes nobody: whoever pushed says [`wake`](Queue::wake) when it is done,
/// which wakes one runner; that one wakes the next before it turns to something that takes long.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    work: Notify,
}

struct State<T> {
    items: VecDeque<T>,
    /// Runners that wait and were not woken yet.
    idle: usize,
    closed: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Queue {
            state: Mutex::new(State { items: VecDeque::new(), idle: 0, closed: false }),
            work: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an item; a closed queue gives it back.
    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        let mut state = self.state();
        if state.closed {
            return Err(item);
        }
        state.items.push_back(item);
        Ok(())
    }

    /// Wakes a runner, if one is idle and something waits; whether something still waits that a runner could take.
    pub(crate) fn wake(&self) -> bool {
        let mut state = self.state();
        if state.items.is_empty() || state.idle == 0 {
            return false;
        }
        state.idle -= 1;
        let more = state.idle > 0 && state.items.len() > 1;
        drop(state);
        self.work.notify_one();
        more
    }

    /// The next item, without waiting.
    pub(crate) fn try_pop(&self) -> Option<T> {
        self.state().items.pop_front()
    }

    /// The next item; `None` when the queue is closed, or whoever asks is found to be one too many before it has one.
    pub(crate) async fn pop(&self, is_surplus: impl Fn() -> bool) -> Option<T> {
        loop {
            let mut work = pin!(self.work.notified());
            {
                let mut state = self.state();
                if state.closed || is_surplus() {
                    return None;
                }
                if let Some(item) = state.items.pop_front() {
                    return Some(item);
                }
                // Counted and waiting in one step: a wake finds whom it counts on.
                state.idle += 1;
                work.as_mut().enable();
            }
            work.await;
        }
    }

    /// Has every idle runner look around.
    pub(crate) fn rouse(&self) {
        self.state().idle = 0;
        self.work.notify_waiters();
    }

    /// Ends the runners; what waits can still be taken by [`try_pop`](Queue::try_pop).
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.work.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn every_wake_reaches_a_runner_of_its_own() {
        let queue = Arc::new(Queue::new());
        let runners: Vec<_> = (0..3)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.pop(|| false).await })
            })
            .collect();
        while queue.state().idle < 3 {
            tokio::task::yield_now().await;
        }
        assert!(!queue.wake(), "nothing waits");
        (1..=3).for_each(|item| queue.push(item).unwrap());
        assert_eq!([queue.wake(), queue.wake(), queue.wake(), queue.wake()], [true, true, false, false]);
        let mut taken = Vec::new();
        for runner in runners {
            taken.push(runner.await.unwrap());
        }
        taken.sort_unstable();
        assert_eq!(taken, [Some(1), Some(2), Some(3)]);
    }

    #[tokio::test]
    async fn a_closed_queue_ends_its_runners_and_takes_nothing() {
        let queue = Arc::new(Queue::new());
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.pop(|| false).await }
        });
        while queue.state().idle < 1 {
            tokio::task::yield_now().await;
        }
        queue.push('a').unwrap();
        queue.close();
        assert_eq!(queue.push('b'), Err('b'));
        assert_eq!(waiting.await.unwrap(), None);
        assert_eq!(queue.try_pop(), Some('a'));
    }
}
