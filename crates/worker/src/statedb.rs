//! What outlives a restart (`--statedb`): revokes, the logical clock, and how often each task ran
//! (`celery/worker/state.py`, `Persistent`, which keeps the first two).

mod file;
mod foreign;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tokio::sync::oneshot;

use self::file::{File, Saved};
use crate::consumer::Consumer;
use crate::error::WorkerError;
use crate::wall::now;

/// How soon what changed is in the file.
const INTERVAL: Duration = Duration::from_secs(1);

/// A thread that saves what changes, and the rest at its end.
pub(crate) struct StateDb {
    end: Sender<()>,
    ended: oneshot::Receiver<()>,
}

impl StateDb {
    /// Opens the file that the settings name, if they do, and takes over what it holds.
    ///
    /// # Errors
    /// [`WorkerError::StateDb`], when it is no file of ours, is in use, or cannot be made.
    pub(crate) async fn open(consumer: &Arc<Consumer>) -> Result<Option<Self>, WorkerError> {
        let Some(path) = consumer.settings.statedb.clone() else { return Ok(None) };
        let wrong = |reason: String| WorkerError::StateDb { path: path.clone(), reason };
        let (end, is_over) = channel();
        let (ending, ended) = oneshot::channel();
        let (keeper, file) = (consumer.clone(), path.clone());
        let opening = tokio::task::spawn_blocking(move || {
            let mut file = File::open(&file)?;
            let saved = load(&keeper, &mut file)?;
            let keeping = move || {
                keep(&keeper, file, saved, &is_over);
                let _ = ending.send(());
            };
            let thread = std::thread::Builder::new().name("celeriac-statedb".to_owned());
            thread.spawn(keeping).map_err(|error| error.to_string())
        });
        match opening.await {
            Ok(Ok(_)) => Ok(Some(StateDb { end, ended })),
            Ok(Err(reason)) => Err(wrong(reason)),
            Err(panic) => Err(wrong(panic.to_string())),
        }
    }

    /// Saves for the last time.
    pub(crate) async fn close(self) {
        drop(self.end);
        let _ = self.ended.await;
    }
}

/// Takes over what the file holds.
fn load(consumer: &Consumer, file: &mut File) -> Result<Saved, String> {
    let loaded = file.load().map_err(|error| error.to_string())?;
    // As Celery: a restart is an event as well.
    consumer.clock.adjust(loaded.clock);
    let (now, expires) = (now(), consumer.settings.revoke_expires.as_secs_f64());
    if !loaded.ids.is_empty() {
        consumer.revokes.change_ids(|revoked| {
            for (id, stamp) in &loaded.ids {
                // A clock that was set back must not keep a revoke for ever.
                let stamp = stamp.min(now);
                if stamp + expires > now {
                    revoked.add(id, stamp);
                }
            }
        });
    }
    if !loaded.stamps.is_empty() {
        consumer.revokes.add_stamps(loaded.stamps);
    }
    let mut total = 0_u64;
    for (name, count) in loaded.runs {
        if let Some(task) = consumer.tasks.get(&name) {
            task.runs.fetch_add(count, Ordering::Relaxed);
            total = total.saturating_add(count);
        }
    }
    consumer.counters.started.add(total);
    Ok(Saved::default())
}

fn keep(consumer: &Consumer, mut file: File, mut saved: Saved, is_over: &Receiver<()>) {
    let mut failed = false;
    loop {
        let waited = is_over.recv_timeout(INTERVAL);
        match file.save(consumer, &mut saved) {
            Ok(()) => failed = false,
            // It is tried again, and told once.
            Err(error) if !std::mem::replace(&mut failed, true) => {
                tracing::error!("the statedb cannot be written: {error}");
            }
            Err(_) => {}
        }
        if waited != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}
