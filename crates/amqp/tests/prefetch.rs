//! Prefetch counts that change while queues are consumed.

use std::time::Duration;

use celeriac_broker::{Address, Event, Inbox, Prefetch, Queue, QueueKind, Subscription, Topology};
use celeriac_protocol::Message;
use tokio::time::timeout;

use crate::{blocking, transport};

const DEADLINE: Duration = Duration::from_secs(30);

async fn queue_of_next(inbox: &mut Inbox) -> String {
    match timeout(DEADLINE, inbox.recv()).await.unwrap() {
        Some(Event::Delivery(delivery)) => delivery.queue.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_quorum_queue_joins_a_session_that_had_a_count_for_all() {
    let vhost = blocking(|| celeriac_testkit::rabbitmq().vhost()).await;
    let connection = transport(&vhost.url()).connect().await.unwrap();
    let quorum = Queue { kind: QueueKind::Quorum, ..Queue::new("quorum") };
    for queue in [Queue::new("classic"), quorum] {
        let name = queue.name.clone();
        connection.declare(&Topology::task_queue(queue)).await.unwrap();
        for _ in 0..3 {
            connection.publish(&Address::queue(&name), Message::default()).await.unwrap();
        }
    }
    let (session, mut inbox) = connection.open_session(Prefetch::Session(1)).await.unwrap();
    session.subscribe(&Subscription::new("classic")).await.unwrap();
    assert_eq!(queue_of_next(&mut inbox).await, "classic");
    session.set_prefetch(Prefetch::Queue(1)).await.unwrap();
    session.subscribe(&Subscription::new("quorum")).await.unwrap();
    // A consumer that starts anew has a count of its own beside what is held already.
    let mut queues = [queue_of_next(&mut inbox).await, queue_of_next(&mut inbox).await];
    queues.sort_unstable();
    assert_eq!(queues, ["classic", "quorum"]);
    connection.close().await;
}

#[tokio::test]
async fn a_queue_that_goes_with_its_last_consumer_stays_while_its_count_changes() {
    let vhost = blocking(|| celeriac_testkit::rabbitmq().vhost()).await;
    let connection = transport(&vhost.url()).connect().await.unwrap();
    let queue = Queue { auto_delete: true, ..Queue::new("fleeting") };
    connection.declare(&Topology::task_queue(queue)).await.unwrap();
    let (session, mut inbox) = connection.open_session(Prefetch::Queue(1)).await.unwrap();
    session.subscribe(&Subscription::new("fleeting")).await.unwrap();
    for _ in 0..4 {
        connection.publish(&Address::queue("fleeting"), Message::default()).await.unwrap();
    }
    queue_of_next(&mut inbox).await;
    for prefetch in [Prefetch::Queue(2), Prefetch::Session(4)] {
        session.set_prefetch(prefetch).await.unwrap();
    }
    for _ in 0..3 {
        queue_of_next(&mut inbox).await;
    }
    connection.close().await;
}
