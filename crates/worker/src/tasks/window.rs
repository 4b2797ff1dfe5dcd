use celeriac_broker::Prefetch;

/// How many deliveries may be unsettled.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) base: u16,
    /// Each queue has a count of its own.
    pub(super) each_queue: bool,
}

impl Window {
    /// With so many tasks that wait for their time, which must not keep the others out.
    pub(super) fn with(self, waiting: usize) -> Prefetch {
        let count = usize::from(self.base).saturating_add(waiting).min(usize::from(u16::MAX)) as u16;
        match (self.base, self.each_queue) {
            (0, _) => Prefetch::Unlimited,
            (_, true) => Prefetch::Queue(count),
            (_, false) => Prefetch::Session(count),
        }
    }
}
