//! `amqps://`, by a RabbitMQ with a certificate of its own.

use celeriac_broker::{Address, Error, Queue, Topology};
use celeriac_protocol::Message;
use celeriac_testkit::RabbitMq;

use crate::{blocking, transport};

#[tokio::test]
async fn only_a_known_authority_is_trusted_and_a_certificate_logs_in() {
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
    let by_certificate = |url: &str| format!("{}&auth_mechanism=external", url.replace("guest:guest@", ""));
    let nobody = transport(&by_certificate(&known)).connect().await.err().unwrap();
    assert!(matches!(nobody, Error::Connect { .. }), "there is no certificate: {nobody:?}");
    let (certificate, key) = tls.client("guest");
    let certified = format!("{known}&certfile={}&keyfile={}", certificate.display(), key.display());
    let certified = transport(&by_certificate(&certified)).connect().await.unwrap();
    assert_eq!(certified.queue_len("q").await.unwrap(), 1);
    certified.close().await;

    let unverified = transport(&format!("{url}?verify=verify_none")).connect().await.unwrap();
    assert_eq!(unverified.queue_len("q").await.unwrap(), 1);
    unverified.close().await;
    blocking(move || drop(server)).await;
}
