//! A queue of our own for answers, on the connection that the app publishes by.

use std::sync::Arc;

use celeriac_broker::{
    Connection, Delivery, Error, Event, Inbox, Prefetch, Session, Settlement, Subscription, Topology,
};
use tokio::time::{Instant, timeout_at};

use crate::App;

/// Answers that may lie here unread.
const PREFETCH: u16 = 100;

/// Where answers come.
pub(crate) struct Mailbox {
    pub(crate) connection: Arc<dyn Connection>,
    session: Arc<dyn Session>,
    inbox: Inbox,
    queue: String,
}

impl Mailbox {
    /// Declares a topology and takes what comes from its first queue. A connection that was idle may be found lost: one
    /// more try, as kombu makes.
    pub(crate) async fn open(app: &App, topology: &Topology) -> Result<Self, Error> {
        match Mailbox::try_open(app, topology).await {
            Err(Error::Lost(_)) => Mailbox::try_open(app, topology).await,
            opened => opened,
        }
    }

    async fn try_open(app: &App, topology: &Topology) -> Result<Self, Error> {
        let queue = &topology.queues[0].name;
        let line = app.producer().line();
        let connection = line.connection().await?;
        let opened = async {
            connection.declare(topology).await?;
            let (session, inbox) = connection.open_session(Prefetch::Session(PREFETCH)).await?;
            session.subscribe(&Subscription::new(queue)).await?;
            Ok((session, inbox))
        }
        .await;
        line.notice(&connection, &opened).await;
        let (session, inbox) = opened?;
        Ok(Mailbox { connection, session, inbox, queue: queue.to_owned() })
    }

    /// The next answer; `None` when none comes in time.
    pub(crate) async fn next(&mut self, deadline: Instant) -> Result<Option<Delivery>, Error> {
        let Ok(event) = timeout_at(deadline, self.inbox.recv()).await else { return Ok(None) };
        let delivery = match event {
            Some(Event::Delivery(delivery)) => delivery,
            Some(Event::Lost(error)) => return Err(error),
            Some(Event::Cancelled { .. }) | None => {
                return Err(Error::Lost("the queue of replies is gone".to_owned()));
            }
        };
        self.session.settle(&[Settlement::Ack(delivery.tag)]).await?;
        Ok(Some(delivery))
    }

    pub(crate) async fn close(&self) {
        self.session.close().await;
        // It would go by itself a little later.
        let _ = self.connection.delete_queue(&self.queue).await;
    }
}
