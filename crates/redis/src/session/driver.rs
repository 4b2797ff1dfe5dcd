//! What a session waits for, and what it is asked.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use celeriac_broker::{Error, Event, Prefetch, Settlement, Subscription};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;

use super::state::{MOST, Plan, Source, State};
use crate::connection::number;
use crate::hub::Hub;
use crate::signals::{Fate, Signals};

/// How often lists are looked at though nothing was told, where Redis tells, and where it does not.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_OFTEN: Duration = Duration::from_millis(100);
/// How often leases are renewed at least.
const RENEW: Duration = Duration::from_secs(10);

type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What a session is asked.
pub(super) enum Order {
    Subscribe(Subscription, Reply<()>),
    Unsubscribe(String, Reply<()>),
    Prefetch(Prefetch, Reply<()>),
    Settle(Vec<Settlement>, Reply<()>),
    Close(Reply<()>),
}

/// How a session ends.
pub(super) enum End {
    /// In order; whoever waits for it learns of it.
    Closed(Option<Reply<()>>, Option<mpsc::Sender<()>>),
    Lost(Error),
}

/// The task of a session.
pub(super) struct Driver {
    pub hub: Arc<Hub>,
    pub id: u64,
    pub signals: Arc<Signals>,
    pub inbox: mpsc::UnboundedSender<Event>,
    pub state: State,
    /// Whether any source has lists.
    consumes: bool,
    /// There may be something to take.
    pub look: bool,
    /// What goes with the next script, and who waits for it.
    pub plan: Plan,
    pub settling: Vec<Reply<()>>,
    /// Which source is served first.
    pub turn: usize,
    pub next_look: tokio::time::Instant,
    next_renewal: tokio::time::Instant,
    /// Redis refuses for the time being; it was told.
    pub refused: bool,
    /// Queues of which a key is no list; it was told.
    pub bad: HashSet<String>,
    /// Whether Redis tells when a list changes.
    is_told: bool,
}

impl Driver {
    pub fn new(hub: Arc<Hub>, prefetch: Prefetch, inbox: mpsc::UnboundedSender<Event>) -> Self {
        let (id, signals) = hub.enter();
        let now = tokio::time::Instant::now();
        Driver {
            hub,
            id,
            signals,
            inbox,
            state: State::new(prefetch),
            consumes: false,
            look: false,
            plan: Plan::default(),
            settling: Vec::new(),
            turn: 0,
            next_look: now,
            next_renewal: now,
            refused: false,
            bad: HashSet::new(),
            is_told: true,
        }
    }

    pub async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let end = loop {
            if let Err(end) = self.step(&mut orders).await {
                break end;
            }
        };
        match end {
            End::Closed(reply, ended) => {
                self.settle_the_last(&mut orders);
                if let Err(error) = self.close().await {
                    tracing::debug!("a session could not give everything back: others will: {error}");
                    self.hub.owe();
                }
                self.hub.exit(self.id);
                // Before anybody learns that the session is closed, its inbox ends.
                drop(self);
                drop(ended);
                if let Some(reply) = reply {
                    let _ = reply.send(Ok(()));
                }
            }
            End::Lost(error) => {
                self.hub.owe();
                self.hub.exit(self.id);
                // As long as there is a sign of life, nobody gives back what this session held.
                self.hub.lose(error.clone());
                let _ = self.inbox.send(Event::Lost(error));
            }
        }
    }

    /// Waits for something to do, and does all that there is.
    async fn step(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>) -> Result<(), End> {
        let (consumes, holds) = (self.consumes, self.state.holds_leases());
        let is_ready = self.look && !self.refused && self.has_room();
        tokio::select! {
            biased;
            // First: whatever else there is to do, no lease may lapse.
            () = sleep_until(self.next_renewal), if holds => self.renew().await.map_err(End::Lost)?,
            () = self.signals.told() => {}
            order = orders.recv() => self.obey(order).await?,
            () = std::future::ready(()), if is_ready => {}
            () = sleep_until(self.next_look), if consumes => {
                (self.look, self.refused) = (true, false);
                self.look_later();
            }
        }
        // What came meanwhile goes together.
        for _ in 0..MOST {
            match orders.try_recv() {
                Ok(order) => self.obey(Some(order)).await?,
                Err(_) => break,
            }
        }
        self.heed()?;
        self.work().await.map_err(End::Lost)?;
        self.hand_over();
        Ok(())
    }

    fn heed(&mut self) -> Result<(), End> {
        self.look |= self.signals.take_changed();
        match self.signals.take_fate() {
            Some(Fate::Lost(error)) => Err(End::Lost(error)),
            Some(Fate::End(ended)) => Err(End::Closed(None, Some(ended))),
            None => Ok(()),
        }
    }

    /// What was settled before the session ended is settled: else it would come again. Whoever asks for something else,
    /// or later, learns that it is closed.
    fn settle_the_last(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>) {
        orders.close();
        while let Ok(order) = orders.try_recv() {
            if let Order::Settle(settlements, reply) = order {
                self.state.settle(&settlements, &mut self.plan);
                self.settling.push(reply);
            }
        }
    }

    async fn obey(&mut self, order: Option<Order>) -> Result<(), End> {
        let (outcome, reply) = match order {
            Some(Order::Subscribe(subscription, reply)) => (self.subscribe(&subscription).await, reply),
            Some(Order::Unsubscribe(queue, reply)) => (self.unsubscribe(&queue).await, reply),
            Some(Order::Prefetch(prefetch, reply)) => {
                self.state.prefetch = prefetch;
                self.look = true;
                (Ok(()), reply)
            }
            Some(Order::Settle(settlements, reply)) => {
                self.state.settle(&settlements, &mut self.plan);
                self.settling.push(reply);
                return Ok(());
            }
            Some(Order::Close(reply)) => return Err(End::Closed(Some(reply), None)),
            None => return Err(End::Closed(None, None)),
        };
        let lost = outcome.clone().err().filter(|error| matches!(error, Error::Lost(_)));
        let _ = reply.send(outcome);
        lost.map_or(Ok(()), |error| Err(End::Lost(error)))
    }

    async fn subscribe(&mut self, subscription: &Subscription) -> Result<(), Error> {
        let queue = subscription.queue.as_str();
        if self.state.source(queue).is_some() {
            return Ok(());
        }
        match self.say("subscribe", queue, subscription.exclusive).await? {
            0 => {}
            -1 => return Err(Error::NotFound(format!("queue {queue}"))),
            -3 => return Err(self.hub.buried()),
            _ => {
                let broker = self.hub.link.display_url().to_owned();
                let reason = format!("somebody else consumes the queue {queue} alone, or we cannot");
                return Err(Error::AccessRefused { broker, reason });
            }
        }
        if let Err(error) = self.hub.consume(queue, self.id).await {
            self.leave(queue).await?;
            return Err(error);
        }
        self.is_told &= self.hub.is_live(queue) || self.hub.is_tracking().await;
        self.state.sources.push(Source { queue: queue.into(), no_ack: subscription.no_ack });
        self.list();
        self.look = true;
        Ok(())
    }

    async fn unsubscribe(&mut self, queue: &str) -> Result<(), Error> {
        if self.state.source(queue).is_none() {
            return Ok(());
        }
        self.state.sources.retain(|source| *source.queue != *queue);
        self.signals.live(|live| live.forget(queue));
        self.list();
        self.leave(queue).await
    }

    async fn leave(&self, queue: &str) -> Result<(), Error> {
        self.hub.cease(queue, self.id).await?;
        self.say("unsubscribe", queue, false).await.map(drop)
    }

    async fn say(&self, what: &str, queue: &str, alone: bool) -> Result<i64, Error> {
        let Hub { link, owner, .. } = &*self.hub;
        let answer = link.call(&link.scripts.queue, &[], |call| {
            call.arg(what).arg(queue).arg(owner).arg(format!("{owner}.{}", self.id)).arg(u8::from(alone))
        });
        Ok(number(&answer.await?).unwrap_or(0))
    }

    /// A queue is gone.
    pub async fn cancelled(&mut self, queue: &str) -> Result<(), Error> {
        self.state.sources.retain(|source| *source.queue != *queue);
        self.signals.live(|live| live.forget(queue));
        self.list();
        let _ = self.inbox.send(Event::Cancelled { queue: queue.to_owned() });
        self.hub.cease(queue, self.id).await
    }

    /// Gives back what is held, and stops consuming.
    async fn close(&mut self) -> Result<(), Error> {
        self.look = false;
        self.state.give_up(&mut self.plan);
        let given_back = self.work().await;
        for source in std::mem::take(&mut self.state.sources) {
            self.leave(&source.queue).await?;
        }
        given_back
    }

    /// The sources that have lists; a queue of a fanout exchange has none.
    pub fn listed(&self) -> impl Iterator<Item = &Source> {
        self.state.sources.iter().filter(|source| !self.hub.is_live(&source.queue))
    }

    fn list(&mut self) {
        let consumes = self.listed().next().is_some();
        self.consumes = consumes;
        self.signals.watch(self.listed().flat_map(|source| self.hub.keys.lists(&source.queue)));
    }

    fn has_room(&self) -> bool {
        let total = self.state.total_room();
        self.listed().any(|source| source.no_ack || total > 0 && self.state.room(source) > 0)
    }

    pub fn look_later(&mut self) {
        let wait = if self.is_told { LOOK } else { LOOK_OFTEN };
        self.next_look = tokio::time::Instant::now() + wait;
    }

    async fn renew(&mut self) -> Result<(), Error> {
        let every = (self.hub.keys.options.visibility_timeout / 4).min(RENEW);
        self.next_renewal = tokio::time::Instant::now() + every;
        self.renew_leases().await
    }
}
