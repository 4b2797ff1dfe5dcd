use celeriac_broker::Prefetch;
use rusqlite::params;

use super::{Effect, Lease, Tx};
use crate::fault::Fault;
use crate::session::{Held, Session, Source};

/// The most messages and bytes that one transaction takes from a queue.
const MOST: usize = 256;
const MOST_BYTES: usize = 8 << 20;

const BY_PRIORITY: &str = "SELECT m.id, m.payload, c.deliveries FROM celeriac_message c CROSS JOIN kombu_message m \
     ON m.id = c.id WHERE c.queue_id = ?1 AND c.priority > 0 AND c.owner IS NULL AND m.visible = 1 \
     ORDER BY c.priority DESC, c.id LIMIT ?2";
const BY_AGE: &str = "SELECT m.id, m.payload, c.deliveries FROM kombu_message m LEFT JOIN celeriac_message c \
     ON c.id = m.id WHERE m.queue_id = ?1 AND m.visible = 1 ORDER BY m.id LIMIT ?2";

struct Row {
    id: i64,
    payload: Vec<u8>,
    deliveries: i64,
}

impl Tx<'_> {
    /// Whether any session could be given something, or must be told that a queue is gone.
    pub fn anything_to_do(&self) -> Result<bool, Fault> {
        let sql = "SELECT EXISTS (SELECT 1 FROM kombu_message WHERE queue_id = ?1 AND visible = 1)";
        for (_, session) in self.sessions.iter() {
            for source in &session.sources {
                let ready =
                    || self.row(sql, [source.queue_id], |row| row.get(0)).map(Option::unwrap_or_default);
                if !self.exists(source.queue_id)? || (session.room(source) > 0 && ready()?) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn exists(&self, queue_id: i64) -> rusqlite::Result<bool> {
        Ok(self.row("SELECT 1 FROM kombu_queue WHERE id = ?1", [queue_id], |_| Ok(()))?.is_some())
    }

    /// Leases to every session what it has room for.
    pub fn lease(&mut self) -> Result<(), Fault> {
        self.expire_messages()?;
        for (id, session) in self.sessions.iter() {
            if self.is_ending(*id) {
                self.effects.push(Effect::Ready);
            } else {
                self.lease_for(*id, session)?;
            }
        }
        Ok(())
    }

    /// Whether this very transaction ends a session, or one of its subscriptions.
    fn is_ending(&self, id: u64) -> bool {
        self.effects.iter().any(|effect| {
            matches!(effect, Effect::Closed { session } | Effect::Unsubscribed { session, .. } if *session == id)
        })
    }

    fn lease_for(&mut self, id: u64, session: &Session) -> Result<(), Fault> {
        let mut taken = 0;
        for source in session.sources_in_turn() {
            if !self.exists(source.queue_id)? {
                self.effects.push(Effect::Cancelled { session: id, queue_id: source.queue_id });
                continue;
            }
            let room = match session.prefetch {
                Prefetch::Session(_) if !source.no_ack => session.room(source).saturating_sub(taken),
                _ => session.room(source),
            };
            let leases = self.take(source, room.min(MOST))?;
            if leases.is_empty() {
                continue;
            }
            taken += leases.iter().filter(|lease| lease.held.is_some()).count();
            if leases.len() < room {
                // It may have been cut short by its bounds.
                self.effects.push(Effect::Ready);
            }
            self.effects.push(Effect::Leased { session: id, queue: source.queue.clone(), leases });
        }
        Ok(())
    }

    fn take(&mut self, source: &Source, limit: usize) -> Result<Vec<Lease>, Fault> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        if source.priorities {
            self.select(BY_PRIORITY, source, limit, &mut bytes, &mut rows)?;
            self.mark(source, &rows)?;
        }
        // Those with a priority are all taken by now, or there is no room left.
        let urgent = rows.len();
        if bytes < MOST_BYTES {
            self.select(BY_AGE, source, limit - urgent, &mut bytes, &mut rows)?;
            self.mark(source, rows.get(urgent..).unwrap_or_default())?;
        }
        let lease = |row: Row| Lease {
            held: (!source.no_ack).then_some(Held { message: row.id, queue_id: source.queue_id }),
            payload: row.payload,
            redelivered: row.deliveries > 0,
        };
        Ok(rows.into_iter().map(lease).collect())
    }

    fn select(
        &self,
        sql: &str,
        source: &Source,
        limit: usize,
        bytes: &mut usize,
        rows: &mut Vec<Row>,
    ) -> Result<(), Fault> {
        if limit == 0 {
            return Ok(());
        }
        let mut statement = self.db.prepare_cached(sql)?;
        let mut found = statement.query(params![source.queue_id, limit as i64])?;
        while let Some(row) = found.next()? {
            let payload = row.get_ref(1)?.as_bytes_or_null().ok().flatten().unwrap_or_default().to_vec();
            *bytes += payload.len();
            let deliveries = row.get::<_, Option<i64>>(2)?.unwrap_or(0);
            rows.push(Row { id: row.get(0)?, payload, deliveries });
            if *bytes >= MOST_BYTES {
                break;
            }
        }
        Ok(())
    }

    /// Makes messages ours, or forgets them at once where nothing is to be acked.
    fn mark(&self, source: &Source, rows: &[Row]) -> Result<(), Fault> {
        for row in rows {
            if source.no_ack {
                self.forget(row.id)?;
                continue;
            }
            self.execute(
                "UPDATE kombu_message SET visible = 0, version = version + 1 WHERE id = ?1",
                [row.id],
            )?;
            self.execute(
                "INSERT INTO celeriac_message (id, queue_id, owner, deliveries) VALUES (?1, ?2, ?3, 1) \
                 ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, deliveries = deliveries + 1",
                params![row.id, source.queue_id, self.owner],
            )?;
        }
        Ok(())
    }

    /// Deletes a message.
    pub fn forget(&self, message: i64) -> Result<(), Fault> {
        self.execute("DELETE FROM celeriac_message WHERE id = ?1", [message])?;
        self.execute("DELETE FROM kombu_message WHERE id = ?1", [message])?;
        Ok(())
    }
}
