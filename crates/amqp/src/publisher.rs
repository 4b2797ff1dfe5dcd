//! Publishing with confirms, on a channel of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amqprs::callbacks::ChannelCallback;
use amqprs::channel::{BasicPublishArguments, Channel, ConfirmSelectArguments};
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, Nack, Return};
use async_trait::async_trait;
use celeriac_broker::{Address, Error, Published};
use celeriac_protocol::Message;
use tokio::sync::{OwnedMutexGuard, oneshot};

use crate::connection::lost;
use crate::convert;
use crate::io::{self, OnIo};

type Answer = Result<Published, Error>;

/// What was published and is not confirmed yet.
#[derive(Default)]
struct Pending {
    /// The sequence number that the broker gives to the next message (RabbitMQ counts from 1).
    next: u64,
    waiting: BTreeMap<u64, Waiter>,
    /// The broker returned the one mandatory message that may be under way.
    returned: bool,
    /// Why nothing more can be published.
    closed: Option<Error>,
}

/// Who waits for a confirm, and the exchange that the message went to.
struct Waiter {
    exchange: String,
    sender: oneshot::Sender<Answer>,
    /// Of a mandatory message: kept until it is answered, also when nobody waits any more, lest its return be taken for
    /// that of the next one.
    alone: Option<OwnedMutexGuard<()>>,
}

impl Pending {
    fn answer(&mut self, tag: u64, multiple: bool, answer: impl Fn() -> Answer) {
        let mut answered = BTreeMap::new();
        if multiple {
            // Zero is all of them (AMQP 0-9-1, `basic.ack`), and nothing comes after the highest.
            let next = tag.checked_add(1).filter(|next| *next > 1);
            let later = next.map(|next| self.waiting.split_off(&next)).unwrap_or_default();
            answered = std::mem::replace(&mut self.waiting, later);
        } else if let Some(waiter) = self.waiting.remove(&tag) {
            answered.insert(tag, waiter);
        }
        for (_, waiter) in answered {
            let answer = match answer() {
                Ok(_) if waiter.alone.is_some() && self.returned => Ok(Published::Returned),
                answer => answer,
            };
            let _ = waiter.sender.send(answer);
        }
    }

    /// Nothing more comes. A channel that is closed because of one message loses the others with it.
    fn close(&mut self, error: Error) {
        let reason = match &error {
            Error::NotFound(reason) | Error::AccessRefused { reason, .. } => Some(reason),
            _ => None,
        };
        let others = reason.map(|reason| Error::Lost(format!("another message was refused: {reason}")));
        let others = others.unwrap_or_else(|| error.clone());
        for (_, waiter) in std::mem::take(&mut self.waiting) {
            let name = if waiter.exchange.is_empty() { "amq.default" } else { &waiter.exchange };
            let is_meant = reason.is_some_and(|reason| reason.contains(&format!("exchange '{name}'")));
            let _ = waiter.sender.send(Err(if is_meant { error.clone() } else { others.clone() }));
        }
        self.closed.get_or_insert(others);
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Pending>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A channel in confirm mode.
pub(crate) struct Publisher {
    channel: OnIo<Channel>,
    pending: Shared,
    /// Keeps the order of sequence numbers and frames the same.
    order: tokio::sync::Mutex<()>,
    /// A return names no sequence number, so only one mandatory message is under way at a time.
    mandatory: Arc<tokio::sync::Mutex<()>>,
}

impl Publisher {
    pub(crate) async fn open(connection: amqprs::connection::Connection) -> Result<Self, Error> {
        io::run(async move {
            let channel = connection.open_channel(None).await.map_err(lost)?;
            let pending = Shared::default();
            channel.register_callback(Confirms(pending.clone())).await.map_err(lost)?;
            channel.confirm_select(ConfirmSelectArguments::new(false)).await.map_err(lost)?;
            Ok(Publisher {
                channel: OnIo::new(channel),
                pending,
                order: Default::default(),
                mandatory: Default::default(),
            })
        })
        .await
    }

    /// Whether the broker closed the channel (which it does when the exchange does not exist, or may not be written to).
    pub(crate) fn is_closed(&self) -> bool {
        self.pending.lock().closed.is_some() || !self.channel.is_open()
    }

    /// Fails every publish that waits, and those to come.
    pub(crate) fn fail(&self, error: Error) {
        self.pending.lock().close(error);
    }

    pub(crate) async fn publish(&self, address: &Address, message: Message) -> Answer {
        convert::short("the exchange's name", &address.exchange)?;
        convert::short("the routing key", &address.routing_key)?;
        let properties = convert::properties(&message.headers, &message.properties)?;
        let mut arguments = BasicPublishArguments::new(&address.exchange, &address.routing_key);
        arguments.mandatory(address.mandatory);
        let alone = if address.mandatory { Some(self.mandatory.clone().lock_owned().await) } else { None };
        let (sender, receiver) = oneshot::channel();
        {
            let _order = self.order.lock().await;
            let tag = {
                let mut pending = self.pending.lock();
                if let Some(error) = &pending.closed {
                    return Err(error.clone());
                }
                if alone.is_some() {
                    pending.returned = false;
                }
                pending.next += 1;
                let tag = pending.next;
                let exchange = address.exchange.clone();
                pending.waiting.insert(tag, Waiter { exchange, sender, alone });
                tag
            };
            // Given up before the frame is under way, the numbers would be wrong from here on.
            let counted = Counted(Some(&self.pending));
            if let Err(error) = self.channel.basic_publish(properties, message.body.into(), arguments).await {
                self.pending.lock().waiting.remove(&tag);
                return Err(lost(error));
            }
            counted.sent();
        }
        receiver.await.unwrap_or_else(|_| Err(Error::Lost("the channel was closed".to_owned())))
    }
}

/// A message that has its number and is not on its way yet.
struct Counted<'a>(Option<&'a Shared>);

impl Counted<'_> {
    fn sent(mut self) {
        self.0 = None;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if let Some(pending) = self.0 {
            pending.lock().close(Error::Lost("a publish was given up half-way".to_owned()));
        }
    }
}

struct Confirms(Shared);

#[async_trait]
impl ChannelCallback for Confirms {
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Result<(), amqprs::error::Error> {
        self.0.lock().close(crate::connection::closed_channel(close));
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), amqprs::error::Error> {
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, amqprs::error::Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        self.0.lock().answer(ack.delivery_tag(), ack.mutiple(), || Ok(Published::Accepted));
    }

    async fn publish_nack(&mut self, _: &Channel, nack: Nack) {
        let refused = || Err(Error::NotAccepted("the queue refused it".to_owned()));
        self.0.lock().answer(nack.delivery_tag(), nack.multiple(), refused);
    }

    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {
        self.0.lock().returned = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_number_that_is_given_up_ends_the_channel_and_one_that_was_sent_does_not() {
        let pending = Shared::default();
        let (sender, receiver) = oneshot::channel();
        pending.lock().waiting.insert(1, Waiter { exchange: String::new(), sender, alone: None });
        Counted(Some(&pending)).sent();
        assert_eq!(pending.lock().closed, None);
        drop(Counted(Some(&pending)));
        assert!(matches!(receiver.await, Ok(Err(Error::Lost(_)))));
        assert!(matches!(pending.lock().closed, Some(Error::Lost(_))));
    }

    #[test]
    fn an_answer_to_many_is_for_those_up_to_its_number() {
        for (tag, left) in [(0, &[][..]), (1, &[2, 3]), (2, &[3]), (u64::MAX, &[])] {
            let mut pending = Pending::default();
            for number in 1..=3 {
                let (sender, _) = oneshot::channel();
                pending.waiting.insert(number, Waiter { exchange: String::new(), sender, alone: None });
            }
            pending.answer(tag, true, || Ok(Published::Accepted));
            assert!(pending.waiting.keys().eq(left), "{tag}: {:?}", pending.waiting.keys());
        }
    }

    #[tokio::test]
    async fn a_return_that_nobody_waits_for_is_not_the_next_ones() {
        let (pending, mandatory) = (Shared::default(), Arc::new(tokio::sync::Mutex::new(())));
        let (sender, receiver) = oneshot::channel();
        let alone = Some(mandatory.clone().lock_owned().await);
        pending.lock().waiting.insert(1, Waiter { exchange: String::new(), sender, alone });
        drop(receiver);
        assert!(mandatory.try_lock().is_err(), "it is still under way");
        pending.lock().returned = true;
        pending.lock().answer(1, false, || Ok(Published::Accepted));
        assert!(mandatory.try_lock().is_ok());
    }
}
