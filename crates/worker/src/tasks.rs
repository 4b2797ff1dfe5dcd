//! The step that consumes the task queues.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use celeriac_broker::{
    Connection, Delivery, Error, Event, Inbox, Prefetch, QueueKind, Session, Subscription, Topology,
};
use celeriac_protocol::TaskError as MessageError;
use celeriac_protocol::result::Exception;
use celeriac_protocol::{TaskMessage, TaskMeta};
use chrono::Utc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::acks::Acks;
use crate::blueprint::Step;
use crate::request::{self, Policy, Request};
use crate::schedule::Schedule;
use crate::worker::{Losses, Shared};

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
    fn name(&self) -> &'static str {
        "Tasks"
    }

    async fn start(&mut self, worker: &Arc<Shared>) -> Result<(), Error> {
        let connection = worker.connection()?;
        let consumed = worker.settings.consumed();
        let mut topology = Topology::default();
        for name in &consumed {
            topology.merge(Topology::task_queue(worker.settings.queues.queue(Some(name))));
        }
        connection.declare(&topology).await?;

        let window = Window {
            base: worker.settings.prefetch(),
            // Quorum queues know no count for a whole session (`celery/worker/consumer/tasks.py`).
            each_queue: topology.queues.iter().any(|queue| queue.kind != QueueKind::Classic),
        };
        let (session, inbox) = connection.open_session(window.with(0)).await?;
        let acks = Acks::new(window.base.into());
        for name in &consumed {
            session.subscribe(&Subscription::new(name)).await?;
        }

        let (quiet, is_quiet) = watch::channel(false);
        let intake = Intake {
            worker: worker.clone(),
            connection,
            session: session.clone(),
            acks: acks.clone(),
            topology,
            consumed,
            window,
            losses: worker.losses(),
            waiting: Schedule::new(),
            announced: 0,
            starved: false,
        };
        let intake = Some(tokio::spawn(intake.run(inbox, is_quiet)));
        let (flushed, flushing, losses) = (session.clone(), acks.clone(), worker.losses());
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
    worker: Arc<Shared>,
    connection: Arc<dyn Connection>,
    session: Arc<dyn Session>,
    acks: Arc<Acks>,
    topology: Topology,
    consumed: Vec<String>,
    window: Window,
    losses: Losses,
    waiting: Schedule<Box<Request>>,
    /// How many waiting tasks the session's prefetch count has room for.
    announced: usize,
    /// At the last look, nothing came although messages waited.
    starved: bool,
}

impl Intake {
    async fn run(mut self, mut inbox: Inbox, mut quiet: watch::Receiver<bool>) {
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
            more = self.worker.executor.wake();
            if let Err(error) = outcome {
                self.acks.void();
                self.losses.tell(error);
                return;
            }
        }
    }

    /// Stops consuming and gives back what has not started.
    async fn quiet(mut self, mut inbox: Inbox) {
        for queue in &self.consumed {
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
        self.worker.executor.discard_waiting();
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
            self.worker.executor.submit(request);
        }
        let mut room = self.waiting.len();
        if self.window.each_queue {
            room = room.next_multiple_of(STEP);
        }
        let room = room.min(self.worker.settings.eta_task_limit);
        if room != self.announced && self.window.base > 0 {
            self.announced = room;
            self.session.set_prefetch(self.window.with(room)).await?;
        }
        Ok(())
    }

    async fn take(&mut self, events: &mut Vec<Event>) -> Result<(), Error> {
        self.starved = false;
        self.worker.cured.store(false, Ordering::Relaxed);
        for event in events.drain(..) {
            match event {
                Event::Delivery(delivery) => self.receive(delivery),
                Event::Cancelled { queue } => {
                    tracing::warn!("The broker ended the consumption of {queue}: consuming it again");
                    self.connection.declare(&self.topology).await?;
                    self.session.subscribe(&Subscription::new(queue)).await?;
                }
                Event::Lost(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn receive(&mut self, delivery: Delivery) {
        let mut ticket = self.acks.deliver(delivery.tag);
        let body = delivery.message.body.clone();
        let (origin, read) = request::read(delivery, &self.worker.settings.accept);
        let message = match read {
            Ok(message) => message,
            Err(error) => {
                self.worker.counters.invalid.count();
                tell_invalid(&error, &origin, &body);
                return ticket.refuse(false);
            }
        };
        let Some(task) = self.worker.registry.task(&message.headers.task).cloned() else {
            self.worker.counters.unregistered.count();
            tell_unregistered(&message, &body);
            let worker = self.worker.clone();
            // The ticket goes with it, so the prefetch count bounds how many there are.
            tokio::spawn(async move {
                store_unregistered(&worker, &message).await;
                ticket.refuse(false);
            });
            return;
        };
        self.worker.counters.received.count();
        let policy = Policy::new(&message, &task.options, &self.worker.settings);
        let request = Box::new(Request { message, origin, task, policy, ticket });
        tracing::info!("Task {} received", request.label());
        match request.message.headers.eta {
            Some(eta) if eta > Utc::now() => self.waiting.insert(eta, request),
            _ => self.worker.executor.submit(request),
        }
    }

    /// A consumer that gets nothing while its queue has messages is at fault (Celery's workers are known for it
    /// after a reconnect): seen twice in a row, everything is built anew.
    async fn look_for_starvation(&mut self) -> Result<(), Error> {
        if self.acks.held() > 0 {
            return Ok(());
        }
        let mut ready = 0;
        for queue in &self.consumed {
            ready += self.connection.queue_len(queue).await?;
        }
        if ready == 0 {
            self.starved = false;
        } else if std::mem::replace(&mut self.starved, true)
            && !self.worker.cured.swap(true, Ordering::Relaxed)
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

async fn store_unregistered(worker: &Shared, message: &TaskMessage) {
    if message.headers.ignore_result {
        return;
    }
    let name = celeriac_protocol::repr::value(&message.headers.task.as_str().into());
    let exception = Exception::new("NotRegistered", "celery.exceptions", name);
    let meta = TaskMeta::failure(&message.headers.id, exception, None);
    worker.tracer.store(meta, &message.headers, &request::reply_to(message)).await;
}
