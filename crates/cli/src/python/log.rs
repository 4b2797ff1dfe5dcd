//! The worker's lines by the app's own logging, where it has a say in that (`python/celeriac/logs.py`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use celeriac::cli::parts::{Level, Log, text};
use celeriac_python::pool::Home;
use celeriac_worker::wall;
use tokio::sync::{mpsc, oneshot};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

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

/// Gives events to the app, one after the other.
pub struct Relay {
    lines: mpsc::Sender<Item>,
    level: Level,
    missed: Arc<AtomicU64>,
}

/// Knows when all lines have been logged.
pub struct Relayed(mpsc::Sender<Item>);

enum Item {
    Line { level: Level, logger: &'static str, text: String, created: f64 },
    Settled(oneshot::Sender<()>),
}

impl Relay {
    /// For lines of this level and graver; those that the app does not get are written by `fallback`. Needs a runtime.
    pub fn start(level: Level, home: Arc<Home>, fallback: Log) -> (Self, Relayed) {
        let (lines, items) = mpsc::channel(WAITING);
        let missed = Arc::<AtomicU64>::default();
        tokio::spawn(relay(items, home, fallback, missed.clone()));
        (Relay { lines: lines.clone(), level, missed }, Relayed(lines))
    }
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

async fn relay(mut items: mpsc::Receiver<Item>, home: Arc<Home>, fallback: Log, missed: Arc<AtomicU64>) {
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

impl Subscriber for Relay {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !metadata.is_span() && *metadata.level() <= tracing::Level::DEBUG && Level::of(metadata) >= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level.filter())
    }

    fn event(&self, event: &Event<'_>) {
        let (level, logger) = (Level::of(event.metadata()), logger(event.metadata().target()));
        let line = Item::Line { level, logger, text: text(event), created: wall::now() };
        if self.lines.try_send(line).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
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
