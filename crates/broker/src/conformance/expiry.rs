//! Messages and queues whose time is over.

use std::sync::Arc;
use std::time::Duration;

use super::Fixture;
use super::support::*;
use crate::{Address, Connection, Prefetch, Published, Queue};

/// A message's own time to live; it goes to the dead-letter exchange.
pub async fn a_message_expires(fixture: &impl Fixture) {
    expires_into_the_dead_letter_exchange(fixture, Queue::new(fixture.name("q")), Some("20")).await;
}

/// A queue's time to live for all of its messages.
pub async fn a_queue_s_messages_expire(fixture: &impl Fixture) {
    let queue = Queue { message_ttl: Some(Duration::from_millis(20)), ..Queue::new(fixture.name("q")) };
    expires_into_the_dead_letter_exchange(fixture, queue, None).await;
}

async fn expires_into_the_dead_letter_exchange(
    fixture: &impl Fixture,
    queue: Queue,
    expiration: Option<&str>,
) {
    let capabilities = fixture.transport().capabilities();
    if !capabilities.expiry {
        return;
    }
    let connection = connect(fixture).await;
    let [dead] = queues(fixture, &connection, ["dead"]).await;
    let name = queue.name.clone();
    let queue = match capabilities.dead_letters {
        true => Queue {
            dead_letter_exchange: Some(String::new()),
            dead_letter_routing_key: Some(dead.clone()),
            ..queue
        },
        false => queue,
    };
    declare_queue(&connection, queue).await;
    // Somebody has to look after the time, even if he does not consume that queue.
    let mut consumer = Consumer::new(&connection, Prefetch::Session(1), &[&dead]).await;
    let mut message = message("late");
    message.properties.expiration = expiration.map(str::to_owned);
    connection.publish(&Address::queue(&name), message).await.unwrap();
    if capabilities.dead_letters {
        let delivery = consumer.next().await;
        assert_eq!(body(&delivery), "late");
        assert_eq!(delivery.message.properties.expiration, None);
    }
    until_len(&connection, &name, 0).await;
}

/// A queue goes when nobody used it for its time; while somebody consumes it, it stays.
pub async fn an_unused_queue_expires(fixture: &impl Fixture) {
    if !fixture.transport().capabilities().expiry {
        return;
    }
    let connection = connect(fixture).await;
    let expiring =
        |base: &str| Queue { expires: Some(Duration::from_millis(200)), ..Queue::new(fixture.name(base)) };
    let (used, unused) = (expiring("used"), expiring("unused"));
    declare_queue(&connection, used.clone()).await;
    let mut consumer = Consumer::new(&connection, Prefetch::Session(1), &[&used.name]).await;
    declare_queue(&connection, unused.clone()).await;
    until_unroutable(&connection, &unused.name).await;
    send(&connection, &used.name, "still there").await;
    assert_eq!(consumer.bodies(1).await, ["still there"]);
    consumer.session.close().await;
    until_unroutable(&connection, &used.name).await;
}

/// Asking for its length could count as use.
async fn until_unroutable(connection: &Arc<dyn Connection>, queue: &str) {
    let address = Address::queue(queue).mandatory();
    until(|| async { connection.publish(&address, message("probe")).await == Ok(Published::Returned) }).await;
}
