use std::time::Duration;

use celeriac_protocol::Message;

use super::*;
use crate::{Address, Event, Prefetch, Queue, Subscription, Topology};

mod conforms {
    use super::*;

    impl crate::conformance::Fixture for MemoryTransport {
        fn transport(&self) -> Arc<dyn Transport> {
            Arc::new(self.clone())
        }
    }

    crate::conformance_suite!(MemoryTransport::new());
}

#[tokio::test]
async fn a_named_broker_is_shared_and_a_new_one_is_not() {
    let first = MemoryTransport::named("shared").connect().await.unwrap();
    let topology = Topology::task_queue(Queue::new("q"));
    first.declare(&topology).await.unwrap();
    let second = MemoryTransport::named("shared").connect().await.unwrap();
    assert_eq!(second.queue_len("q").await, Ok(0));
    let other = MemoryTransport::new().connect().await.unwrap();
    assert!(matches!(other.queue_len("q").await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn a_loss_tells_everybody_and_gives_deliveries_back() {
    let transport = MemoryTransport::new();
    let connection = transport.connect().await.unwrap();
    connection.declare(&Topology::task_queue(Queue::new("q"))).await.unwrap();
    let (session, mut inbox) = connection.open_session(Prefetch::Session(1)).await.unwrap();
    session.subscribe(&Subscription::new("q")).await.unwrap();
    connection.publish(&Address::queue("q"), Message::default()).await.unwrap();
    assert!(matches!(inbox.recv().await, Some(Event::Delivery(_))));

    transport.halt();
    assert!(matches!(inbox.recv().await, Some(Event::Lost(Error::Lost(_)))));
    assert!(inbox.recv().await.is_none());
    assert!(connection.closed().await.is_recoverable());
    assert!(matches!(connection.queue_len("q").await, Err(Error::Lost(_))));
    assert!(matches!(session.set_prefetch(Prefetch::Unlimited).await, Err(Error::Lost(_))));
    assert!(matches!(transport.connect().await, Err(Error::Connect { .. })));

    transport.resume();
    assert_eq!(transport.connect().await.unwrap().queue_len("q").await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn expiry_follows_tokio_s_clock() {
    let connection = MemoryTransport::new().connect().await.unwrap();
    let queue = Queue { message_ttl: Some(Duration::from_secs(3600)), ..Queue::new("q") };
    connection.declare(&Topology { queues: vec![queue], ..Topology::default() }).await.unwrap();
    connection.publish(&Address::queue("q"), Message::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3599)).await;
    assert_eq!(connection.queue_len("q").await, Ok(1));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(connection.queue_len("q").await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn a_circle_of_dead_letters_ends() {
    let connection = MemoryTransport::new().connect().await.unwrap();
    let queue = Queue {
        message_ttl: Some(Duration::ZERO),
        dead_letter_exchange: Some(String::new()),
        ..Queue::new("q")
    };
    connection.declare(&Topology { queues: vec![queue], ..Topology::default() }).await.unwrap();
    connection.publish(&Address::queue("q"), Message::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(connection.queue_len("q").await, Ok(0));
}
