//! The session by which everything but tasks comes: requests of remote control, events, answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use celeriac_broker::{
    Connection, Delivery, Error, Event, Inbox, Prefetch, Session, Settlement, Subscription, Topology,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::consumer::Losses;

/// How many messages of a queue are taken from the broker at once, so that one that is slow bounds itself alone. A lead
/// hears a thousand workers, on a broker that may need a second to hear that it has.
const PREFETCH: u16 = 512;
/// How many of a queue may be settled together, and how old the first of them may become: brokers end sessions that hold
/// messages for half an hour.
const TOGETHER: usize = 32;
const OLDEST: Duration = Duration::from_secs(60);

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
            read: Read::default(),
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
    read: Read,
}

/// What was read and is not settled yet.
#[derive(Default)]
struct Read {
    settlements: Vec<Settlement>,
    since: Option<Instant>,
}

impl Mailbox {
    /// The next message; `None` when the session is gone.
    pub(crate) async fn recv(&mut self) -> Option<Delivery> {
        if let Some(since) = self.read.since {
            match timeout_at(since + OLDEST, self.letters.recv()).await {
                Ok(letter) => return letter,
                // A session that is gone says so to whoever waits for the next.
                Err(_) => drop(self.settle_read().await),
            }
        }
        self.letters.recv().await
    }

    /// Settles a message.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub(crate) async fn done(&self, tag: u64) -> Result<(), Error> {
        self.session.settle(&[Settlement::Ack(tag)]).await
    }

    /// Settles a message of a queue that goes with its connection, soon: each word to the broker costs both as much as a
    /// message does.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub(crate) async fn done_soon(&mut self, tag: u64) -> Result<(), Error> {
        let Read { settlements, since } = &mut self.read;
        settlements.push(Settlement::Ack(tag));
        if settlements.len() < TOGETHER && since.get_or_insert_with(Instant::now).elapsed() < OLDEST {
            return Ok(());
        }
        self.settle_read().await
    }

    async fn settle_read(&mut self) -> Result<(), Error> {
        let Read { settlements, .. } = std::mem::take(&mut self.read);
        self.session.settle(&settlements).await
    }

    /// Takes no more.
    pub(crate) async fn close(self) {
        self.routes.lock().remove(&self.queue);
        // What was read must not come back with what is still to come.
        if !self.read.settlements.is_empty() {
            let _ = self.session.settle(&self.read.settlements).await;
        }
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

#[cfg(test)]
mod tests {
    use celeriac_broker::{Address, MemoryTransport, Queue, Transport};
    use celeriac_protocol::Message;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_read_is_settled_in_time_though_nothing_else_comes() {
        let transport = MemoryTransport::new();
        let connection = transport.connect().await.unwrap();
        let losses = Losses { generation: 0, lost: mpsc::unbounded_channel().0 };
        let listener = Listener::open(&*connection, losses).await.unwrap();
        let topology = Topology { queues: vec![Queue::new("letters")], ..Topology::default() };
        let listening = listener.listen(&*connection, &topology, Subscription::new("letters")).await;
        let mut mailbox = listening.unwrap();
        connection.publish(&Address::queue("letters"), Message::default()).await.unwrap();
        let letter = mailbox.recv().await.unwrap();
        mailbox.done_soon(letter.tag).await.unwrap();
        assert!(timeout(2 * OLDEST, mailbox.recv()).await.is_err());
        // What is not settled would be there again.
        connection.close().await;
        let other = transport.connect().await.unwrap();
        assert_eq!(other.queue_len("letters").await.unwrap(), 0);
    }
}
