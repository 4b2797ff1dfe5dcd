//! Owners that come and go.

use celeriac_broker::Error;

use super::{Effect, Tx};
use crate::fault::Fault;
use crate::owner;

impl Tx<'_> {
    /// Makes this connection known.
    pub fn register(&self) -> Result<(), Fault> {
        self.execute("INSERT INTO celeriac_owner (id) VALUES (?1)", [self.owner])?;
        // What we knew of messages that kombu took, or deleted, since.
        self.execute(
            "DELETE FROM celeriac_message WHERE owner IS NULL AND NOT EXISTS \
             (SELECT 1 FROM kombu_message m WHERE m.id = celeriac_message.id AND m.visible = 1)",
            [],
        )?;
        Ok(())
    }

    /// The owners whose process is gone.
    pub fn dead_owners(&self) -> Result<Vec<i64>, Fault> {
        let mut owners: Vec<i64> =
            self.column("SELECT id FROM celeriac_owner WHERE id <> ?1", [self.owner])?;
        owners.retain(|id| !owner::is_alive(self.path, *id));
        Ok(owners)
    }

    /// Takes back what dead owners held.
    pub fn reap(&mut self) -> Result<(), Fault> {
        for owner in self.dead_owners()? {
            let count = self.remove_owner(owner)?;
            owner::bury(self.path, owner);
            tracing::warn!(
                messages = count,
                "a process ended without closing its connection: its messages come back"
            );
        }
        Ok(())
    }

    /// Gives back all that an owner holds; returns how many messages that were.
    pub fn remove_owner(&mut self, owner: i64) -> Result<usize, Fault> {
        let count = self.execute(
            "UPDATE kombu_message SET visible = 1, version = version + 1 WHERE id IN \
             (SELECT id FROM celeriac_message WHERE owner = ?1)",
            [owner],
        )?;
        self.execute("UPDATE celeriac_message SET owner = NULL WHERE owner = ?1", [owner])?;
        let queues: Vec<i64> =
            self.column("SELECT DISTINCT queue_id FROM celeriac_consumer WHERE owner = ?1", [owner])?;
        self.execute("DELETE FROM celeriac_consumer WHERE owner = ?1", [owner])?;
        for queue in queues {
            self.desert(queue)?;
        }
        for queue in self.column("SELECT id FROM celeriac_queue WHERE owner = ?1", [owner])? {
            self.delete_queue(queue)?;
        }
        self.execute("DELETE FROM celeriac_owner WHERE id = ?1", [owner])?;
        self.effects.push(Effect::Ready);
        Ok(count)
    }

    /// Frees a queue that is exclusive to a dead owner.
    pub fn free_if_dead(&mut self, queue: &str) -> Result<(), Fault> {
        let sql = "SELECT 1 FROM celeriac_queue q JOIN kombu_queue k ON k.id = q.id \
                   WHERE k.name = ?1 AND q.owner IS NOT NULL AND q.owner <> ?2";
        if self.row(sql, rusqlite::params![queue, self.owner], |_| Ok(()))?.is_some() {
            self.reap()?;
        }
        Ok(())
    }

    /// An owner that is not registered any more was taken for dead: nothing that it holds is its own.
    pub fn check_registered(&self) -> Result<(), Fault> {
        match self.row("SELECT 1 FROM celeriac_owner WHERE id = ?1", [self.owner], |_| Ok(()))? {
            Some(()) => Ok(()),
            None => Err(Error::Lost("its lock file was removed".to_owned()).into()),
        }
    }
}
