use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use celeriac_broker::{
    Address, Connection, Delivery, Event, Inbox, Prefetch, Published, Queue, Session, Subscription, Topology,
    Transport,
};
use celeriac_protocol::Message;
use celeriac_sqlite::SqliteTransport;

pub async fn connect(file: &Path) -> Arc<dyn Connection> {
    SqliteTransport::open(file).connect().await.unwrap()
}

/// A task queue as Celery declares it.
pub async fn declare(connection: &Arc<dyn Connection>, queue: &str) {
    connection.declare(&Topology::task_queue(Queue::new(queue))).await.unwrap();
}

pub async fn consume(
    connection: &Arc<dyn Connection>,
    prefetch: Prefetch,
    queue: &str,
) -> (Arc<dyn Session>, Inbox) {
    let (session, inbox) = connection.open_session(prefetch).await.unwrap();
    session.subscribe(&Subscription::new(queue)).await.unwrap();
    (session, inbox)
}

pub async fn send(connection: &Arc<dyn Connection>, queue: &str, body: impl Into<Bytes>) {
    let mut message = Message { body: body.into(), ..Message::default() };
    message.headers.insert("h", "ü");
    message.properties.content_type = Some("application/json".to_owned());
    message.properties.content_encoding = Some("utf-8".to_owned());
    let address = Address::exchange(queue, queue).mandatory();
    assert_eq!(connection.publish(&address, message).await, Ok(Published::Accepted));
}

pub async fn next(inbox: &mut Inbox) -> Delivery {
    match tokio::time::timeout(std::time::Duration::from_secs(60), inbox.recv()).await {
        Ok(Some(Event::Delivery(delivery))) => delivery,
        other => panic!("no delivery but {other:?}"),
    }
}

/// Starts this test binary again as another process, in the role of a test of that name.
pub fn role(test: &str, role: &str, file: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--include-ignored"]);
    command.env("CELERIAC_TEST_ROLE", role).env("CELERIAC_TEST_FILE", file);
    command
}

/// The file to work on, when this process was started for that role.
pub fn in_role(role: &str) -> Option<std::path::PathBuf> {
    let here = std::env::var("CELERIAC_TEST_ROLE").is_ok_and(|name| name == role);
    here.then(|| std::env::var_os("CELERIAC_TEST_FILE").unwrap().into())
}
