//! The scripts of a session: it settles, and takes what there is room for.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use celeriac_broker::{Delivery, Envelope, Error, Event};
use redis::Value;

use super::driver::Driver;
use super::state::{Held, Kept, MOST, Plan, Source};
use crate::connection::number;
use crate::error::is_passing;
use crate::hub::Hub;
use crate::restore::quoted;
use crate::{Order, lease};

/// How many leases one command renews.
const BATCH: usize = 5_000;
/// How much of a message that makes no sense is logged.
const SHOWN: usize = 200;

impl Driver {
    /// Settles what is to be settled, and looks at the lists if that may be of use.
    pub(super) async fn work(&mut self) -> Result<(), Error> {
        let plan = std::mem::take(&mut self.plan);
        let settling = std::mem::take(&mut self.settling);
        let outcome = self.carry_out(plan).await;
        for reply in settling {
            let _ = reply.send(outcome.clone());
        }
        outcome
    }

    async fn carry_out(&mut self, plan: Plan) -> Result<(), Error> {
        let Plan { ended, returned, again } = plan;
        for (queue, payload) in again.into_iter().rev() {
            self.signals.live(|live| live.push_front(queue, payload));
        }
        if !returned.is_empty() {
            let tags = returned.iter().map(|number| format!("{}{number}", self.tags())).collect();
            lease::give_back(&self.hub, tags, None).await.map_err(as_loss)?;
            self.hub.changed(None);
        }
        let sources = match self.look && !self.refused {
            true => self.sources_with_room(),
            false => Vec::new(),
        };
        if ended.is_empty() && sources.is_empty() {
            return Ok(());
        }
        match self.call(&ended, &sources).await {
            Ok(answer) => self.take(&sources, answer).await,
            Err(error) if is_passing(&error) => {
                if !std::mem::replace(&mut self.refused, true) {
                    tracing::warn!("Redis gives no messages for the time being: {error}");
                }
                self.look_later();
                match ended.is_empty() {
                    true => Ok(()),
                    // To let go of leases needs no room.
                    false => self.call(&ended, &[]).await.map(drop).map_err(as_loss),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The sources that something may be taken of, and how much; another one first each time.
    fn sources_with_room(&mut self) -> Vec<(Source, usize)> {
        let total = self.state.total_room();
        let room = |source: &Source| self.state.room(source).min(MOST);
        let fits = |source: &Source| source.no_ack || total > 0 && room(source) > 0;
        let mut sources: Vec<_> = self
            .listed()
            .filter(|source| fits(source))
            .map(|source| (source.clone(), room(source)))
            .collect();
        match self.hub.keys.options.queue_order_strategy {
            Order::RoundRobin if !sources.is_empty() => {
                self.turn = (self.turn + 1) % sources.len();
                sources.rotate_left(self.turn);
            }
            Order::Sorted => sources.sort_by(|(one, _), (other, _)| one.queue.cmp(&other.queue)),
            Order::RoundRobin | Order::Priority => {}
        }
        sources
    }

    async fn call(&self, ended: &[u64], sources: &[(Source, usize)]) -> Result<Value, Error> {
        let Hub { link, keys, .. } = &*self.hub;
        let lists: Vec<_> = sources.iter().flat_map(|(source, _)| keys.lists(&source.queue)).collect();
        let is_fair = keys.options.queue_order_strategy == Order::RoundRobin;
        link.call_whole(&link.scripts.turn, &lists, |call| {
            call.arg(self.tags()).arg(self.state.next_tag()).arg(self.state.total_room());
            call.arg(u8::from(is_fair)).arg(ended.len()).arg(ended);
            for (source, room) in sources {
                call.arg(&*source.queue).arg(quoted(&source.queue)).arg(room).arg(u8::from(source.no_ack));
            }
            call
        })
        .await
    }

    /// Delivers what a script has taken.
    async fn take(&mut self, sources: &[(Source, usize)], answer: Value) -> Result<(), Error> {
        let odd = || Error::Lost("an odd answer from Redis".to_owned());
        if answer == Value::Nil {
            return Err(self.hub.buried());
        }
        let Value::Array(answer) = answer else { return Err(odd()) };
        let Ok([_, more, groups, gone, bad]) = <[Value; 5]>::try_from(answer) else { return Err(odd()) };
        if sources.is_empty() {
            return Ok(());
        }
        self.look = number(&more) == Some(1);
        self.look_later();
        for group in array(groups) {
            let mut group = array(group).into_iter();
            let index = group.next().as_ref().and_then(number).and_then(|index| usize::try_from(index).ok());
            let source = index.and_then(|index| sources.get(index.checked_sub(1)?));
            let Some((source, _)) = source else { return Err(odd()) };
            for payload in group.skip(1) {
                if let Value::BulkString(payload) = payload {
                    self.deliver_lease(source, payload.into()).await?;
                }
            }
        }
        self.tell_of_bad(sources, array(bad).into_iter().map(name).collect());
        for queue in array(gone) {
            self.cancelled(&name(queue)).await?;
        }
        Ok(())
    }

    /// Tells of queues of which a key is no list, once until they are well again. All sources with room were looked at.
    fn tell_of_bad(&mut self, looked_at: &[(Source, usize)], bad: HashSet<String>) {
        for queue in bad.difference(&self.bad) {
            tracing::error!("{queue}: a key of this queue is no list: nothing is taken from it");
        }
        self.bad.retain(|queue| !looked_at.iter().any(|(source, _)| *source.queue == **queue));
        self.bad.extend(bad);
    }

    async fn deliver_lease(&mut self, source: &Source, payload: Bytes) -> Result<(), Error> {
        let held = Held { queue: source.queue.clone(), message: Kept::Leased };
        let tag = self.state.deliver((!source.no_ack).then_some(held));
        let envelope = match Envelope::decode(payload.clone()) {
            Ok(envelope) => envelope,
            Err(error) => {
                let opaque = opaque(&source.queue, payload, &error);
                if !source.no_ack {
                    self.replace(tag, &opaque).await?;
                }
                opaque
            }
        };
        self.deliver(tag, &source.queue, envelope, false);
        Ok(())
    }

    /// Has a lease hold something that Python can read when it finds it abandoned.
    async fn replace(&self, tag: u64, envelope: &Envelope) -> Result<(), Error> {
        let envelope = Envelope { delivery_tag: format!("{}{tag}", self.tags()), ..envelope.clone() };
        let queue = quoted(&envelope.routing_key);
        let Ok(payload) = envelope.encode() else { return Ok(()) };
        let lease = [b"[", payload.as_slice(), b", \"\", ", &queue, b"]"].concat();
        let link = &self.hub.link;
        let call = link
            .call(&link.scripts.replace, &[], |call| call.arg(format!("{}{tag}", self.tags())).arg(&lease));
        match call.await {
            Err(error) if !is_passing(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Hands over messages of fanout exchanges, as far as there is room.
    pub(super) fn hand_over(&mut self) {
        loop {
            let state = &self.state;
            let has_room = |queue: &str| state.source(queue).is_some_and(|source| state.room(source) > 0);
            let waiting = self.signals.live(|live| live.take(Instant::now(), has_room));
            let Some(waiting) = waiting else { return };
            let queue = waiting.queue;
            let no_ack = self.state.source(&queue).is_some_and(|source| source.no_ack);
            let held = Held { queue: queue.clone(), message: Kept::Here(waiting.payload.clone()) };
            let tag = self.state.deliver((!no_ack).then_some(held));
            let envelope = Envelope::decode(waiting.payload.clone())
                .unwrap_or_else(|error| opaque(&queue, waiting.payload, &error));
            self.deliver(tag, &queue, envelope, waiting.redelivered);
        }
    }

    fn deliver(&self, tag: u64, queue: &Arc<str>, envelope: Envelope, redelivered: bool) {
        // An inbox that nobody reads belongs to a session that is about to close.
        let _ = self.inbox.send(Event::Delivery(Delivery {
            tag,
            redelivered: redelivered || envelope.redelivered,
            exchange: envelope.exchange,
            routing_key: envelope.routing_key,
            queue: queue.clone(),
            message: envelope.message,
        }));
    }

    pub(super) async fn renew_leases(&self) -> Result<(), Error> {
        let link = &self.hub.link;
        for numbers in self.state.leases().chunks(BATCH) {
            let renew = link.call(&link.scripts.renew, &[], |call| call.arg(self.tags()).arg(numbers));
            match renew.await {
                // It is tried again long before anybody takes them for abandoned.
                Err(error) if is_passing(&error) => tracing::warn!("leases could not be renewed: {error}"),
                renewed => drop(renewed?),
            }
        }
        Ok(())
    }

    /// What the tags of this session's leases begin with.
    fn tags(&self) -> String {
        format!("{}.{}.", self.hub.owner, self.id)
    }
}

/// A message that is no envelope: all of it is its body, for whoever receives it to judge.
fn opaque(queue: &str, payload: Bytes, error: &impl std::fmt::Display) -> Envelope {
    let start = String::from_utf8_lossy(payload.get(..SHOWN).unwrap_or(&payload)).into_owned();
    tracing::error!(queue, %error, start, "a message without kombu's envelope is delivered as it is");
    let mut envelope = Envelope { routing_key: queue.to_owned(), ..Envelope::default() };
    envelope.message.body = payload;
    envelope
}

/// A settlement that did not arrive ends the session, so that whoever holds the rest learns of it.
fn as_loss(error: Error) -> Error {
    match error {
        Error::Lost(_) => error,
        error => Error::Lost(error.to_string()),
    }
}

fn array(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values,
        _ => Vec::new(),
    }
}

fn name(value: Value) -> String {
    redis::from_redis_value(value).unwrap_or_default()
}
