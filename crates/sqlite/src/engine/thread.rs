use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use celeriac_broker::Error;
use rusqlite::Connection;

use super::handle::Order;
use super::job::Job;
use crate::fault::{Fault, is_busy, storage};
use crate::owner::Owner;
use crate::session::Sessions;
use crate::store::{self, Effect, Tx};
use crate::wake::{Bell, Ear};
use crate::{SqliteTransport, schema};

/// The most jobs of one transaction.
const BATCH: usize = 512;

/// How often to look for dead owners, while there are sessions.
const SWEEP: Duration = Duration::from_secs(1);

pub(super) struct Thread {
    db: Connection,
    path: PathBuf,
    owner: Owner,
    orders: Receiver<Order>,
    ear: Ear,
    sessions: Sessions,
    /// Whether some session may have something to get.
    look: bool,
    /// What SQLite changes when another connection commits.
    data_version: i64,
    /// Without sessions only what is known to become due is looked after.
    next_sweep: Option<Instant>,
}

impl Thread {
    pub fn open(transport: &SqliteTransport, orders: Receiver<Order>) -> Result<(Self, Arc<Bell>), String> {
        let path = std::path::absolute(transport.path()).map_err(|error| error.to_string())?;
        if let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) {
            return Err(format!("there is no folder {}", folder.display()));
        }
        let db = schema::open(&path, transport.synchronous()).map_err(|error| error.to_string())?;
        let lock = |error| format!("cannot keep a locked file beside it: {error}");
        let owner = Owner::new(&path).map_err(lock)?;
        let (bell, ear) = Ear::new(&path).map_err(|error| format!("cannot watch it for changes: {error}"))?;
        let mut thread = Thread {
            db,
            path,
            owner,
            orders,
            ear,
            sessions: Sessions::default(),
            look: false,
            data_version: 0,
            next_sweep: None,
        };
        thread.transact(&mut [], |tx| tx.register()).map_err(|error| error.to_string())?;
        Ok((thread, bell))
    }

    /// Works until it is told to stop, or the database fails for good; returns why it ended.
    pub fn run(mut self) -> Error {
        let reason = loop {
            match self.step() {
                Ok(true) => {}
                Ok(false) => break Error::Lost("closed by this side".to_owned()),
                Err(error) => {
                    tracing::error!(%error, file = %self.path.display(), "the embedded broker failed");
                    self.sessions.lose(&error);
                    break error;
                }
            }
        };
        self.abandon();
        reason
    }

    /// Gives everything back. What cannot be given back now comes back by the next sweep of anybody.
    pub fn abandon(mut self) {
        let owner = self.owner.id;
        if let Err(error) = self.transact(&mut [], |tx| tx.remove_owner(owner).map(drop)) {
            tracing::warn!(%error, "could not give messages back: others will take them when they notice");
        }
    }

    /// One turn; `false` when it is told to stop.
    fn step(&mut self) -> Result<bool, Error> {
        let (jobs, go_on) = self.collect();
        self.work(jobs)?;
        if go_on && self.sweep_is_due() {
            self.sweep()?;
        }
        Ok(go_on)
    }

    /// Takes the jobs that wait; sleeps when there is nothing to do at all.
    fn collect(&mut self) -> (Vec<Box<dyn Job>>, bool) {
        let mut jobs = Vec::new();
        let mut lying = false;
        while jobs.len() < BATCH {
            match self.orders.try_recv() {
                Ok(Order::Job(job)) => jobs.push(job),
                Ok(Order::Open { id, session }) => {
                    self.sessions.insert(id, session);
                    self.sweep_within(SWEEP);
                }
                Ok(Order::Stop) | Err(TryRecvError::Disconnected) => return (jobs, false),
                Err(TryRecvError::Empty) => {
                    if !jobs.is_empty() || self.look || self.sweep_is_due() {
                        break;
                    }
                    if !std::mem::replace(&mut lying, true) {
                        self.ear.lie_down();
                        continue;
                    }
                    lying = false;
                    let hungry = self.sessions.are_hungry();
                    let timeout = self.next_sweep.map(|at| at.saturating_duration_since(Instant::now()));
                    self.ear.sleep(hungry, timeout);
                    self.notice_changes();
                }
            }
        }
        if !jobs.is_empty() {
            self.ear.busy();
        }
        (jobs, true)
    }

    fn sweep_is_due(&self) -> bool {
        self.next_sweep.is_some_and(|at| at <= Instant::now())
    }

    fn sweep_within(&mut self, wait: Duration) {
        let at = Instant::now() + wait.min(SWEEP);
        self.next_sweep = Some(self.next_sweep.map_or(at, |next| next.min(at)));
    }

    /// Whether others have committed something since.
    fn notice_changes(&mut self) {
        // In this order: a change after the first line announces itself again.
        self.ear.catch_up();
        let version = self.db.prepare_cached("PRAGMA data_version");
        let version = version.and_then(|mut statement| statement.query_row([], |row| row.get(0)));
        // A file that cannot be read is told by whatever is tried next.
        let version = version.unwrap_or(-1);
        if version != self.data_version {
            self.data_version = version;
            self.look = true;
            self.ear.busy();
        }
    }

    /// Runs jobs, and leases what there is room for.
    fn work(&mut self, mut jobs: Vec<Box<dyn Job>>) -> Result<(), Error> {
        if jobs.is_empty() && !(self.look && self.anything_to_do()?) {
            self.look = false;
            return Ok(());
        }
        let look = std::mem::take(&mut self.look);
        let lease = |tx: &mut Tx<'_>| if look { tx.lease() } else { Ok(()) };
        match self.transact(&mut jobs, lease) {
            Ok(()) => finish(jobs, &Ok(())),
            Err(error) if jobs.is_empty() => self.endure(&error)?,
            Err(error) if is_busy(&error) => {
                finish(jobs, &Err(storage(&error)));
                self.look = look;
            }
            Err(_) => {
                for job in jobs {
                    let mut alone = [job];
                    let result = self.transact(&mut alone, |_| Ok(())).map_err(|error| storage(&error));
                    finish(alone, &result);
                }
                self.look = look;
            }
        }
        Ok(())
    }

    /// What fails without anybody waiting for it ends the connection, unless the file is only locked.
    fn endure(&mut self, error: &rusqlite::Error) -> Result<(), Error> {
        self.look = true;
        if is_busy(error) { Ok(()) } else { Err(storage(error)) }
    }

    /// One transaction, with the effects of its commit.
    fn transact(
        &mut self,
        jobs: &mut [Box<dyn Job>],
        then: impl FnOnce(&mut Tx<'_>) -> Result<(), Fault>,
    ) -> rusqlite::Result<()> {
        self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut tx = Tx::new(&self.db, &self.path, self.owner.id, &self.sessions);
        let result =
            jobs.iter_mut().try_for_each(|job| job.run(&mut tx)).and_then(|()| match then(&mut tx) {
                Err(Fault::Database(error)) => Err(error),
                Err(Fault::Refused(_)) | Ok(()) => Ok(()),
            });
        let effects = tx.effects;
        let result = result.and_then(|()| self.db.prepare_cached("COMMIT")?.execute([]));
        if let Err(error) = result {
            // It may have been rolled back already, as after a full disk.
            if !self.db.is_autocommit() {
                self.db.execute_batch("ROLLBACK")?;
            }
            return Err(error);
        }
        for effect in effects {
            self.apply(effect);
        }
        Ok(())
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Ready => self.look = true,
            Effect::Due(at) => {
                let wait = u64::try_from(at.saturating_sub(store::now())).unwrap_or(0);
                self.sweep_within(Duration::from_millis(wait));
            }
            Effect::Subscribed { session, source } => {
                self.with_session(session, |state| state.subscribed(source))
            }
            Effect::Unsubscribed { session, queue_id } => {
                self.with_session(session, |state| state.unsubscribed(queue_id));
            }
            Effect::Cancelled { session, queue_id } => {
                self.with_session(session, |state| state.cancelled(queue_id));
            }
            Effect::Prefetch { session, prefetch } => {
                self.with_session(session, |state| state.prefetch = prefetch);
            }
            Effect::Settled { session, tags } => self.with_session(session, |state| state.settled(&tags)),
            Effect::Leased { session, queue, leases } => {
                if let Some(state) = self.sessions.get_mut(session) {
                    state.deliver(&queue, leases);
                }
            }
            Effect::Closed { session } => self.sessions.remove(session),
        }
    }

    /// After a change of a session there may be room in it.
    fn with_session(&mut self, id: u64, change: impl FnOnce(&mut crate::session::Session)) {
        if let Some(session) = self.sessions.get_mut(id) {
            change(session);
            self.look = true;
        }
    }

    fn anything_to_do(&self) -> Result<bool, Error> {
        let tx = Tx::new(&self.db, &self.path, self.owner.id, &self.sessions);
        match tx.anything_to_do() {
            Ok(answer) => Ok(answer),
            Err(Fault::Database(error)) if is_busy(&error) => Ok(true),
            Err(Fault::Database(error)) => Err(storage(&error)),
            Err(Fault::Refused(error)) => Err(error),
        }
    }

    /// Looks for dead owners, and for what expired; writes only when there is something.
    fn sweep(&mut self) -> Result<(), Error> {
        self.next_sweep = None;
        if !self.sessions.is_empty() {
            self.sweep_within(SWEEP);
        }
        self.notice_changes();
        let tx = Tx::new(&self.db, &self.path, self.owner.id, &self.sessions);
        let state = tx.check_registered().and_then(|()| Ok((tx.dead_owners()?, tx.next_expiry()?)));
        let (dead, expiry) = match state {
            Ok(state) => state,
            Err(Fault::Database(error)) if is_busy(&error) => return Ok(()),
            Err(Fault::Database(error)) => return Err(storage(&error)),
            Err(Fault::Refused(error)) => return Err(error),
        };
        if dead.is_empty() && expiry.is_none_or(|at| at > store::now()) {
            if let Some(at) = expiry {
                self.apply(Effect::Due(at));
            }
            return Ok(());
        }
        let result = self.transact(&mut [], |tx| {
            tx.reap()?;
            tx.expire_messages()?;
            tx.expire_queues()
        });
        result.or_else(|error| self.endure(&error))
    }
}

fn finish(jobs: impl IntoIterator<Item = Box<dyn Job>>, result: &Result<(), Error>) {
    for job in jobs {
        job.finish(result.clone());
    }
}
