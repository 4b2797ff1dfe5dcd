//! What the events of a cluster tell about its workers and tasks (`celery/events/state.py`).

mod worker;

pub use worker::{Drift, Worker};
