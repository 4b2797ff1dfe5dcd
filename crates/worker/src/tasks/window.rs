use celeriac_broker::Prefetch;
use tokio::sync::watch;

use crate::executor::Executor;

/// How many deliveries may be unsettled.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) base: u16,
    /// Each queue has a count of its own.
    pub(super) each_queue: bool,
    /// So many of them are taken by what came over earlier connections and still runs.
    pub(super) taken: usize,
}

impl Window {
    /// With so many tasks that wait for their time, which must not keep the others out.
    pub(super) fn with(self, waiting: usize) -> Prefetch {
        let count = usize::from(self.base).saturating_add(waiting).min(usize::from(u16::MAX)) as u16;
        let free = usize::from(count).saturating_sub(self.taken) as u16;
        match (self.base, self.each_queue, free) {
            (0, ..) => Prefetch::Unlimited,
            (_, _, 0) => Prefetch::Nothing,
            (_, true, free) => Prefetch::Queue(free),
            (_, false, free) => Prefetch::Session(free),
        }
    }
}

/// The deliveries that the executor would have in stock.
pub(super) struct Stock {
    pub(super) wanted: watch::Receiver<usize>,
    /// How many it may have; 0 is no more than the prefetch count.
    pub(super) now: u16,
}

impl Stock {
    pub(super) fn of(executor: &dyn Executor) -> Self {
        Stock { wanted: executor.stock(), now: 0 }
    }

    /// Lets it have what it wants, or nothing; whether it has none any more.
    pub(super) fn turn(&mut self, is_allowed: bool) -> bool {
        let wanted = *self.wanted.borrow();
        let now = if is_allowed { u16::try_from(wanted).unwrap_or(u16::MAX) } else { 0 };
        std::mem::replace(&mut self.now, now) > now && now == 0
    }
}
