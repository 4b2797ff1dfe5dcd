//! Runs the tasks of an unchanged Python Celery app, in Python processes that this crate starts and watches.
//!
//! [`host`] is those processes as Rust sees them: a zygote that has imported the app, the children that it forks, and
//! the service that does what only Python can. `docs/host.md` is what they and we say to each other. [`pool`] runs the
//! worker's requests in them. [`report`] is what the app turned out to be, and the worker's settings from it. [`signals`] are
//! those that Celery's main process sends.

pub mod host;
pub mod pool;
pub mod report;
pub mod signals;
