//! What a worker that starts asks the watchers: for the revokes that it does not know.

use std::sync::Arc;
use std::time::Duration;

use celeriac_broker::{Error, Published, Topology};
use celeriac_cluster::watch::message::{Key, Message, Revokes, accept};
use celeriac_cluster::watch::revokes::Exchange;
use tokio::time::{Instant, timeout, timeout_at};

use super::TIMEOUT;
use crate::consumer::Consumer;
use crate::gossip::is_refused;
use crate::gossip::outbox::publish;
use crate::listener::Mailbox;
use crate::wall::now;

/// How long the lead has for the first page of its answer before all watchers are asked.
const SILENCE: Duration = Duration::from_millis(200);
/// How long all have who were there to be asked. To greet everybody instead, while a thousand start and the lead has no
/// time, would give it less.
const PATIENCE: Duration = Duration::from_secs(5);
/// A broker that takes longer to make our mailbox is busy with others that start: to greet all of them, who would all be
/// greeting, would bring it down. We wait for the lead that they will have.
const BUSY: Duration = Duration::from_millis(300);
/// How often we look for it; up to twice as long, lest all look at once.
const LOOK: Duration = Duration::from_millis(500);

/// What came of asking the watchers.
pub(super) enum Found {
    /// They have answered; whether they know of workers that they do not speak for.
    Watchers { strangers: bool },
    /// None has.
    Nobody,
    /// We may not ask.
    Refused,
    /// The broker takes nothing.
    Blocked,
    /// They do not answer, on a broker that is busy.
    Silent,
}

/// Asks the lead, or else all watchers, and takes over what comes back.
///
/// The answer comes by the mailbox by which we gossip from then on: to make one more is dear for a broker on which many
/// start at once.
pub(super) async fn ask(consumer: &Arc<Consumer>) -> Result<Found, Error> {
    let begun = Instant::now();
    let mut mailbox = match consumer.cluster.open_mailbox(consumer).await {
        Err(error) if is_refused(&error) => return Ok(Found::Refused),
        opened => opened?,
    };
    let is_busy = begun.elapsed() > BUSY;
    let (exchange, question) = {
        let revoked = consumer.revokes.ids();
        Exchange::begin(consumer.cluster.node(), true, &revoked, consumer.clock.forward(), now())
    };
    let found = converse(consumer, &mut mailbox, exchange, &question, is_busy).await;
    consumer.cluster.keep_mailbox(Some(mailbox));
    found
}

async fn converse(
    consumer: &Consumer,
    mailbox: &mut Mailbox,
    mut exchange: Exchange,
    question: &Message,
    is_busy: bool,
) -> Result<Found, Error> {
    let to = consumer.settings.events.cluster();
    let until = Instant::now() + PATIENCE;
    let look = LOOK + LOOK.mul_f64(f64::from(consumer.cluster.node().0 as u32) / f64::from(u32::MAX));
    let mut is_asked = false;
    loop {
        for key in [Key::Lead, Key::Watchers] {
            match timeout(TIMEOUT, publish(consumer, &to, key, question, true)).await {
                Ok(Ok(Published::Accepted)) => is_asked = true,
                Ok(Ok(Published::Returned)) => {}
                Ok(Err(error)) if is_refused(&error) => return Ok(Found::Refused),
                Ok(Err(error)) => return Err(error),
                Err(_) => return Ok(Found::Blocked),
            }
            let until = match key {
                _ if !is_asked => continue,
                Key::Lead => Instant::now() + SILENCE,
                _ => until,
            };
            if let Ok(Some(first)) = timeout_at(until, page(consumer, mailbox)).await {
                let strangers = take_over(consumer, mailbox, &mut exchange, first, &to).await;
                return Ok(Found::Watchers { strangers });
            }
        }
        if is_asked || !is_busy || Instant::now() > until {
            return Ok(if is_asked && is_busy { Found::Silent } else { Found::Nobody });
        }
        tokio::time::sleep(look).await;
    }
}

/// Takes over page after page, each as it comes, and tells the lead of what it does not know. Returns whether there are
/// workers that the watchers do not speak for.
async fn take_over(
    consumer: &Consumer,
    mailbox: &mut Mailbox,
    exchange: &mut Exchange,
    first: Revokes,
    to: &Topology,
) -> bool {
    let until = Instant::now() + TIMEOUT;
    let mut next = first;
    loop {
        consumer.clock.adjust(next.clock);
        let unknown = consumer.revokes.change_ids(|revoked| exchange.on_page(&next, revoked, now()));
        if let Some(deltas) = unknown {
            for delta in &deltas {
                match timeout_at(until, publish(consumer, to, Key::Lead, delta, false)).await {
                    Ok(Ok(_)) => {}
                    // The lead sees it by the digest in our comparisons to come.
                    Ok(Err(error)) => tracing::debug!("mingle: our revokes could not be told: {error}"),
                    Err(_) => tracing::debug!("mingle: our revokes could not be told in time"),
                }
            }
            return next.strangers;
        }
        match timeout_at(until, page(consumer, mailbox)).await {
            Ok(Some(page)) => next = page,
            _ => return next.strangers,
        }
    }
}

/// The next page of an answer; `None` when the session is gone.
async fn page(consumer: &Consumer, mailbox: &mut Mailbox) -> Option<Revokes> {
    loop {
        let delivery = mailbox.recv().await?;
        mailbox.done(delivery.tag).await.ok()?;
        let body = delivery.message.decode(&accept()).ok();
        match body.and_then(|body| Message::read(&body).ok()) {
            Some(Message::Revokes(page)) => {
                consumer.chatter.received("revokes");
                return Some(page);
            }
            // Nothing else is for us yet: the roster is asked for later.
            Some(message) => consumer.chatter.received(message.kind()),
            None => consumer.counters.ignored_cluster.count(),
        }
    }
}
