use bytes::Bytes;
use celeriac_broker::{Address, Death, DeathReason, Envelope, Settlement};
use rusqlite::OptionalExtension;

use super::{Effect, Parcel, Tx};
use crate::fault::Fault;
use crate::session::Held;

impl Tx<'_> {
    pub fn settle(&mut self, session: u64, settlements: &[Settlement]) -> Result<(), Fault> {
        let state = self.sessions.find(session)?;
        let mut tags = Vec::with_capacity(settlements.len());
        for settlement in settlements {
            match *settlement {
                Settlement::AckThrough(last) => {
                    for (tag, held) in state.held.range(..=last) {
                        self.ack(held)?;
                        tags.push(*tag);
                    }
                }
                // There are no places to keep: the caller must not ask for them.
                Settlement::Ack(tag)
                | Settlement::Keep(tag)
                | Settlement::Requeue(tag)
                | Settlement::Reject(tag) => {
                    let Some(held) = state.held.get(&tag) else { continue };
                    match settlement {
                        Settlement::Requeue(_) => self.give_back(held)?,
                        Settlement::Reject(_) => self.reject(held)?,
                        _ => self.ack(held)?,
                    }
                    tags.push(tag);
                }
            }
        }
        self.effects.push(Effect::Settled { session, tags });
        Ok(())
    }

    /// Ends a lease; `false` when it ended before, in this transaction or with its queue.
    fn end_lease(&self, held: &Held) -> Result<bool, Fault> {
        let sql = "DELETE FROM celeriac_message WHERE id = ?1 AND owner = ?2";
        Ok(self.execute(sql, [held.message, self.owner])? > 0)
    }

    fn ack(&self, held: &Held) -> Result<(), Fault> {
        if self.end_lease(held)? {
            self.execute("DELETE FROM kombu_message WHERE id = ?1", [held.message])?;
        }
        Ok(())
    }

    /// Back to the queue, to its old place; that it was delivered is remembered.
    pub fn give_back(&mut self, held: &Held) -> Result<(), Fault> {
        let sql = "UPDATE celeriac_message SET owner = NULL WHERE id = ?1 AND owner = ?2";
        if self.execute(sql, [held.message, self.owner])? > 0 {
            self.execute(
                "UPDATE kombu_message SET visible = 1, version = version + 1 WHERE id = ?1",
                [held.message],
            )?;
            self.effects.push(Effect::Ready);
        }
        Ok(())
    }

    fn reject(&mut self, held: &Held) -> Result<(), Fault> {
        if self.end_lease(held)? {
            self.bury(held, DeathReason::Rejected)?;
        }
        Ok(())
    }

    /// Deletes a message, after it was sent to its queue's dead-letter exchange, if there is one.
    pub fn bury(&mut self, held: &Held, reason: DeathReason) -> Result<(), Fault> {
        let sql = "SELECT k.name, q.dead_letter_exchange, q.dead_letter_routing_key FROM celeriac_queue q \
                   JOIN kombu_queue k ON k.id = q.id WHERE q.id = ?1 AND q.dead_letter_exchange IS NOT NULL";
        let grave = self.row(sql, [held.queue_id], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<String>>(2)?))
        })?;
        if let Some((queue, exchange, routing_key)) = grave {
            let payload = self
                .db
                .prepare_cached("SELECT payload FROM kombu_message WHERE id = ?1")?
                .query_row([held.message], |row| {
                    Ok(row.get_ref(0)?.as_bytes_or_null()?.map(Bytes::copy_from_slice))
                })
                .optional()?
                .flatten();
            if let Some(payload) = payload {
                self.send_to_grave(payload, &queue, exchange, routing_key, reason)?;
            }
        }
        self.forget(held.message)
    }

    fn send_to_grave(
        &mut self,
        payload: Bytes,
        queue: &str,
        exchange: String,
        routing_key: Option<String>,
        reason: DeathReason,
    ) -> Result<(), Fault> {
        let mut envelope = Envelope::decode(payload.clone()).unwrap_or_else(|_| opaque(payload, queue));
        let death = Death { reason, queue, exchange: &envelope.exchange, routing_key: &envelope.routing_key };
        if !death.record(&mut envelope.message) {
            return Ok(());
        }
        let routing_key = routing_key.unwrap_or(envelope.routing_key);
        let address = Address { exchange, routing_key, mandatory: false };
        let sent = Parcel::new(address, envelope.message)
            .map_err(Fault::from)
            .and_then(|parcel| self.publish(&parcel));
        match sent {
            // A dead-letter exchange that does not exist takes nothing.
            Ok(_) | Err(Fault::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// What somebody put into the table without kombu's envelope: a message with all of it as its body, for whoever
/// receives it to judge.
pub(crate) fn opaque(payload: Bytes, queue: &str) -> Envelope {
    let mut envelope = Envelope { routing_key: queue.to_owned(), ..Envelope::default() };
    envelope.message.body = payload;
    envelope
}
