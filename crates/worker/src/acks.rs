//! Which deliveries may be acknowledged, and telling the broker so in few frames.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use celeriac_broker::{Session, Settlement};
use tokio::sync::Notify;

/// The longest that an acknowledgement waits for others to travel with.
const LINGER: Duration = Duration::from_millis(5);

/// The deliveries of one session, by tag. A pure state machine.
///
/// `AckThrough(n)` settles everything up to `n`, so it may only be said when nothing up to `n` is still held, nor
/// on its way to us: with several queues, deliveries may reach us out of the order of their tags.
#[derive(Debug, Default)]
struct Ledger {
    /// Every tag below has been delivered to us.
    seen_below: u64,
    /// Delivered tags above that.
    seen_above: BTreeSet<u64>,
    /// Delivered, not settled, not to be settled yet.
    held: BTreeSet<u64>,
    /// To be acknowledged with the next flush.
    done: BTreeSet<u64>,
    /// Held, to be acknowledged with the next flush without giving up their places.
    kept: Vec<u64>,
    /// To be rejected or requeued with the next flush.
    refused: Vec<Settlement>,
}

impl Ledger {
    fn new() -> Self {
        Ledger { seen_below: 1, ..Ledger::default() }
    }

    fn deliver(&mut self, tag: u64) {
        self.held.insert(tag);
        if tag == self.seen_below {
            self.seen_below += 1;
            while self.seen_above.remove(&self.seen_below) {
                self.seen_below += 1;
            }
        } else if tag > self.seen_below {
            self.seen_above.insert(tag);
        }
    }

    fn ack(&mut self, tag: u64) {
        if self.held.remove(&tag) {
            self.kept.retain(|kept| *kept != tag);
            self.done.insert(tag);
        }
    }

    fn keep(&mut self, tag: u64) {
        if self.held.contains(&tag) {
            self.kept.push(tag);
        }
    }

    fn refuse(&mut self, tag: u64, requeue: bool) {
        if self.held.remove(&tag) {
            self.refused.push(if requeue { Settlement::Requeue(tag) } else { Settlement::Reject(tag) });
        }
    }

    fn pending(&self) -> usize {
        self.done.len() + self.kept.len() + self.refused.len()
    }

    /// What goes out now. Tags past one that is still held need a frame each: fewer than `scattered` of them stay
    /// for the next flush, since that one may be done by then.
    fn flush(&mut self, scattered: usize) -> Vec<Settlement> {
        let mut settlements = std::mem::take(&mut self.refused);
        settlements.extend(self.kept.drain(..).map(Settlement::Keep));
        let limit = self.held.first().map_or(self.seen_below, |held| self.seen_below.min(*held));
        let later = self.done.split_off(&limit);
        settlements.extend(self.done.last().map(|last| Settlement::AckThrough(*last)));
        if later.len() < scattered {
            self.done = later;
        } else {
            settlements.extend(later.iter().map(|tag| Settlement::Ack(*tag)));
            self.done.clear();
        }
        settlements
    }
}

/// The acknowledgements of one session.
pub(crate) struct Acks {
    ledger: Mutex<Ledger>,
    flush: Notify,
    soon: Notify,
    end: Notify,
    /// So many settlements go out at once; fewer wait for others.
    batch: AtomicUsize,
    /// What is acknowledged keeps its place of the prefetch count until its ticket is gone. Who is told of places that
    /// become free though the session is gone.
    places: Option<Arc<Notify>>,
    /// The session is gone: every delivery comes again, whatever we say.
    void: AtomicBool,
}

impl Acks {
    /// For a session with this many unsettled deliveries at most (0: any number).
    pub(crate) fn new(prefetch: usize) -> Arc<Self> {
        Self::with(batch(prefetch), None)
    }

    /// For a session in which whoever runs keeps its place. Settlements wait for no others, since a free place waits for
    /// them. Somebody is told of each place that becomes free after the session's end.
    pub(crate) fn keeping_places(freed: Arc<Notify>) -> Arc<Self> {
        Self::with(1, Some(freed))
    }

    fn with(batch: usize, places: Option<Arc<Notify>>) -> Arc<Self> {
        Arc::new(Acks {
            ledger: Mutex::new(Ledger::new()),
            flush: Notify::new(),
            soon: Notify::new(),
            end: Notify::new(),
            batch: AtomicUsize::new(batch),
            places,
            void: AtomicBool::new(false),
        })
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A delivery arrived: its ticket.
    pub(crate) fn deliver(self: &Arc<Self>, tag: u64) -> Ticket {
        self.ledger().deliver(tag);
        Ticket { acks: Some(self.clone()), tag, is_done: false }
    }

    /// The session is gone.
    pub(crate) fn void(&self) {
        self.void.store(true, Ordering::Relaxed);
    }

    /// Whether what runs keeps its place.
    pub(crate) fn keeps_places(&self) -> bool {
        self.places.is_some()
    }

    /// The session may have this many unsettled deliveries now (0: any number).
    pub(crate) fn resize(&self, prefetch: usize) {
        if !self.keeps_places() {
            self.batch.store(batch(prefetch), Ordering::Relaxed);
        }
    }

    /// How many deliveries are neither settled nor about to be.
    pub(crate) fn held(&self) -> usize {
        self.ledger().held.len()
    }

    /// Changes the ledger, and sees to it that what it holds is sent.
    fn with_ledger(&self, change: impl FnOnce(&mut Ledger)) {
        let pending = {
            let mut ledger = self.ledger();
            change(&mut ledger);
            ledger.pending()
        };
        self.changed(pending);
    }

    fn changed(&self, pending: usize) {
        if pending >= self.batch.load(Ordering::Relaxed) {
            self.flush.notify_one();
        } else if pending == 1 {
            self.soon.notify_one();
        }
    }

    /// Sends what is to be settled, until it is told to [`end`](Self::end). It must not be dropped before: what is
    /// on its way to the session is in no ledger any more.
    ///
    /// # Errors
    /// When the session is lost.
    pub(crate) async fn run(&self, session: &dyn Session) -> Result<(), celeriac_broker::Error> {
        loop {
            let lingered = tokio::select! {
                biased;
                () = self.end.notified() => return self.send(session, 0).await,
                () = self.flush.notified() => false,
                () = self.soon.notified() => {
                    tokio::time::timeout(LINGER, self.flush.notified()).await.is_err()
                }
            };
            let scattered = if lingered { 0 } else { self.batch.load(Ordering::Relaxed).div_ceil(2) };
            self.send(session, scattered).await?;
            if self.ledger().pending() > 0 {
                self.soon.notify_one();
            }
        }
    }

    /// Has everything sent that is to be settled, and [`run`](Self::run) end.
    pub(crate) fn end(&self) {
        self.end.notify_one();
    }

    async fn send(&self, session: &dyn Session, scattered: usize) -> Result<(), celeriac_broker::Error> {
        let settlements = self.ledger().flush(scattered);
        if settlements.is_empty() { Ok(()) } else { session.settle(&settlements).await }
    }
}

/// An eighth of the window, of a small one a half: each batch makes the broker deliver as many at once.
fn batch(prefetch: usize) -> usize {
    if prefetch == 0 { 128 } else { (prefetch / 8).max(prefetch.min(8) / 2).clamp(1, 128) }
}

/// The right to settle one delivery, once. Dropped without, the delivery goes back to its queue.
pub(crate) struct Ticket {
    acks: Option<Arc<Acks>>,
    tag: u64,
    /// Acknowledged; it only keeps its place.
    is_done: bool,
}

impl Ticket {
    /// Whether the delivery comes again, whatever is said of it.
    pub(crate) fn is_void(&self) -> bool {
        self.acks.as_ref().is_some_and(|acks| acks.void.load(Ordering::Relaxed))
    }

    /// Done.
    pub(crate) fn ack(&mut self) {
        let Some(acks) = self.acks.as_ref().filter(|acks| acks.keeps_places()) else {
            return self.settle(|ledger, tag| ledger.ack(tag));
        };
        if !std::mem::replace(&mut self.is_done, true) {
            acks.with_ledger(|ledger| ledger.keep(self.tag));
        }
    }

    /// Done, and told at once: what comes next may take long, or take the process down.
    pub(crate) fn ack_now(&mut self) {
        let acks = self.acks.clone();
        self.ack();
        if let Some(acks) = acks {
            acks.flush.notify_one();
        }
    }

    /// Back to the queue, or to the dead-letter exchange.
    pub(crate) fn refuse(&mut self, requeue: bool) {
        if !self.is_done {
            self.settle(|ledger, tag| ledger.refuse(tag, requeue));
        }
    }

    fn settle(&mut self, how: impl FnOnce(&mut Ledger, u64)) {
        if let Some(acks) = self.acks.take() {
            acks.with_ledger(|ledger| how(ledger, self.tag));
            if let Some(freed) = acks.places.as_ref().filter(|_| acks.void.load(Ordering::Relaxed)) {
                freed.notify_one();
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        match self.is_done {
            true => self.settle(|ledger, tag| ledger.ack(tag)),
            false => self.refuse(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(delivered: &[u64]) -> Ledger {
        let mut ledger = Ledger::new();
        delivered.iter().for_each(|tag| ledger.deliver(*tag));
        ledger
    }

    #[test]
    fn what_is_done_in_a_row_is_one_settlement() {
        let mut ledger = ledger(&[1, 2, 3, 4]);
        [2, 1, 3].iter().for_each(|tag| ledger.ack(*tag));
        assert_eq!(ledger.flush(0), [Settlement::AckThrough(3)]);
        assert_eq!(ledger.flush(0), []);
    }

    #[test]
    fn nothing_is_acked_past_what_is_held() {
        let mut ledger = ledger(&[1, 2, 3, 4]);
        [1, 3, 4].iter().for_each(|tag| ledger.ack(*tag));
        assert_eq!(ledger.flush(0), [Settlement::AckThrough(1), Settlement::Ack(3), Settlement::Ack(4)]);
        ledger.ack(2);
        assert_eq!(ledger.flush(0), [Settlement::AckThrough(2)]);
    }

    #[test]
    fn nothing_is_acked_past_what_is_on_its_way() {
        let mut ledger = ledger(&[1, 3]);
        [1, 3].iter().for_each(|tag| ledger.ack(*tag));
        assert_eq!(ledger.flush(0), [Settlement::AckThrough(1), Settlement::Ack(3)]);
        ledger.deliver(2);
        ledger.deliver(4);
        ledger.ack(4);
        assert_eq!(ledger.flush(0), [Settlement::Ack(4)]);
        ledger.ack(2);
        assert_eq!(ledger.flush(0), [Settlement::AckThrough(2)]);
    }

    #[test]
    fn few_scattered_ones_wait_for_the_gap_to_close() {
        let mut ledger = ledger(&[1, 2, 3, 4]);
        [3, 4].iter().for_each(|tag| ledger.ack(*tag));
        assert_eq!(ledger.flush(3), []);
        assert_eq!(ledger.pending(), 2);
        [1, 2].iter().for_each(|tag| ledger.ack(*tag));
        assert_eq!(ledger.flush(3), [Settlement::AckThrough(4)]);
        assert_eq!(ledger.pending(), 0);
    }

    #[test]
    fn what_is_refused_is_told_first_and_never_acked() {
        let mut ledger = ledger(&[1, 2, 3]);
        ledger.refuse(2, true);
        ledger.refuse(3, false);
        ledger.ack(1);
        ledger.ack(2);
        let expected = [Settlement::Requeue(2), Settlement::Reject(3), Settlement::AckThrough(1)];
        assert_eq!(ledger.flush(0), expected);
    }

    #[test]
    fn a_dropped_ticket_gives_the_delivery_back() {
        let acks = Acks::new(1);
        drop(acks.deliver(1));
        let mut second = acks.deliver(2);
        second.ack();
        second.refuse(true);
        drop(second);
        assert_eq!(acks.ledger().flush(0), [Settlement::Requeue(1), Settlement::AckThrough(2)]);
    }

    /// Takes its time over each call, as a broker that is slow to read.
    struct Slow {
        settled: Mutex<Vec<Settlement>>,
        entered: Notify,
        go: Notify,
    }

    #[async_trait::async_trait]
    impl Session for Slow {
        async fn subscribe(&self, _: &celeriac_broker::Subscription) -> Result<(), celeriac_broker::Error> {
            Ok(())
        }

        async fn unsubscribe(&self, _: &str) -> Result<(), celeriac_broker::Error> {
            Ok(())
        }

        async fn set_prefetch(&self, _: celeriac_broker::Prefetch) -> Result<(), celeriac_broker::Error> {
            Ok(())
        }

        async fn settle(&self, settlements: &[Settlement]) -> Result<(), celeriac_broker::Error> {
            self.entered.notify_one();
            self.go.notified().await;
            self.settled.lock().unwrap().extend(settlements);
            Ok(())
        }

        async fn close(&self) {}
    }

    #[tokio::test]
    async fn the_end_waits_for_what_is_on_its_way_and_sends_the_rest_after_it() {
        let session = Arc::new(Slow { settled: Mutex::default(), entered: Notify::new(), go: Notify::new() });
        let acks = Acks::new(1);
        let mut tickets: Vec<_> = (1..=4).map(|tag| acks.deliver(tag)).collect();
        let flusher = tokio::spawn({
            let (acks, session) = (acks.clone(), session.clone());
            async move { acks.run(&*session).await }
        });
        tickets[0].refuse(true);
        session.entered.notified().await;
        // While the first is on its way, the others are settled and the end comes.
        tickets[1].refuse(true);
        tickets[2].ack();
        tickets[3].ack();
        acks.end();
        session.go.notify_one();
        tokio::select! {
            () = session.entered.notified() => session.go.notify_one(),
            () = tokio::time::sleep(Duration::from_secs(10)) => panic!("the rest was not sent"),
        }
        flusher.await.unwrap().unwrap();
        let settled = session.settled.lock().unwrap().clone();
        assert_eq!(settled, [Settlement::Requeue(1), Settlement::Requeue(2), Settlement::AckThrough(4)]);
    }
}
