//! `amqps://`, by a RabbitMQ with a certificate of its own.

use celeriac_broker::{Address, Error, Queue, Topology};
use celeriac_protocol::Message;
use celeriac_testkit::RabbitMq;

use crate::{blocking, transport};

#[tokio::test]
async fn only_a_known_authority_is_trusted() {
    let server = blocking(RabbitMq::start_with_tls).await;
    let (url, tls) = server.tls().unwrap();
    let known = format!("{url}?cacertfile={}", tls.authority().display());
    let connection = transport(&known).connect().await.unwrap();
    connection.declare(&Topology::task_queue(Queue::new("q"))).await.unwrap();
    connection.publish(&Address::queue("q"), Message::default()).await.unwrap();
    assert_eq!(connection.queue_len("q").await.unwrap(), 1);
    connection.close().await;

    let unknown = transport(&url).connect().await.err().unwrap();
    assert!(matches!(unknown, Error::Connect { .. }), "{unknown:?}");
    let unverified = transport(&format!("{url}?verify=verify_none")).connect().await.unwrap();
    assert_eq!(unverified.queue_len("q").await.unwrap(), 1);
    unverified.close().await;
    blocking(move || drop(server)).await;
}
