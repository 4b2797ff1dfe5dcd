//! The session by which everything but tasks comes: requests of remote control, events, answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use celeriac_broker::{
    Connection, Delivery, Error, Event, Inbox, Prefetch, Session, Settlement, Subscription, Topology,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::consumer::Losses;

/// How many messages of a queue are taken from the broker at once, so that one that is slow bounds itself alone.
const PREFETCH: u16 = 64;

/// One session with many mailboxes.
pub(crate) struct Listener {
    session: Arc<dyn Session>,
    routes: Arc<Routes>,
    sorting: JoinHandle<()>,
}

/// Whose messages come from which queue.
#[derive(Default)]
struct Routes(Mutex<HashMap<String, mpsc::UnboundedSender<Delivery>>>);

impl Routes {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, mpsc::UnboundedSender<Delivery>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    pub(crate) async fn open(connection: &dyn Connection, losses: Losses) -> Result<Self, Error> {
        let (session, inbox) = connection.open_session(Prefetch::Queue(PREFETCH)).await?;
        let routes = Arc::<Routes>::default();
        let sorting = tokio::spawn(sort(inbox, session.clone(), routes.clone(), losses));
        Ok(Listener { session, routes, sorting })
    }

    /// Declares a queue and takes what comes from it.
    pub(crate) async fn listen(
        &self,
        connection: &dyn Connection,
        topology: &Topology,
        subscription: Subscription,
    ) -> Result<Mailbox, Error> {
        // Consumed before anything else takes its time: Celery's queues expire while nobody uses them, and a broker on
        // which a thousand start may need seconds for each step.
        let Topology { exchanges, queues, bindings } = topology.clone();
        connection.declare(&Topology { exchanges, queues, ..Topology::default() }).await?;
        let (sender, letters) = mpsc::unbounded_channel();
        self.routes.lock().insert(subscription.queue.clone(), sender);
        if let Err(error) = self.session.subscribe(&subscription).await {
            self.routes.lock().remove(&subscription.queue);
            return Err(error);
        }
        let mailbox = Mailbox {
            queue: subscription.queue,
            session: self.session.clone(),
            routes: self.routes.clone(),
            letters,
        };
        if let Err(error) = connection.declare(&Topology { bindings, ..Topology::default() }).await {
            mailbox.close().await;
            return Err(error);
        }
        Ok(mailbox)
    }

    pub(crate) async fn close(self) {
        self.sorting.abort();
        self.session.close().await;
    }
}

/// What comes from one queue. Each message is settled by [`done`](Mailbox::done).
pub(crate) struct Mailbox {
    queue: String,
    session: Arc<dyn Session>,
    routes: Arc<Routes>,
    letters: mpsc::UnboundedReceiver<Delivery>,
}

impl Mailbox {
    /// The next message; `None` when the session is gone.
    pub(crate) async fn recv(&mut self) -> Option<Delivery> {
        self.letters.recv().await
    }

    /// Settles a message.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub(crate) async fn done(&self, tag: u64) -> Result<(), Error> {
        self.session.settle(&[Settlement::Ack(tag)]).await
    }

    /// Takes no more.
    pub(crate) async fn close(self) {
        self.routes.lock().remove(&self.queue);
        if let Err(error) = self.session.unsubscribe(&self.queue).await {
            tracing::debug!("cannot stop consuming {}: {error}", self.queue);
        }
    }
}

async fn sort(mut inbox: Inbox, session: Arc<dyn Session>, routes: Arc<Routes>, losses: Losses) {
    while let Some(event) = inbox.recv().await {
        match event {
            Event::Delivery(delivery) => {
                let tag = delivery.tag;
                let route = routes.lock().get(&*delivery.queue).cloned();
                let taken = route.is_some_and(|route| route.send(delivery).is_ok());
                // Nobody wants it any more.
                if !taken && session.settle(&[Settlement::Ack(tag)]).await.is_err() {
                    return;
                }
            }
            Event::Cancelled { queue } => {
                if routes.lock().remove(&queue).is_some() {
                    return losses.tell(Error::Lost(format!("the broker ended the consumption of {queue}")));
                }
            }
            Event::Lost(error) => return losses.tell(error),
        }
    }
}
