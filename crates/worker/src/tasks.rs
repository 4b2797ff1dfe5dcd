//! The step that consumes the task queues.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use celeriac_broker::{
    Connection, Delivery, Error, Event, Inbox, Prefetch, QueueKind, Session, Subscription,
};
use celeriac_protocol::TaskError as MessageError;
use celeriac_protocol::result::Exception;
use celeriac_protocol::{Map, TaskHeaders, TaskMessage, TaskMeta, time};
use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::acks::Acks;
use crate::blueprint::Step;
use crate::consumer::{Consumer, Losses, lock};
use crate::queues::TaskQueue;
use crate::request::{self, Facts, Request, Stage};
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
/// How much of a body that makes no sense is logged.
const LOGGED_BODY: usize = 1024;

/// Declares the queues, consumes them, and sends each task on: to the executor, or to wait for its time.
#[derive(Default)]
pub(crate) struct TasksStep {
    open: Option<Open>,
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
        let queues = lock(&consumer.queues).clone();
        let window = Window {
            base: consumer.prefetch(),
            // Quorum queues know no count for a whole session (`celery/worker/consumer/tasks.py`).
            each_queue: queues.iter().any(|queue| queue.queue.kind != QueueKind::Classic),
        };
        for queue in &queues {
            connection.declare(&queue.topology()).await?;
        }
        let (session, inbox) = connection.open_session(window.with(0)).await?;
        let acks = Acks::new(window.base.into());
        for queue in &queues {
            session.subscribe(&Subscription::new(queue.name())).await?;
        }

        let (quiet, is_quiet) = watch::channel(false);
        let (changing, changes) = mpsc::unbounded_channel();
        let intake = Intake {
            consumer: consumer.clone(),
            connection,
            session: session.clone(),
            acks: acks.clone(),
            window,
            losses: consumer.losses(),
            waiting: Schedule::new(),
            announced: window.with(0),
            starved: false,
        };
        let intake = Some(tokio::spawn(intake.run(inbox, changes, is_quiet)));
        *lock(&consumer.intake) = Some(changing);
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
            open.session.close().await;
        }
    }
}

/// What remote control has the intake do.
#[derive(Debug)]
pub(crate) enum Change {
    /// Consume this queue too.
    Consume(TaskQueue),
    /// Consume the queue of this name no more.
    Cancel(String),
    /// The number of tasks that run at once is another.
    Concurrency,
    /// The rate limit of this task is another.
    RateLimit(String),
}

/// How many deliveries may be unsettled.
#[derive(Clone, Copy)]
struct Window {
    base: u16,
    each_queue: bool,
}

impl Window {
    /// With so many tasks that wait for their time, which must not keep the others out.
    fn with(self, waiting: usize) -> Prefetch {
        let count = usize::from(self.base).saturating_add(waiting).min(usize::from(u16::MAX)) as u16;
        match (self.base, self.each_queue) {
            (0, _) => Prefetch::Unlimited,
            (_, true) => Prefetch::Queue(count),
            (_, false) => Prefetch::Session(count),
        }
    }
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
    /// The prefetch count that the session has.
    announced: Prefetch,
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
        let mut idle_since = tokio::time::Instant::now();
        let mut more = false;
        loop {
            let outcome = tokio::select! {
                _ = quiet.changed() => return self.quiet(inbox).await,
                taken = inbox.recv_many(&mut events, BATCH) => {
                    idle_since = tokio::time::Instant::now();
                    if taken == 0 { Err(Error::Lost("the session ended".to_owned())) } else { self.take(&mut events).await }
                }
                Some(change) = changes.recv() => self.change(change).await,
                () = self.next_due() => Ok(()),
                () = tokio::time::sleep(WAKE), if more => Ok(()),
                () = tokio::time::sleep_until(idle_since + WATCHDOG) => {
                    idle_since = tokio::time::Instant::now();
                    self.look_for_starvation().await
                }
            };
            let outcome = match outcome {
                Ok(()) => self.release_due().await,
                error => error,
            };
            more = self.consumer.executor.wake();
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
        for queue in queues.iter().map(TaskQueue::name) {
            match tokio::time::timeout(PATIENCE, self.session.unsubscribe(queue)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!("cannot stop consuming {queue}: {error}"),
                Err(_) => tracing::warn!("The broker does not answer: {queue} may still be consumed"),
            }
        }
        while let Ok(event) = inbox.try_recv() {
            if let Event::Delivery(delivery) = event {
                drop(self.acks.deliver(delivery.tag));
            }
        }
        self.waiting = Schedule::new();
        self.consumer.executor.discard_waiting();
    }

    async fn next_due(&self) {
        match self.waiting.next_due() {
            // The wall clock may jump: look again within a minute.
            Some(due) => {
                let wait = (due - Utc::now()).to_std().unwrap_or_default().min(Duration::from_secs(60));
                tokio::time::sleep(wait).await;
            }
            None => std::future::pending().await,
        }
    }

    async fn release_due(&mut self) -> Result<(), Error> {
        while let Some(request) = self.waiting.pop_due(Utc::now()) {
            request.facts.progress.set_stage(Stage::Reserved);
            self.consumer.executor.submit(request);
        }
        let mut room = self.waiting.len();
        if self.window.each_queue {
            room = room.next_multiple_of(STEP);
        }
        let prefetch = self.window.with(room.min(self.consumer.settings.eta_task_limit));
        if prefetch != self.announced {
            self.announced = prefetch;
            self.session.set_prefetch(prefetch).await?;
        }
        Ok(())
    }

    async fn change(&mut self, change: Change) -> Result<(), Error> {
        match change {
            Change::Consume(queue) => {
                self.connection.declare(&queue.topology()).await?;
                self.session.subscribe(&Subscription::new(queue.name())).await?;
                tracing::info!("Started consuming from {}", queue.name());
            }
            Change::Cancel(queue) => {
                self.session.unsubscribe(&queue).await?;
                tracing::info!("Canceled queue {queue}");
            }
            Change::Concurrency => self.window.base = self.consumer.prefetch(),
            Change::RateLimit(_) => {}
        }
        Ok(())
    }

    async fn take(&mut self, events: &mut Vec<Event>) -> Result<(), Error> {
        self.starved = false;
        self.consumer.cured.store(false, Ordering::Relaxed);
        for event in events.drain(..) {
            match event {
                Event::Delivery(delivery) => self.receive(delivery),
                Event::Cancelled { queue } => {
                    tracing::warn!("The broker ended the consumption of {queue}: consuming it again");
                    let known =
                        lock(&self.consumer.queues).iter().find(|known| known.name() == queue).cloned();
                    if let Some(known) = known {
                        self.connection.declare(&known.topology()).await?;
                        self.session.subscribe(&Subscription::new(queue)).await?;
                    }
                }
                Event::Lost(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn receive(&mut self, delivery: Delivery) {
        let mut ticket = self.acks.deliver(delivery.tag);
        let body = delivery.message.body.clone();
        let (origin, read) = request::read(delivery, &self.consumer.settings.accept);
        let message = match read {
            Ok(message) => message,
            Err(error) => {
                self.consumer.counters.invalid.count();
                tell_invalid(&error, &origin, &body);
                return ticket.refuse(false);
            }
        };
        let consumer = &self.consumer;
        let Some(task) = consumer.tasks.get(&message.headers.task).cloned() else {
            consumer.counters.unregistered.count();
            tell_unregistered(&message, &body);
            let consumer = consumer.clone();
            // The ticket goes with it, so the prefetch count bounds how many there are.
            tokio::spawn(async move {
                fail_unregistered(&consumer, &message).await;
                ticket.refuse(false);
            });
            return;
        };
        consumer.counters.received.count();
        let facts = Facts::new(message, origin, task, &consumer.settings);
        let listed = consumer.requests.list(&facts);
        let request = Request::new(facts.clone(), ticket, listed);
        tracing::info!("Task {} received", facts.label());
        if let Some(revocation) = consumer.revokes.check(&facts, Utc::now()) {
            let tracer = consumer.tracer.clone();
            // It needs no runner, and must not wait for one.
            tokio::spawn(async move { tracer.discard(request, revocation).await });
            return;
        }
        consumer.tracer.events.task("task-received", &facts, |fields| tell_received(&facts.headers, fields));
        match facts.headers.eta {
            Some(eta) if eta > Utc::now() => {
                facts.progress.set_stage(Stage::Scheduled);
                self.waiting.insert(eta, request);
            }
            _ => consumer.executor.submit(request),
        }
    }

    /// A consumer that gets nothing while its queue has messages is at fault (Celery's workers are known for it
    /// after a reconnect): seen twice in a row, everything is built anew.
    async fn look_for_starvation(&mut self) -> Result<(), Error> {
        if self.acks.held() > 0 {
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

fn tell_invalid(error: &MessageError, origin: &request::Origin, body: &[u8]) {
    let body = shown(body);
    let queue = &origin.queue;
    match error {
        MessageError::Unknown(reason) => tracing::warn!(
            "Received and deleted unknown message from {queue}. Wrong destination?!? {reason}\n\
             The contents of the message body was: {body}"
        ),
        error => tracing::error!(
            "Received invalid task message from {queue}: {error}\n\
             The message has been ignored and discarded. Please ensure your message conforms to the task \
             message protocol.\nThe contents of the message body was: {body}"
        ),
    }
}

fn tell_unregistered(message: &TaskMessage, body: &[u8]) {
    tracing::error!(
        "Received unregistered task of type '{}'.\n\
         The message has been ignored and discarded. Did you remember to register the task with the app?\n\
         The contents of the message headers: {}\nThe contents of the message body was: {}",
        message.headers.task,
        shown(format!("{:?}", message.headers).as_bytes()),
        shown(body),
    );
}

fn shown(body: &[u8]) -> String {
    let head = &body[..body.len().min(LOGGED_BODY)];
    let text = String::from_utf8_lossy(head).escape_debug().to_string();
    if head.len() == body.len() { text } else { format!("{text}... ({} bytes)", body.len()) }
}

/// What `task-received` says (`celery/worker/strategy.py`).
fn tell_received(headers: &TaskHeaders, fields: &mut Map) {
    let time = |time: Option<DateTime<Utc>>| time.map(time::iso);
    fields.insert("name", headers.task.as_str());
    fields.insert("args", headers.argsrepr.as_deref());
    fields.insert("kwargs", headers.kwargsrepr.as_deref());
    fields.insert("root_id", headers.root_id.as_deref());
    fields.insert("parent_id", headers.parent_id.as_deref());
    fields.insert("retries", headers.retries);
    fields.insert("eta", time(headers.eta));
    fields.insert("expires", time(headers.expires));
}

/// Tells monitors and the result store of a task that is not known here (`celery/worker/consumer/consumer.py`,
/// `on_unknown_task`).
async fn fail_unregistered(consumer: &Consumer, message: &TaskMessage) {
    let name = celeriac_protocol::repr::value(&message.headers.task.as_str().into());
    let told = [
        ("uuid", message.headers.id.as_str().into()),
        ("exception", format!("NotRegistered({name})").into()),
    ];
    consumer.events().send("task-failed", Map::from_iter(told));
    if message.headers.ignore_result {
        return;
    }
    let exception = Exception::new("NotRegistered", "celery.exceptions", name);
    let meta = TaskMeta::failure(&message.headers.id, exception, None);
    consumer
        .tracer
        .store(meta, &message.headers, &request::reply_to(&message.headers, &message.properties))
        .await;
}
