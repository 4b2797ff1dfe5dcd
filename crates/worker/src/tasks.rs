//! The step that consumes the task queues (`celery/worker/consumer/tasks.py`, `celery/worker/strategy.py`).

mod consume;
mod receive;
mod strays;
mod unfit;
mod window;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use celeriac_broker::{Connection, Error, Event, Inbox, Prefetch, Session};
use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use self::consume::{consume, forget, have_own_counts, is_configured, is_plain, needs_own_count};
use self::strays::Strays;
pub(crate) use self::unfit::tell_unregistered;
use self::window::{Stock, Window};
use crate::acks::Acks;
use crate::blueprint::Step;
use crate::consumer::{Consumer, Losses, lock};
use crate::limits::Limits;
use crate::queues::TaskQueue;
use crate::request::{Request, Stage};
use crate::schedule::Schedule;

/// How many events are taken from the inbox at once.
const BATCH: usize = 256;
/// How often a consumer that gets nothing looks whether its queues really are empty.
const WATCHDOG: Duration = Duration::from_secs(60);
/// How long a broker may take to answer while the worker ends.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much the prefetch count changes at least where each change starts the consumers anew.
const STEP: usize = 64;
/// How soon another runner is woken for what still waits behind tasks that used to be short.
const WAKE: Duration = Duration::from_millis(5);
/// How soon the wall clock is looked at again at the latest.
const LOOK: Duration = Duration::from_secs(60);

/// Declares the queues, consumes them, and sends each task on: to the executor, or to wait for its time or its turn.
#[derive(Default)]
pub(crate) struct TasksStep {
    open: Option<Open>,
    /// Outlives the connection: a reconnect gives no task an early turn.
    limited: Arc<Mutex<Limits<Box<Request>>>>,
    strays: Arc<Strays>,
}

struct Open {
    session: Arc<dyn Session>,
    acks: Arc<Acks>,
    quiet: watch::Sender<bool>,
    intake: Option<JoinHandle<()>>,
    flusher: JoinHandle<()>,
}

#[async_trait]
impl Step for TasksStep {
    fn label(&self) -> &'static str {
        "Tasks"
    }

    fn requires(&self) -> &'static [&'static str] {
        &["Mingle", "Control"]
    }

    async fn start(&mut self, consumer: &Arc<Consumer>) -> Result<(), Error> {
        let connection = consumer.connection()?;
        // Before the queues are looked at, so that none that is added meanwhile is missed.
        let (changing, changes) = mpsc::unbounded_channel();
        *lock(&consumer.intake) = Some(changing);
        let queues = lock(&consumer.queues).clone();
        let nothing_ahead = consumer.takes_nothing_ahead();
        if consumer.settings.disable_prefetch && !nothing_ahead {
            let name = consumer.transport.name();
            tracing::warn!(
                "worker_disable_prefetch is only supported for Redis brokers, not for {name}: it is ignored"
            );
        }
        let each_queue = !nothing_ahead && have_own_counts(&queues);
        // Where what runs keeps no place, none is taken.
        let taken = if nothing_ahead { self.strays.count() } else { 0 };
        let window = Window { base: consumer.window(), each_queue, taken };
        let (session, inbox) = connection.open_session(window.with(0)).await?;
        let acks = match nothing_ahead {
            true => Acks::keeping_places(self.strays.freed.clone()),
            false => Acks::new(window.base.into()),
        };
        for queue in &queues {
            match consume(&*connection, &*session, queue).await {
                Err(error) if !error.is_recoverable() && !is_configured(consumer, queue) => {
                    forget(consumer, queue, &error);
                }
                outcome => outcome?,
            }
        }

        let (quiet, is_quiet) = watch::channel(false);
        let intake = Intake {
            consumer: consumer.clone(),
            connection,
            session: session.clone(),
            acks: acks.clone(),
            window,
            losses: consumer.losses(),
            waiting: Schedule::new(),
            limited: self.limited.clone(),
            strays: self.strays.clone(),
            announced: window.with(0),
            stock: Stock::of(&*consumer.executor),
            aside: JoinSet::new(),
            starved: false,
        };
        let intake = Some(tokio::spawn(intake.run(inbox, changes, is_quiet)));
        let (flushed, flushing, losses) = (session.clone(), acks.clone(), consumer.losses());
        let flusher = tokio::spawn(async move {
            if let Err(error) = flushing.run(&*flushed).await {
                losses.tell(error);
            }
        });
        self.open = Some(Open { session, acks, quiet, intake, flusher });
        Ok(())
    }

    async fn quiet(&mut self) {
        if let Some(open) = &mut self.open {
            open.quiet.send_replace(true);
            if let Some(intake) = open.intake.take() {
                let _ = intake.await;
            }
        }
    }

    async fn stop(&mut self) {
        self.quiet().await;
        if let Some(mut open) = self.open.take() {
            // What is settled must arrive before the session gives the rest back.
            open.acks.end();
            if tokio::time::timeout(PATIENCE, &mut open.flusher).await.is_err() {
                tracing::warn!("The broker takes no acknowledgements: they are lost");
                open.flusher.abort();
            }
            open.acks.void();
            self.strays.add(open.acks);
            lock(&self.limited).clear();
            open.session.close().await;
        }
    }
}

/// What remote control has the intake do.
#[derive(Debug)]
pub(crate) enum Change {
    /// Consume this queue too.
    Consume(Box<TaskQueue>),
    /// Consume the queue of this name no more.
    Cancel(String),
    /// The number of tasks that run at once is another.
    Concurrency,
    /// The rate limit of this task is another.
    RateLimit(String),
}

/// Takes deliveries until it is told to be quiet, or the session is lost.
struct Intake {
    consumer: Arc<Consumer>,
    connection: Arc<dyn Connection>,
    session: Arc<dyn Session>,
    acks: Arc<Acks>,
    window: Window,
    losses: Losses,
    waiting: Schedule<Box<Request>>,
    limited: Arc<Mutex<Limits<Box<Request>>>>,
    strays: Arc<Strays>,
    /// The prefetch count that the session has.
    announced: Prefetch,
    stock: Stock,
    /// What needs no runner: letting go of what was revoked or is not known here.
    aside: JoinSet<()>,
    /// At the last look, nothing came although messages waited.
    starved: bool,
}

impl Intake {
    async fn run(
        mut self,
        mut inbox: Inbox,
        mut changes: mpsc::UnboundedReceiver<Change>,
        mut quiet: watch::Receiver<bool>,
    ) {
        let mut events = Vec::with_capacity(BATCH);
        let mut idle_since = Instant::now();
        let mut wanted = self.stock.wanted.clone();
        let mut more = false;
        loop {
            let outcome = tokio::select! {
                _ = quiet.changed() => return self.quiet(inbox).await,
                taken = inbox.recv_many(&mut events, BATCH) => {
                    idle_since = Instant::now();
                    if taken == 0 { Err(Error::Lost("the session ended".to_owned())) } else { self.take(&mut events).await }
                }
                Some(change) = changes.recv() => self.change(change).await,
                () = self.next_due() => Ok(()),
                () = self.strays.freed.notified() => Ok(()),
                Ok(()) = wanted.changed() => Ok(()),
                () = tokio::time::sleep(WAKE), if more => Ok(()),
                () = tokio::time::sleep_until(idle_since + WATCHDOG) => {
                    idle_since = Instant::now();
                    self.look_for_starvation().await
                }
            };
            let outcome = match outcome {
                Ok(()) => self.release_due().await,
                error => error,
            };
            more = self.consumer.executor.wake();
            while self.aside.try_join_next().is_some() {}
            if let Err(error) = outcome {
                self.acks.void();
                self.losses.tell(error);
                return;
            }
        }
    }

    /// Stops consuming and gives back what has not started.
    async fn quiet(mut self, mut inbox: Inbox) {
        let queues = lock(&self.consumer.queues).clone();
        let unsubscribing = async {
            for queue in queues.iter().map(TaskQueue::name) {
                if let Err(error) = self.session.unsubscribe(queue).await {
                    tracing::debug!("cannot stop consuming {queue}: {error}");
                }
            }
        };
        if tokio::time::timeout(PATIENCE, unsubscribing).await.is_err() {
            tracing::warn!("The broker does not answer: the queues may still be consumed");
        }
        while let Ok(event) = inbox.try_recv() {
            if let Event::Delivery(delivery) = event {
                drop(self.acks.deliver(delivery.tag));
            }
        }
        self.waiting = Schedule::new();
        lock(&self.limited).clear();
        self.consumer.executor.discard_waiting();
        let let_go = async { while self.aside.join_next().await.is_some() {} };
        if tokio::time::timeout(PATIENCE, let_go).await.is_err() {
            tracing::warn!(
                "The result store does not answer: what was revoked or is not known here comes again"
            );
        }
    }

    async fn next_due(&self) {
        // The wall clock may jump: look again within a minute.
        let wait = |due: DateTime<Utc>| (due - Utc::now()).to_std().unwrap_or_default().min(LOOK);
        let due = self.waiting.next_due().map(|due| Instant::now() + wait(due));
        let turn = lock(&self.limited).next_turn();
        match due.into_iter().chain(turn).min() {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Lets go of what is due, and has the prefetch count fit what still waits for its time. What waits for its
    /// turn keeps its place, as with Celery: a limited task is not to be hoarded.
    async fn release_due(&mut self) -> Result<(), Error> {
        while let Some(request) = self.waiting.pop_due(Utc::now()) {
            request.facts.progress.set_stage(Stage::Reserved);
            self.submit(request);
        }
        let has_limited = lock(&self.limited).len() > 0;
        self.take_turns();
        self.window.base = self.consumer.window();
        let has_ended = self.turn_stock(has_limited);
        self.window.base = self.window.base.max(self.stock.now);
        if self.acks.keeps_places() {
            self.window.taken = self.strays.count();
        }
        let mut room = self.waiting.len();
        if self.window.each_queue && room > 0 && !lock(&self.consumer.queues).iter().any(needs_own_count) {
            self.window.each_queue = false;
        }
        if self.window.each_queue {
            room = room.next_multiple_of(STEP);
        }
        room = room.min(self.consumer.settings.eta_task_limit);
        if self.consumer.takes_nothing_ahead() {
            room += self.held_by_limits();
        }
        let prefetch = self.window.with(room);
        if prefetch != self.announced {
            self.announced = prefetch;
            self.acks.resize(self.window.base.into());
            tracing::debug!("prefetch count: {prefetch:?}");
            self.session.set_prefetch(prefetch).await?;
        }
        if has_ended {
            // Only now: what goes back must not come again at once.
            self.consumer.executor.discard_waiting();
        }
        Ok(())
    }

    /// Lets the executor have in stock what it wants, where nobody is harmed by that, nor a limited task hoarded; whether it
    /// has none any more.
    fn turn_stock(&mut self, has_limited: bool) -> bool {
        let is_allowed = self.window.base > 0
            && !has_limited
            && !self.consumer.takes_nothing_ahead()
            && lock(&self.consumer.queues).iter().all(is_plain);
        let has_ended = self.stock.turn(is_allowed);
        self.consumer.stock.store(self.stock.now, Ordering::Relaxed);
        has_ended
    }

    /// How many wait for their turn of those that the prefetch count allows: while they do, others may run.
    fn held_by_limits(&self) -> usize {
        let most = match self.consumer.prefetch() {
            0 => usize::MAX,
            most => usize::from(most.saturating_sub(self.window.base)),
        };
        lock(&self.limited).len().min(most)
    }

    /// Has everything run whose turn has come.
    fn take_turns(&self) {
        let mut limited = lock(&self.limited);
        while let Some(request) = limited.pop(Instant::now()) {
            self.consumer.executor.submit(request);
        }
    }

    /// Has a request run, in its turn.
    fn submit(&mut self, request: Box<Request>) {
        let task = &request.facts.task;
        let rate = if self.consumer.settings.disable_rate_limits { None } else { task.rate() };
        match rate {
            Some(rate) => lock(&self.limited).push(&task.name.clone(), &rate, request, Instant::now()),
            None => self.consumer.executor.submit(request),
        }
    }

    async fn change(&mut self, change: Change) -> Result<(), Error> {
        match change {
            Change::Consume(queue) => self.consume(&queue).await?,
            Change::Cancel(queue) => {
                self.session.unsubscribe(&queue).await?;
                tracing::debug!("Canceled queue {queue}");
            }
            // The prefetch count is looked at after whatever happens.
            Change::Concurrency => {}
            Change::RateLimit(task) => self.change_rate(&task),
        }
        Ok(())
    }

    /// Consumes a queue that remote control names; one that cannot be consumed is forgotten.
    async fn consume(&mut self, queue: &TaskQueue) -> Result<(), Error> {
        let own = have_own_counts(&lock(&self.consumer.queues));
        let each_queue = own && !self.consumer.takes_nothing_ahead();
        if each_queue != self.window.each_queue {
            self.window.each_queue = each_queue;
            self.release_due().await?;
        }
        match consume(&*self.connection, &*self.session, queue).await {
            Ok(()) => tracing::info!("Started consuming from {}", queue.name()),
            Err(error) if error.is_recoverable() => return Err(error),
            Err(error) => forget(&self.consumer, queue, &error),
        }
        Ok(())
    }

    fn change_rate(&mut self, task: &str) {
        match self.consumer.tasks.get(task).and_then(|task| task.rate()) {
            Some(rate) => lock(&self.limited).change(task, &rate, Instant::now()),
            None => {
                for request in lock(&self.limited).lift(task) {
                    self.consumer.executor.submit(request);
                }
            }
        }
    }

    async fn take(&mut self, events: &mut Vec<Event>) -> Result<(), Error> {
        self.starved = false;
        self.consumer.cured.store(false, Ordering::Relaxed);
        for event in events.drain(..) {
            match event {
                Event::Delivery(delivery) => self.receive(delivery).await,
                Event::Cancelled { queue } => {
                    tracing::warn!("The broker ended the consumption of {queue}: consuming it again");
                    let known =
                        lock(&self.consumer.queues).iter().find(|known| known.name() == queue).cloned();
                    match known {
                        Some(known) if is_configured(&self.consumer, &known) => {
                            consume(&*self.connection, &*self.session, &known).await?;
                        }
                        Some(known) => self.consume(&known).await?,
                        None => {}
                    }
                }
                Event::Lost(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A consumer that gets nothing while its queue has messages is at fault (Celery's workers are known for it
    /// after a reconnect): seen twice in a row, everything is built anew.
    async fn look_for_starvation(&mut self) -> Result<(), Error> {
        if self.acks.held() > 0 || self.window.taken > 0 {
            return Ok(());
        }
        let mut ready = 0;
        let queues = lock(&self.consumer.queues).clone();
        for queue in queues.iter().map(TaskQueue::name) {
            ready += self.connection.queue_len(queue).await?;
        }
        if ready == 0 {
            self.starved = false;
        } else if std::mem::replace(&mut self.starved, true)
            && !self.consumer.cured.swap(true, Ordering::Relaxed)
        {
            // Where that does not help, another consumer has the queue to itself.
            return Err(Error::Lost(format!("nothing is delivered although {ready} messages wait")));
        }
        Ok(())
    }
}
