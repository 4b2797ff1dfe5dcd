//! Queues as a whole: who may use them, how long they are, how they end.

use celeriac_broker::{Error, Prefetch, Subscription};
use rusqlite::params;

use super::{Effect, Tx};
use crate::fault::Fault;
use crate::session::Source;

impl Tx<'_> {
    pub fn queue_id(&self, name: &str) -> Result<i64, Fault> {
        let id = self.row("SELECT id FROM kombu_queue WHERE name = ?1", [name], |row| row.get(0))?;
        id.ok_or_else(|| Error::NotFound(format!("queue {name}")).into())
    }

    pub fn refused(&self, queue: &str) -> Fault {
        let broker = format!("sqlite:///{}", self.path.display());
        Error::AccessRefused { broker, reason: format!("queue {queue} is exclusive to somebody else") }.into()
    }

    pub fn queue_len(&mut self, name: &str) -> Result<u64, Fault> {
        self.expire_messages()?;
        let id = self.queue_id(name)?;
        let sql = "SELECT count(*) FROM kombu_message WHERE queue_id = ?1 AND visible = 1";
        let count: i64 = self.row(sql, [id], |row| row.get(0))?.unwrap_or(0);
        Ok(count.unsigned_abs())
    }

    pub fn purge(&mut self, name: &str) -> Result<u64, Fault> {
        self.expire_messages()?;
        let id = self.queue_id(name)?;
        self.execute(
            "DELETE FROM celeriac_message WHERE owner IS NULL AND id IN \
             (SELECT id FROM kombu_message WHERE queue_id = ?1 AND visible = 1)",
            [id],
        )?;
        let count = self.execute("DELETE FROM kombu_message WHERE queue_id = ?1 AND visible = 1", [id])?;
        Ok(count as u64)
    }

    pub fn delete_queue_named(&mut self, name: &str) -> Result<(), Fault> {
        match self.queue_id(name) {
            Ok(id) => self.delete_queue(id),
            Err(Fault::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deletes a queue with all that belongs to it; who consumes it sees that when he next looks.
    pub fn delete_queue(&mut self, id: i64) -> Result<(), Fault> {
        self.execute(
            "DELETE FROM celeriac_message WHERE id IN (SELECT id FROM kombu_message WHERE queue_id = ?1)",
            [id],
        )?;
        self.execute("DELETE FROM kombu_message WHERE queue_id = ?1", [id])?;
        let exchanges: Vec<String> =
            self.column("SELECT DISTINCT exchange FROM celeriac_binding WHERE queue_id = ?1", [id])?;
        self.execute("DELETE FROM celeriac_binding WHERE queue_id = ?1", [id])?;
        for exchange in exchanges {
            self.execute(
                "DELETE FROM celeriac_exchange WHERE name = ?1 AND auto_delete AND NOT EXISTS \
                 (SELECT 1 FROM celeriac_binding WHERE exchange = ?1)",
                [exchange],
            )?;
        }
        self.execute("DELETE FROM celeriac_consumer WHERE queue_id = ?1", [id])?;
        self.execute("DELETE FROM celeriac_queue WHERE id = ?1", [id])?;
        self.execute("DELETE FROM kombu_queue WHERE id = ?1", [id])?;
        self.effects.push(Effect::Ready);
        Ok(())
    }

    pub fn subscribe(&mut self, session: u64, subscription: &Subscription) -> Result<(), Fault> {
        if subscription.offset.is_some() {
            return Err(Error::Unsupported { transport: "sqlite", what: "start at an offset" }.into());
        }
        self.sessions.find(session)?;
        let name = subscription.queue.as_str();
        let id = self.queue_id(name)?;
        if self.sessions.find(session)?.consumes(id) {
            return Ok(());
        }
        let taken = |tx: &Self| -> rusqlite::Result<bool> {
            let sql = "SELECT EXISTS (SELECT 1 FROM celeriac_queue WHERE id = ?1 AND owner IS NOT NULL AND owner <> ?2) \
                       OR EXISTS (SELECT 1 FROM celeriac_consumer WHERE queue_id = ?1 AND (exclusive OR ?3))";
            let taken = tx.row(sql, params![id, tx.owner, subscription.exclusive], |row| row.get(0))?;
            Ok(taken.unwrap_or(false))
        };
        if taken(self)? {
            self.reap()?;
            self.queue_id(name)?;
            if taken(self)? {
                return Err(self.refused(name));
            }
        }
        self.execute(
            "INSERT OR REPLACE INTO celeriac_consumer (queue_id, owner, session, exclusive) VALUES (?1, ?2, ?3, ?4)",
            params![id, self.owner, session.cast_signed(), subscription.exclusive],
        )?;
        let sql = "SELECT max_priority IS NOT NULL FROM celeriac_queue WHERE id = ?1";
        let priorities = self.row(sql, [id], |row| row.get(0))?.unwrap_or(false);
        let source = Source { queue: name.into(), queue_id: id, no_ack: subscription.no_ack, priorities };
        self.effects.push(Effect::Subscribed { session, source });
        Ok(())
    }

    pub fn unsubscribe(&mut self, session: u64, name: &str) -> Result<(), Fault> {
        let Some(queue_id) = self.sessions.find(session)?.source_named(name).map(|source| source.queue_id)
        else {
            return Ok(());
        };
        self.effects.push(Effect::Unsubscribed { session, queue_id });
        self.remove_consumer(session, queue_id)
    }

    pub fn remove_consumer(&mut self, session: u64, queue_id: i64) -> Result<(), Fault> {
        self.execute(
            "DELETE FROM celeriac_consumer WHERE queue_id = ?1 AND owner = ?2 AND session = ?3",
            params![queue_id, self.owner, session.cast_signed()],
        )?;
        self.desert(queue_id)
    }

    /// What follows when a queue has lost a consumer.
    pub fn desert(&mut self, id: i64) -> Result<(), Fault> {
        let sql = "SELECT auto_delete FROM celeriac_queue WHERE id = ?1 AND NOT EXISTS \
                   (SELECT 1 FROM celeriac_consumer WHERE queue_id = ?1)";
        match self.row(sql, [id], |row| row.get::<_, bool>(0))? {
            Some(true) => self.delete_queue(id),
            Some(false) => {
                self.execute("UPDATE celeriac_queue SET used_at = ?2 WHERE id = ?1", [id, self.now])?;
                self.note_expiry(id)
            }
            None => Ok(()),
        }
    }

    pub fn set_prefetch(&mut self, session: u64, prefetch: Prefetch) -> Result<(), Fault> {
        self.sessions.find(session)?;
        self.effects.push(Effect::Prefetch { session, prefetch });
        Ok(())
    }

    /// A session ends: what it holds goes back, its consumers go.
    pub fn close_session(&mut self, session: u64) -> Result<(), Fault> {
        let Ok(state) = self.sessions.find(session) else { return Ok(()) };
        for held in state.held.values() {
            self.give_back(held)?;
        }
        for source in &state.sources {
            self.remove_consumer(session, source.queue_id)?;
        }
        self.effects.push(Effect::Closed { session });
        Ok(())
    }
}
