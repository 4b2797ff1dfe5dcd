use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use celeriac_protocol::Message;

use super::Fixture;
use crate::{
    Address, Connection, Delivery, Error, Event, Inbox, Prefetch, Published, Queue, Session, Settlement,
    Subscription, Topology,
};

/// A session with its inbox.
pub struct Consumer {
    pub session: Arc<dyn Session>,
    pub inbox: Inbox,
}

pub async fn connect(fixture: &impl Fixture) -> Arc<dyn Connection> {
    fixture.transport().connect().await.expect("the broker is there")
}

/// Declares plain queues and returns their names.
pub async fn queues<const N: usize>(
    fixture: &impl Fixture,
    connection: &Arc<dyn Connection>,
    names: [&str; N],
) -> [String; N] {
    let names = names.map(|name| fixture.name(name));
    let queues = names.iter().map(Queue::new).collect();
    connection.declare(&Topology { queues, ..Topology::default() }).await.expect("plain queues");
    names
}

pub async fn declare_queue(connection: &Arc<dyn Connection>, queue: Queue) {
    let topology = Topology { queues: vec![queue], ..Topology::default() };
    connection.declare(&topology).await.expect("a new queue");
}

pub fn message(body: impl ToString) -> Message {
    Message { body: Bytes::from(body.to_string()), ..Message::default() }
}

pub async fn send(connection: &Arc<dyn Connection>, queue: &str, body: impl ToString) {
    let address = Address::queue(queue).mandatory();
    assert_eq!(connection.publish(&address, message(body)).await, Ok(Published::Accepted));
}

/// Waits, politely polling, until a condition holds; the suite's deadline ends it otherwise.
pub async fn until<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    while !condition().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub async fn until_gone(connection: &Arc<dyn Connection>, queue: &str) {
    until(|| async { matches!(connection.queue_len(queue).await, Err(Error::NotFound(_))) }).await;
}

pub async fn until_len(connection: &Arc<dyn Connection>, queue: &str, len: u64) {
    until(|| async { connection.queue_len(queue).await == Ok(len) }).await;
}

pub fn body(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.message.body).into_owned()
}

impl Consumer {
    pub async fn new(connection: &Arc<dyn Connection>, prefetch: Prefetch, queues: &[&String]) -> Self {
        let (session, inbox) = connection.open_session(prefetch).await.expect("an open connection");
        for queue in queues {
            session.subscribe(&Subscription::new(*queue)).await.expect("the queue is there");
        }
        Consumer { session, inbox }
    }

    pub async fn next(&mut self) -> Delivery {
        match self.inbox.recv().await {
            Some(Event::Delivery(delivery)) => delivery,
            other => panic!("no delivery but {other:?}"),
        }
    }

    pub async fn take(&mut self, count: usize) -> Vec<Delivery> {
        let mut deliveries = Vec::with_capacity(count);
        while deliveries.len() < count {
            deliveries.push(self.next().await);
        }
        deliveries
    }

    pub async fn bodies(&mut self, count: usize) -> Vec<String> {
        self.take(count).await.iter().map(body).collect()
    }

    /// Asserts that nothing came. To be called only when something later proves that it would have come by now.
    pub fn assert_idle(&mut self) {
        if let Ok(event) = self.inbox.try_recv() {
            panic!("nothing may come, but {event:?} did");
        }
    }

    pub async fn settle(&self, settlements: &[Settlement]) {
        self.session.settle(settlements).await.expect("an open session");
    }
}
