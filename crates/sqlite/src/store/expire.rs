//! Messages and queues whose time is over.

use celeriac_broker::DeathReason;

use super::{Effect, Tx};
use crate::fault::Fault;
use crate::session::Held;

/// The most messages that expire in one transaction.
const MOST: i64 = 256;

impl Tx<'_> {
    /// Ends messages that are due, a bounded number of them.
    pub fn expire_messages(&mut self) -> Result<(), Fault> {
        let sql =
            "SELECT id, queue_id FROM celeriac_message WHERE expires_at <= ?1 AND owner IS NULL LIMIT ?2";
        let due: Vec<Held> = self
            .db
            .prepare_cached(sql)?
            .query_map([self.now, MOST], |row| Ok(Held { message: row.get(0)?, queue_id: row.get(1)? }))?
            .collect::<Result<_, _>>()?;
        for held in &due {
            // What kombu took is kombu's.
            let sql = "SELECT 1 FROM kombu_message WHERE id = ?1 AND visible = 1";
            if self.row(sql, [held.message], |_| Ok(()))?.is_some() {
                self.bury(held, DeathReason::Expired)?;
            } else {
                self.execute("DELETE FROM celeriac_message WHERE id = ?1", [held.message])?;
            }
        }
        Ok(())
    }

    /// Ends queues that are due, and notes when anything is next.
    pub fn expire_queues(&mut self) -> Result<(), Fault> {
        let unused: Vec<i64> = self.column(
            "SELECT id FROM celeriac_queue q WHERE used_at + expires <= ?1 AND NOT EXISTS \
             (SELECT 1 FROM celeriac_consumer c WHERE c.queue_id = q.id)",
            [self.now],
        )?;
        for queue in unused {
            self.delete_queue(queue)?;
        }
        self.effects.extend(self.next_expiry()?.map(Effect::Due));
        Ok(())
    }

    /// When something is due next.
    pub fn next_expiry(&self) -> Result<Option<i64>, Fault> {
        let sql = "SELECT min(at) FROM (\
                   SELECT min(expires_at) AS at FROM celeriac_message WHERE expires_at IS NOT NULL AND owner IS NULL \
                   UNION ALL SELECT min(used_at + expires) FROM celeriac_queue q WHERE NOT EXISTS \
                   (SELECT 1 FROM celeriac_consumer c WHERE c.queue_id = q.id))";
        Ok(self.row(sql, [], |row| row.get(0))?.flatten())
    }

    /// Notes when a queue has to be looked after.
    pub fn note_expiry(&mut self, queue: i64) -> Result<(), Fault> {
        let sql = "SELECT used_at + expires FROM celeriac_queue WHERE id = ?1";
        let at = self.row(sql, [queue], |row| row.get::<_, Option<i64>>(0))?.flatten();
        self.effects.extend(at.map(Effect::Due));
        Ok(())
    }
}
