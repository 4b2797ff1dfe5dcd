//! What a worker that starts asks the watchers: for the revokes that it does not know.

use std::sync::Arc;
use std::time::Duration;

use celeriac_broker::{Error, Published, Topology};
use celeriac_cluster::watch::message::{Beat, Key, Message, NodeId, Revokes, accept};
use celeriac_cluster::watch::revokes::Exchange;
use tokio::time::{Instant, timeout, timeout_at};

use super::TIMEOUT;
use crate::consumer::Consumer;
use crate::gossip::outbox::publish;
use crate::gossip::{Kept, is_refused};
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
    /// They do not answer, or there are none yet, on a broker that is busy.
    Silent,
}

/// What became of a question.
enum Asked {
    /// Somebody has it.
    Taken,
    /// Nobody has that key.
    Returned,
    /// We cannot ask.
    Failed(Found),
}

/// A conversation by our mailbox.
struct Talk<'a> {
    consumer: &'a Consumer,
    mailbox: Mailbox,
    to: Topology,
    /// What a lead told of itself last, meanwhile.
    beat: Option<Beat>,
}

/// Asks the lead, or else all watchers, and takes over what comes back.
///
/// The answer comes by the mailbox by which we gossip from then on: to make one more is dear for a broker on which many
/// start at once.
pub(super) async fn ask(consumer: &Arc<Consumer>) -> Result<Found, Error> {
    let begun = Instant::now();
    let mailbox = match consumer.cluster.open_mailbox(consumer).await {
        Err(error) if is_refused(&error) => return Ok(Found::Refused),
        opened => opened?,
    };
    let is_busy = begun.elapsed() > BUSY;
    let (exchange, question) = {
        let revoked = consumer.revokes.ids();
        Exchange::begin(consumer.cluster.node(), true, &revoked, consumer.clock.forward(), now())
    };
    let mut talk = Talk { consumer, mailbox, to: consumer.settings.events.cluster(), beat: None };
    let found = talk.converse(exchange, &question, is_busy).await?;
    if matches!(found, Found::Refused) {
        talk.mailbox.close().await;
    } else {
        consumer.cluster.keep(Some(Kept { mailbox: talk.mailbox, beat: talk.beat }));
    }
    Ok(found)
}

impl Talk<'_> {
    async fn converse(
        &mut self,
        mut exchange: Exchange,
        question: &Message,
        is_busy: bool,
    ) -> Result<Found, Error> {
        let until = Instant::now() + PATIENCE;
        let mut is_asked = false;
        for key in [Key::Lead, Key::Watchers] {
            is_asked |= match self.ask(key, question).await? {
                Asked::Taken => true,
                Asked::Returned => false,
                Asked::Failed(found) => return Ok(found),
            };
            let until = match key {
                _ if !is_asked => continue,
                Key::Lead => Instant::now() + SILENCE,
                _ => until,
            };
            if let Ok(Some(first)) = timeout_at(until, self.page()).await {
                return Ok(self.take_over(&mut exchange, first).await);
            }
        }
        match (is_busy, is_asked) {
            (false, _) => return Ok(Found::Nobody),
            (true, true) => return Ok(Found::Silent),
            (true, false) => {}
        }
        // Some of those who start go on soon, and one of them leads: it says so before it can be asked by its key.
        let share = f64::from(self.consumer.cluster.node().0 as u32) / f64::from(u32::MAX);
        let pause = BUSY + (PATIENCE - BUSY).mul_f64(share);
        let Ok(Some(lead)) = timeout(pause, self.hear_beat()).await else { return Ok(Found::Silent) };
        match self.ask(Key::Node(lead), question).await? {
            Asked::Taken => {}
            Asked::Returned => return Ok(Found::Silent),
            Asked::Failed(found) => return Ok(found),
        }
        match timeout(PATIENCE, self.page()).await {
            Ok(Some(first)) => Ok(self.take_over(&mut exchange, first).await),
            _ => Ok(Found::Silent),
        }
    }

    async fn ask(&self, key: Key, question: &Message) -> Result<Asked, Error> {
        Ok(match timeout(TIMEOUT, publish(self.consumer, &self.to, key, question, true)).await {
            Ok(Ok(Published::Accepted)) => Asked::Taken,
            Ok(Ok(Published::Returned)) => Asked::Returned,
            Ok(Err(error)) if is_refused(&error) => Asked::Failed(Found::Refused),
            // Full, it still has what is to be worked off.
            Ok(Err(Error::NotAccepted(_))) | Err(_) => Asked::Failed(Found::Blocked),
            Ok(Err(error)) => return Err(error),
        })
    }

    /// Takes over page after page, each as it comes, and tells the lead of what it does not know.
    async fn take_over(&mut self, exchange: &mut Exchange, first: Revokes) -> Found {
        let consumer = self.consumer;
        let until = Instant::now() + TIMEOUT;
        let lead = self.beat.as_ref().map_or(Key::Lead, |beat| Key::Node(beat.node));
        let mut next = first;
        loop {
            consumer.clock.adjust(next.clock);
            let unknown = consumer.revokes.change_ids(|revoked| exchange.on_page(&next, revoked, now()));
            if let Some(deltas) = unknown {
                for delta in &deltas {
                    let published = publish(consumer, &self.to, lead, delta, false);
                    match timeout_at(until, published).await {
                        Ok(Ok(_)) => {}
                        // The lead sees it by the digest in our comparisons to come.
                        Ok(Err(error)) => tracing::debug!("mingle: our revokes could not be told: {error}"),
                        Err(_) => tracing::debug!("mingle: our revokes could not be told in time"),
                    }
                }
                return Found::Watchers { strangers: next.strangers };
            }
            match timeout_at(until, self.page()).await {
                Ok(Some(page)) => next = page,
                _ => return Found::Watchers { strangers: next.strangers },
            }
        }
    }

    /// The next page of an answer; `None` when the session is gone.
    async fn page(&mut self) -> Option<Revokes> {
        loop {
            if let Message::Revokes(page) = self.message().await? {
                return Some(page);
            }
        }
    }

    /// Waits until somebody tells that it leads; `None` when the session is gone.
    async fn hear_beat(&mut self) -> Option<NodeId> {
        loop {
            if let Message::Beat(beat) = self.message().await? {
                return Some(beat.node);
            }
        }
    }

    /// The next message; `None` when the session is gone. Nothing but an answer is for us yet: the roster is asked for
    /// later.
    async fn message(&mut self) -> Option<Message> {
        loop {
            let delivery = self.mailbox.recv().await?;
            self.mailbox.done(delivery.tag).await.ok()?;
            let body = delivery.message.decode(&accept()).ok();
            let Some(message) = body.and_then(|body| Message::read(&body).ok()) else {
                self.consumer.counters.ignored_cluster.count();
                continue;
            };
            self.consumer.chatter.received(message.kind());
            if let Message::Beat(beat) = &message {
                self.beat = Some(beat.clone());
            }
            return Some(message);
        }
    }
}
