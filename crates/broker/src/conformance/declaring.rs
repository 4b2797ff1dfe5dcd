//! Queues, exchanges and bindings.

use super::Fixture;
use super::support::*;
use crate::{
    Binding, Error, Exchange, ExchangeKind, Offset, Prefetch, Queue, QueueKind, Settlement, Subscription,
    Topology,
};

/// A topology that exists alike is left alone, with its messages.
pub async fn twice_is_once(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let name = fixture.name("q");
    let topology = Topology::task_queue(Queue::new(&name));
    connection.declare(&topology).await.unwrap();
    send(&connection, &name, 1).await;
    connection.declare(&topology).await.unwrap();
    connect(fixture).await.declare(&topology).await.unwrap();
    until_len(&connection, &name, 1).await;
}

/// What exists with other arguments is refused, and the connection goes on.
pub async fn other_arguments_are_refused(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let [queue] = queues(fixture, &connection, ["q"]).await;
    let exchange = Exchange::new(fixture.name("x"), ExchangeKind::Direct);
    let topology = Topology { exchanges: vec![exchange.clone()], ..Topology::default() };
    connection.declare(&topology).await.unwrap();

    let other = Exchange { kind: ExchangeKind::Fanout, ..exchange };
    let result = connection.declare(&Topology { exchanges: vec![other], ..Topology::default() }).await;
    assert!(matches!(result, Err(Error::Precondition(_))), "{result:?}");
    let other = Queue { max_priority: Some(5), ..Queue::new(&queue) };
    let result = connection.declare(&Topology { queues: vec![other], ..Topology::default() }).await;
    assert!(matches!(result, Err(Error::Precondition(_))), "{result:?}");
    connection.declare(&topology).await.unwrap();
}

/// A queue or exchange that is not there.
pub async fn what_is_missing_is_told(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let missing = fixture.name("missing");
    let result = connection.queue_len(&missing).await;
    assert!(matches!(result, Err(Error::NotFound(_))), "{result:?}");
    let result = connection.purge(&missing).await;
    assert!(matches!(result, Err(Error::NotFound(_))), "{result:?}");
    connection.delete_queue(&missing).await.unwrap();
    let (session, _inbox) = connection.open_session(Prefetch::Session(1)).await.unwrap();
    let result = session.subscribe(&Subscription::new(&missing)).await;
    assert!(matches!(result, Err(Error::NotFound(_))), "{result:?}");
    let [queue] = queues(fixture, &connection, ["q"]).await;
    let bindings = vec![Binding::new(&queue, &missing, "key")];
    let result = connection.declare(&Topology { bindings, ..Topology::default() }).await;
    assert!(matches!(result, Err(Error::NotFound(_))), "{result:?}");
    send(&connection, &queue, 1).await;
}

/// A stream is read by each from where he starts; where there are none, that is told.
pub async fn streams(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let name = fixture.name("q");
    let stream = vec![Queue { kind: QueueKind::Stream, ..Queue::new(&name) }];
    let declared = connection.declare(&Topology { queues: stream, ..Topology::default() }).await;
    let from_first = |queue: &str| Subscription { offset: Some(Offset::First), ..Subscription::new(queue) };
    let (session, inbox) = connection.open_session(Prefetch::Queue(10)).await.unwrap();
    if !fixture.transport().capabilities().streams {
        assert!(matches!(declared, Err(Error::Unsupported { .. })), "{declared:?}");
        let [queue] = queues(fixture, &connection, ["classic"]).await;
        let result = session.subscribe(&from_first(&queue)).await;
        assert!(matches!(result, Err(Error::Unsupported { .. })), "{result:?}");
        return send(&connection, &queue, 1).await;
    }
    declared.unwrap();
    send(&connection, &name, 1).await;
    session.subscribe(&from_first(&name)).await.unwrap();
    let mut consumer = Consumer { session, inbox };
    let tag = consumer.next().await.tag;
    consumer.settle(&[Settlement::Ack(tag)]).await;
    let (session, inbox) = connection.open_session(Prefetch::Queue(10)).await.unwrap();
    session.subscribe(&from_first(&name)).await.unwrap();
    assert_eq!(Consumer { session, inbox }.bodies(1).await, ["1"]);
}

/// Bindings are listed where the broker can, and go with their queue.
pub async fn bindings_are_listed(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let name = fixture.name("q");
    connection.declare(&Topology::task_queue(Queue::new(&name))).await.unwrap();
    let binding = Binding::new(&name, &name, &name);
    match connection.bindings().await {
        Err(Error::Unsupported { .. }) => return,
        bindings => assert!(bindings.unwrap().contains(&binding)),
    }
    connection.delete_queue(&name).await.unwrap();
    assert!(!connection.bindings().await.unwrap().contains(&binding));
}

/// An exclusive queue is nobody else's, and goes with its connection.
pub async fn exclusive_goes_with_its_connection(fixture: &impl Fixture) {
    let owner = connect(fixture).await;
    let other = connect(fixture).await;
    let name = fixture.name("q");
    let queue = Queue { exclusive: true, durable: false, ..Queue::new(&name) };
    declare_queue(&owner, queue.clone()).await;
    let mut consumer = Consumer::new(&owner, Prefetch::Session(10), &[&name]).await;
    send(&other, &name, 1).await;
    assert_eq!(consumer.bodies(1).await, ["1"]);
    let (session, _inbox) = other.open_session(Prefetch::Session(1)).await.unwrap();
    assert!(session.subscribe(&Subscription::new(&name)).await.is_err());
    assert!(other.declare(&Topology { queues: vec![queue.clone()], ..Topology::default() }).await.is_err());
    owner.close().await;
    until_gone(&other, &name).await;
    declare_queue(&other, queue).await;
}

/// An auto-delete queue waits for its first consumer and goes with its last.
pub async fn auto_delete_goes_with_its_last_consumer(fixture: &impl Fixture) {
    let connection = connect(fixture).await;
    let name = fixture.name("q");
    declare_queue(&connection, Queue { auto_delete: true, ..Queue::new(&name) }).await;
    send(&connection, &name, 1).await;
    let first = Consumer::new(&connection, Prefetch::Session(1), &[&name]).await;
    let second = Consumer::new(&connection, Prefetch::Session(1), &[&name]).await;
    first.session.close().await;
    assert!(connection.queue_len(&name).await.is_ok());
    second.session.unsubscribe(&name).await.unwrap();
    until_gone(&connection, &name).await;
}
