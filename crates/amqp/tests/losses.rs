//! What the broker does to us.

use std::time::Duration;

use celeriac_broker::{Address, Error, Event, Prefetch, Queue, Subscription, Topology};
use celeriac_protocol::{Map, Message, Value};
use tokio::time::timeout;

use crate::{blocking, transport};

const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_closed_connection_is_told_everywhere() {
    let vhost = blocking(|| celeriac_testkit::rabbitmq().vhost()).await;
    let transport = transport(&vhost.url());
    let connection = transport.connect().await.unwrap();
    connection.declare(&Topology::task_queue(Queue::new("q"))).await.unwrap();
    let (session, mut inbox) = connection.open_session(Prefetch::Session(5)).await.unwrap();
    session.subscribe(&Subscription::new("q")).await.unwrap();
    connection.publish(&Address::queue("q"), Message::default()).await.unwrap();
    assert!(matches!(inbox.recv().await, Some(Event::Delivery(_))));

    blocking(move || {
        celeriac_testkit::eventually(DEADLINE, "a connection to close", || {
            (vhost.close_all_connections() > 0).then_some(())
        });
        vhost
    })
    .await;

    assert!(matches!(timeout(DEADLINE, connection.closed()).await.unwrap(), Error::Lost(_)));
    assert!(matches!(timeout(DEADLINE, inbox.recv()).await.unwrap(), Some(Event::Lost(Error::Lost(_)))));
    let published = timeout(DEADLINE, connection.publish(&Address::queue("q"), Message::default())).await;
    assert!(matches!(published.unwrap(), Err(Error::Lost(_))));
    let declared = timeout(DEADLINE, connection.declare(&Topology::default())).await.unwrap();
    assert!(matches!(declared, Err(Error::Lost(_))));
}

#[tokio::test]
async fn a_missing_exchange_fails_that_message_alone() {
    let vhost = blocking(|| celeriac_testkit::rabbitmq().vhost()).await;
    let connection = transport(&vhost.url()).connect().await.unwrap();
    connection.declare(&Topology::task_queue(Queue::new("q"))).await.unwrap();
    let nowhere = connection.publish(&Address::exchange("nowhere", "q"), Message::default()).await;
    assert!(matches!(nowhere, Err(Error::NotFound(_))), "{nowhere:?}");
    connection.publish(&Address::queue("q"), Message::default()).await.unwrap();
    assert_eq!(connection.queue_len("q").await.unwrap(), 1);
    // Those that are under way beside it are told to try again, whatever became of them.
    for _ in 0..50 {
        let (queue, missing) = (Address::queue("q"), Address::exchange("nowhere", "q"));
        let (beside, nowhere) = tokio::join!(
            connection.publish(&queue, Message::default()),
            connection.publish(&missing, Message::default()),
        );
        assert!(matches!(nowhere, Err(Error::NotFound(_))), "{nowhere:?}");
        assert!(beside.as_ref().err().is_none_or(Error::is_recoverable), "{beside:?}");
    }
    blocking(move || drop(vhost)).await;
}

#[tokio::test]
async fn wrong_logins_and_closed_ports_are_told_without_the_password() {
    let url = blocking(|| celeriac_testkit::rabbitmq().url()).await;
    let (_, address) = url.rsplit_once('@').unwrap();
    let port = address.trim_end_matches('/').rsplit_once(':').unwrap().1;
    let closed = blocking(celeriac_testkit::free_port).await;
    for url in [
        format!("amqp://guest:hidden@127.0.0.1:{port}//"),
        format!("amqp://guest:hidden@127.0.0.1:{closed}//"),
        format!("amqp://guest:hidden@127.0.0.1:{port}/no-such-vhost"),
    ] {
        let error = timeout(DEADLINE, transport(&url).connect()).await.unwrap().err().expect(&url);
        assert!(matches!(error, Error::Connect { .. }), "{error:?}");
        assert!(!error.to_string().contains("hidden"), "{error}");
    }
}

#[tokio::test]
async fn what_amqp_cannot_hold_is_refused_before_it_is_sent() {
    let vhost = blocking(|| celeriac_testkit::rabbitmq().vhost()).await;
    let connection = transport(&vhost.url()).connect().await.unwrap();
    let long = "x".repeat(256);
    let refused = connection.publish(&Address::queue(&long), Message::default()).await;
    assert!(matches!(refused, Err(Error::NotAccepted(_))), "{refused:?}");
    let mut message = Message::default();
    message.properties.correlation_id = Some(long.clone());
    let refused = connection.publish(&Address::queue("q"), message).await;
    assert!(matches!(refused, Err(Error::NotAccepted(_))), "{refused:?}");
    let mut message = Message::default();
    message.headers.insert(long, Value::Null);
    let refused = connection.publish(&Address::queue("q"), message).await;
    assert!(matches!(refused, Err(Error::NotAccepted(_))), "{refused:?}");
    let mut headers = Map::new();
    headers.insert("deep", (0..100).fold(Value::Null, |inner, _| Value::List(vec![inner])));
    let refused = connection.publish(&Address::queue("q"), Message { headers, ..Message::default() }).await;
    assert!(matches!(refused, Err(Error::NotAccepted(_))), "{refused:?}");
    blocking(move || drop(vhost)).await;
}
