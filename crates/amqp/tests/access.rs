//! What a user has no right to.

use std::time::Duration;

use celeriac_broker::{
    Address, Binding, Connection, Error, Exchange, ExchangeKind, Prefetch, Published, Queue, Subscription,
    Topology,
};
use celeriac_protocol::Message;
use tokio::time::timeout;

use crate::{blocking, transport};

const DEADLINE: Duration = Duration::from_secs(30);
/// All but what is named `closed`.
const OPEN: &str = "^(?!closed).*$";

fn exchange(name: &str) -> Topology {
    Topology { exchanges: vec![Exchange::new(name, ExchangeKind::Topic)], ..Topology::default() }
}

/// The connection declares, publishes and consumes.
async fn serves(connection: &dyn Connection) {
    connection.declare(&Topology::task_queue(Queue::new("open"))).await.unwrap();
    let published = connection.publish(&Address::queue("open").mandatory(), Message::default()).await;
    assert_eq!(published, Ok(Published::Accepted));
    let (session, mut inbox) = connection.open_session(Prefetch::Session(1)).await.unwrap();
    session.subscribe(&Subscription::new("open")).await.unwrap();
    assert!(timeout(DEADLINE, inbox.recv()).await.unwrap().is_some());
    session.close().await;
}

#[tokio::test]
async fn a_declaration_without_the_right_is_refused_and_the_connection_serves_on() {
    let vhost = blocking(|| celeriac_testkit::rabbitmq().vhost()).await;
    let (vhost, url) = blocking(move || {
        let url = vhost.user(OPEN, OPEN, OPEN);
        (vhost, url)
    })
    .await;
    let connection = transport(&url).connect().await.unwrap();
    serves(&*connection).await;
    let queues = vec![Queue::new("closed")];
    for topology in [exchange("closed"), Topology { queues, ..Topology::default() }] {
        let refused = connection.declare(&topology).await;
        assert!(matches!(refused, Err(Error::AccessRefused { .. })), "{refused:?}");
        serves(&*connection).await;
    }

    // One that is there already: without the right to configure it may be neither declared nor read.
    let owner = transport(&vhost.url()).connect().await.unwrap();
    owner.declare(&exchange("closed")).await.unwrap();
    let refused = connection.declare(&exchange("closed")).await;
    assert!(matches!(refused, Err(Error::AccessRefused { .. })), "{refused:?}");
    let bindings = vec![Binding::new("open", "closed", "#")];
    let refused = connection.declare(&Topology { bindings, ..Topology::default() }).await;
    assert!(matches!(refused, Err(Error::AccessRefused { .. })), "{refused:?}");
    serves(&*connection).await;
    blocking(move || drop(vhost)).await;
}

#[tokio::test]
async fn a_publish_without_the_right_fails_alone_and_the_next_is_taken() {
    let vhost = blocking(|| celeriac_testkit::rabbitmq().vhost()).await;
    let (vhost, url) = blocking(move || {
        let url = vhost.user(".*", OPEN, ".*");
        (vhost, url)
    })
    .await;
    let connection = transport(&url).connect().await.unwrap();
    connection.declare(&exchange("closed")).await.unwrap();
    serves(&*connection).await;
    let closed = Address::exchange("closed", "key");
    for address in [closed.clone(), closed.clone().mandatory()] {
        let refused = connection.publish(&address, Message::default()).await;
        assert!(matches!(refused, Err(Error::AccessRefused { .. })), "{refused:?}");
        serves(&*connection).await;
    }
    // Those that are under way beside it are told to try again, whatever became of them.
    for _ in 0..50 {
        let open = Address::queue("open");
        let (beside, refused) = tokio::join!(
            connection.publish(&open, Message::default()),
            connection.publish(&closed, Message::default()),
        );
        assert!(matches!(refused, Err(Error::AccessRefused { .. })), "{refused:?}");
        assert!(beside.as_ref().err().is_none_or(Error::is_recoverable), "{beside:?}");
    }
    serves(&*connection).await;
    blocking(move || drop(vhost)).await;
}

#[tokio::test]
async fn a_queue_that_may_not_be_read_costs_its_session_alone() {
    let vhost = blocking(|| celeriac_testkit::rabbitmq().vhost()).await;
    let (vhost, url) = blocking(move || {
        let url = vhost.user(".*", ".*", OPEN);
        (vhost, url)
    })
    .await;
    let connection = transport(&url).connect().await.unwrap();
    connection
        .declare(&Topology { queues: vec![Queue::new("closed")], ..Topology::default() })
        .await
        .unwrap();
    let (session, _inbox) = connection.open_session(Prefetch::Queue(1)).await.unwrap();
    let refused = session.subscribe(&Subscription::new("closed")).await;
    assert!(matches!(refused, Err(Error::AccessRefused { .. })), "{refused:?}");
    // The same is found out without a session by asking for what needs the right.
    let refused = connection.purge("closed").await;
    assert!(matches!(refused, Err(Error::AccessRefused { .. })), "{refused:?}");
    serves(&*connection).await;
    blocking(move || drop(vhost)).await;
}
