//! The worker's lines by the app's own logging, where it has a say in that (`python/celeriac/logs.py`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use celeriac::cli::parts::{Level, Lines, Log, text};
use celeriac_python::pool::Home;
use celeriac_worker::wall;
use tokio::sync::{mpsc, oneshot};
use tracing::{Event, Subscriber};

/// How many lines wait for the app; those for which there is no room are counted.
const WAITING: usize = 10_000;

/// Celery's loggers, by where a line comes from; the first that fits.
const LOGGERS: [(&str, &str); 9] = [
    ("celeriac_worker::evloop", "celery.apps.worker"),
    ("celeriac_worker::tasks", "celery.worker.strategy"),
    ("celeriac_worker::revokes", "celery.worker.request"),
    ("celeriac_worker::mingle", "celery.worker.consumer.mingle"),
    ("celeriac_worker::gossip", "celery.worker.consumer.gossip"),
    ("celeriac_worker::control", "celery.worker.control"),
    ("celeriac_worker::connection", "celery.worker.consumer.connection"),
    ("celeriac_worker", "celery.worker.consumer.consumer"),
    ("celeriac_python::pool", "celery.worker.request"),
];

/// Knows when all lines have been logged.
pub struct Relayed(mpsc::Sender<Item>);

enum Item {
    Line { level: Level, logger: &'static str, text: String, created: f64 },
    Settled(oneshot::Sender<()>),
}

/// Gives lines of this level and graver to the app, one after the other; those that it does not get are written by
/// `fallback`. Needs a runtime.
pub fn relay(level: Level, home: Arc<Home>, fallback: Log) -> (impl Subscriber + Send + Sync, Relayed) {
    let (lines, items) = mpsc::channel(WAITING);
    let missed = Arc::<AtomicU64>::default();
    tokio::spawn(give(items, home, fallback, missed.clone()));
    let relayed = Relayed(lines.clone());
    let write = move |event: &Event<'_>| {
        let (level, logger) = (Level::of(event.metadata()), logger(event.metadata().target()));
        let line = Item::Line { level, logger, text: text(event), created: wall::now() };
        if lines.try_send(line).is_err() {
            missed.fetch_add(1, Ordering::Relaxed);
        }
    };
    (Lines::new(level, write), relayed)
}

impl Relayed {
    /// Returns when every line until now has been logged.
    pub async fn settled(&self) {
        let (settled, all) = oneshot::channel();
        // Neither fails while the runtime lives.
        let _ = self.0.send(Item::Settled(settled)).await;
        let _ = all.await;
    }
}

async fn give(mut items: mpsc::Receiver<Item>, home: Arc<Home>, fallback: Log, missed: Arc<AtomicU64>) {
    while let Some(item) = items.recv().await {
        match item {
            Item::Line { level, logger, text, created } => {
                let number = u8::try_from(level.number()).unwrap_or_default();
                if home.log(number, logger, &text, created).await.is_err() {
                    fallback.write(level, &text);
                }
            }
            Item::Settled(settled) => {
                let _ = home.settled().await; // without a service nothing is on its way
                let _ = settled.send(());
            }
        }
        let missed = missed.swap(0, Ordering::Relaxed);
        if missed > 0 {
            fallback.write(Level::Warning, &format!("The app's logging is slow: {missed} lines are missing"));
        }
    }
}

fn logger(target: &str) -> &'static str {
    let found = LOGGERS.iter().find(|(prefix, _)| target.starts_with(prefix));
    found.map_or("celery.worker", |(_, logger)| logger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_loggers_of_celery() {
        for (target, name) in [
            ("celeriac_worker::tasks::receive", "celery.worker.strategy"),
            ("celeriac_worker::worker", "celery.worker.consumer.consumer"),
            ("celeriac_python::pool::settle", "celery.worker.request"),
            ("celeriac::critical", "celery.worker"),
        ] {
            assert_eq!(logger(target), name, "{target}");
        }
    }
}
