use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use celeriac_broker::{
    Address, Connection, Delivery, Error, Event, Inbox, Prefetch, Published, Queue, Session, Subscription,
    Topology, Transport,
};
use celeriac_protocol::Message;
use celeriac_redis::RedisTransport;
use celeriac_testkit::Redis;

pub const DEADLINE: Duration = Duration::from_secs(60);

pub fn transport(url: &str) -> RedisTransport {
    url.parse().unwrap()
}

pub async fn connect(url: &str) -> Arc<dyn Connection> {
    transport(url).connect().await.unwrap()
}

/// A task queue as Celery declares it.
pub async fn declare(connection: &Arc<dyn Connection>, queue: &str) {
    connection.declare(&Topology::task_queue(Queue::new(queue))).await.unwrap();
}

pub async fn consume(
    connection: &Arc<dyn Connection>,
    prefetch: Prefetch,
    queues: &[&str],
) -> (Arc<dyn Session>, Inbox) {
    let (session, inbox) = connection.open_session(prefetch).await.unwrap();
    for queue in queues {
        session.subscribe(&Subscription::new(*queue)).await.unwrap();
    }
    (session, inbox)
}

pub fn message(body: impl ToString, priority: Option<u8>) -> Message {
    let mut message = Message { body: Bytes::from(body.to_string()), ..Message::default() };
    message.properties.content_type = Some("application/json".to_owned());
    message.properties.content_encoding = Some("utf-8".to_owned());
    message.properties.priority = priority;
    message
}

pub async fn send(connection: &Arc<dyn Connection>, queue: &str, body: impl ToString) {
    try_send(connection, queue, body).await.unwrap();
}

pub async fn try_send(
    connection: &Arc<dyn Connection>,
    queue: &str,
    body: impl ToString,
) -> Result<Published, Error> {
    let address = Address::exchange(queue, queue).mandatory();
    connection.publish(&address, message(body, None)).await
}

pub async fn next(inbox: &mut Inbox) -> Delivery {
    match tokio::time::timeout(DEADLINE, inbox.recv()).await {
        Ok(Some(Event::Delivery(delivery))) => delivery,
        other => panic!("no delivery but {other:?}"),
    }
}

pub fn body(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.body.to_vec()).unwrap()
}

/// Waits, politely polling, until Redis answers a command with this line.
pub async fn until(server: &Redis, database: &str, command: &[&str], expected: &str) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let answer = ask(server, database, command);
        if answer == expected {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{command:?} answers {answer:?}, not {expected:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a command answers, in that database.
pub fn ask(server: &Redis, database: &str, command: &[&str]) -> String {
    server.cli(&[&["-n", database], command].concat()).trim().to_owned()
}

/// The database of a URL.
pub fn database(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

/// Starts this test binary again as another process, in the role of a test of that name.
pub fn role(test: &str, url: &str) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env("CELERIAC_TEST_URL", url);
    command
}

/// The URL to work on, when this process was started for a role.
pub fn in_role() -> Option<String> {
    std::env::var("CELERIAC_TEST_URL").ok()
}

/// The URL of a database, for connections of a name by which [`cut_off`] finds them.
pub fn named(url: &str, name: &str) -> String {
    format!("{url}?client_name={name}")
}

/// Cuts off all connections of a name, as if their process were killed: nobody takes leave.
pub fn cut_off(server: &Redis, name: &str) {
    let list = server.cli(&["CLIENT", "LIST"]);
    let of_name = list.lines().filter(|line| line.split(' ').any(|word| word == format!("name={name}")));
    for line in of_name {
        let id = line.split(' ').next().and_then(|word| word.strip_prefix("id=")).unwrap();
        server.cli(&["CLIENT", "KILL", "ID", id]);
    }
}

/// Who shows signs of life.
pub fn owners(server: &Redis, database: &str) -> Vec<String> {
    let owners = ask(server, database, &["ZRANGE", "celeriac.owners", "0", "-1"]);
    owners.lines().map(str::to_owned).collect()
}

/// Has a dead owner be silent for long already.
pub fn age(server: &Redis, database: &str, owner: &str) {
    ask(server, database, &["ZADD", "celeriac.owners", "XX", "1", owner]);
}
