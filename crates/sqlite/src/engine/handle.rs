use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use celeriac_broker::{Error, Event, Prefetch, Transport};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{oneshot, watch};

use super::job::{Call, Job};
use super::thread::Thread;
use crate::SqliteTransport;
use crate::fault::Fault;
use crate::session::Session;
use crate::store::Tx;
use crate::wake::Bell;

/// What the database thread is told.
pub(super) enum Order {
    Job(Box<dyn Job>),
    Open { id: u64, session: Session },
    Stop,
}

/// Asks things of a connection's database thread.
pub(crate) struct Handle {
    orders: mpsc::Sender<Order>,
    bell: Arc<Bell>,
    closed: watch::Receiver<Option<Error>>,
    last_session: AtomicU64,
}

impl Handle {
    /// Starts the thread, which opens the file.
    ///
    /// # Errors
    /// [`Error::Connect`] with what is wrong with the file.
    pub async fn open(transport: &SqliteTransport) -> Result<Self, Error> {
        let (orders, receiver) = mpsc::channel();
        let (opened, opening) = oneshot::channel();
        let (ending, closed) = watch::channel(None);
        let options = transport.clone();
        let thread = move || match Thread::open(&options, receiver) {
            Ok((thread, bell)) => {
                if opened.send(Ok(bell)).is_ok() {
                    ending.send_replace(Some(thread.run()));
                } else {
                    thread.abandon();
                }
            }
            Err(reason) => {
                let _ = opened.send(Err(reason));
            }
        };
        let fail = |reason: String| Error::Connect { broker: transport.display_url(), reason };
        let builder = std::thread::Builder::new().name("celeriac-sqlite".to_owned());
        builder.spawn(thread).map_err(|error| fail(error.to_string()))?;
        let bell = opening.await.map_err(|_| fail("its thread died".to_owned()))?.map_err(fail)?;
        Ok(Handle { orders, bell, closed, last_session: AtomicU64::new(0) })
    }

    /// Runs something inside a transaction, and waits for the commit.
    pub async fn call<T: Send + 'static>(
        &self,
        run: impl FnMut(&mut Tx<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, result) = oneshot::channel();
        self.order(Order::Job(Box::new(Call { run, result: None, reply: Some(reply) })))?;
        match result.await {
            Ok(result) => result,
            Err(_) => Err(self.closed().await),
        }
    }

    /// The same without waiting.
    pub fn cast(&self, run: impl FnMut(&mut Tx<'_>) -> Result<(), Fault> + Send + 'static) {
        let _ = self.order(Order::Job(Box::new(Call { run, result: None, reply: None })));
    }

    pub fn open_session(&self, prefetch: Prefetch, inbox: UnboundedSender<Event>) -> Result<u64, Error> {
        let id = self.last_session.fetch_add(1, Ordering::Relaxed) + 1;
        self.order(Order::Open { id, session: Session::new(prefetch, inbox) })?;
        Ok(id)
    }

    /// Ends the connection without waiting.
    pub fn stop(&self) {
        let _ = self.order(Order::Stop);
    }

    pub async fn close(&self) {
        self.stop();
        self.closed().await;
    }

    pub async fn closed(&self) -> Error {
        let mut closed = self.closed.clone();
        let reason = closed.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.unwrap_or_else(|| Error::Lost("the database thread died".to_owned()))
    }

    fn order(&self, order: Order) -> Result<(), Error> {
        let lost = || self.closed.borrow().clone().unwrap_or_else(|| Error::Lost("closed".to_owned()));
        self.orders.send(order).map_err(|_| lost())?;
        self.bell.ring();
        Ok(())
    }
}
