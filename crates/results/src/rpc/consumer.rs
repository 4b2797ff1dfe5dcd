//! The caller's side: a queue of its own, consumed over as many connections as it takes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use celeriac_broker::{
    Connection, Error as BrokerError, Event, Prefetch, Queue, Subscription, Topology, Transport,
};
use celeriac_protocol::{EncodedBody, Message};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Replies, closed, unavailable};
use crate::watchers::{Notice, Watchers};
use crate::{Error, Settings, backoff};

/// RabbitMQ's longest `x-expires`, about 49 days.
const MAX_EXPIRES: Duration = Duration::from_millis(u32::MAX as u64);

/// Consumes replies from when they are first expected.
pub(super) struct Consumer {
    run: Arc<Run>,
    task: Mutex<Task>,
}

enum Task {
    Idle,
    Running(JoinHandle<()>, watch::Receiver<Status>),
    Stopped,
}

#[derive(Clone)]
enum Status {
    Connecting,
    Ready,
    Failed(Error),
}

/// What consuming needs.
pub(super) struct Run {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) queue: String,
    pub(super) settings: Arc<Settings>,
    pub(super) replies: Arc<Replies>,
    pub(super) watchers: Arc<Watchers>,
    /// The connection in use; empty at first.
    pub(super) connection: Mutex<Option<Arc<dyn Connection>>>,
}

impl Consumer {
    pub(super) fn new(run: Run) -> Self {
        Consumer { run: Arc::new(run), task: Mutex::new(Task::Idle) }
    }

    /// Waits until the queue is there and consumed, so that no reply is missed.
    pub(super) async fn ready(&self) -> Result<(), Error> {
        let mut status = self.start()?;
        let ended = |_| unavailable("its consumer ended");
        let status = status.wait_for(|status| !matches!(status, Status::Connecting)).await.map_err(ended)?;
        match &*status {
            Status::Failed(error) => Err(error.clone()),
            Status::Connecting | Status::Ready => Ok(()),
        }
    }

    fn start(&self) -> Result<watch::Receiver<Status>, Error> {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        match &*task {
            Task::Running(handle, status) if !handle.is_finished() => return Ok(status.clone()),
            Task::Stopped => return Err(closed()),
            Task::Running(..) | Task::Idle => {}
        }
        let (sender, receiver) = watch::channel(Status::Connecting);
        let run = Arc::clone(&self.run);
        let handle = tokio::spawn(async move { run.run(sender).await });
        *task = Task::Running(handle, receiver.clone());
        Ok(receiver)
    }

    pub(super) async fn stop(&self) {
        let task =
            std::mem::replace(&mut *self.task.lock().unwrap_or_else(PoisonError::into_inner), Task::Stopped);
        if let Task::Running(handle, _) = task {
            handle.abort();
            let _ = handle.await;
        }
        self.run.close().await;
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if let Task::Running(handle, _) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner) {
            handle.abort();
        }
    }
}

impl Run {
    async fn run(&self, status: watch::Sender<Status>) {
        let mut retry = 0;
        loop {
            let error = match self.consume(&status).await {
                Ok(lost) => {
                    retry = 0;
                    lost
                }
                Err(error) => error,
            };
            self.close().await;
            if retry >= backoff::MAX_RETRIES || !error.is_recoverable() {
                tracing::error!("Replies cannot be consumed: {error}");
                self.watchers.notify_all(&Notice::Failed(unavailable(&error)));
                status.send_replace(Status::Failed(unavailable(error)));
                return;
            }
            status.send_replace(Status::Connecting);
            let delay = backoff::delay(retry);
            retry += 1;
            tracing::warn!("Lost the reply queue, trying again in {:.2}s: {error}", delay.as_secs_f64());
            tokio::time::sleep(delay).await;
        }
    }

    /// Uses up one connection. Returns how it was lost, or why there was none to lose.
    async fn consume(&self, status: &watch::Sender<Status>) -> Result<BrokerError, BrokerError> {
        let connection = self.transport.connect().await?;
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&connection));
        connection.declare(&self.topology()).await?;
        let (session, mut inbox) = connection.open_session(Prefetch::Unlimited).await?;
        let subscription = Subscription { no_ack: true, ..Subscription::new(self.queue.clone()) };
        session.subscribe(&subscription).await?;
        status.send_replace(Status::Ready);
        while let Some(event) = inbox.recv().await {
            match event {
                Event::Delivery(delivery) => self.arrive(delivery.message),
                Event::Cancelled { queue } => return Ok(BrokerError::Lost(format!("queue {queue} is gone"))),
                Event::Lost(error) => return Ok(error),
            }
        }
        Ok(BrokerError::Lost("the session ended".to_owned()))
    }

    async fn close(&self) {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(connection) = connection {
            connection.close().await;
        }
    }

    /// The queue as Celery declares it (`RPCBackend.binding`).
    fn topology(&self) -> Topology {
        let expires = self.settings.expires().map(|expires| expires.min(MAX_EXPIRES));
        let queue = Queue { durable: false, auto_delete: true, expires, ..Queue::new(self.queue.clone()) };
        Topology { queues: vec![queue], ..Topology::default() }
    }

    fn arrive(&self, message: Message) {
        let Message { headers, properties, body } = message;
        let Some(id) = properties.correlation_id else {
            tracing::debug!("A reply without correlation id was dropped");
            return;
        };
        if !self.replies.expects(&id) {
            tracing::debug!("A reply for {id}, which nobody expects, was dropped");
            return;
        }
        let bytes = body.len();
        let compression = headers.get("compression").and_then(|name| name.as_str()).map(str::to_owned);
        let body = EncodedBody {
            content_type: properties.content_type.unwrap_or_default(),
            content_encoding: properties.content_encoding.unwrap_or_default(),
            compression,
            data: body,
        };
        self.replies.arrive(&id, self.settings.decode_body(&id, &body), bytes);
        self.watchers.notify(&id, Notice::Check);
    }
}
