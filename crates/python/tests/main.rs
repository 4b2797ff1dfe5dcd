//! Real Python processes with real Celery.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod host;
mod marshal;
mod pool;
mod report;
mod smoke;
