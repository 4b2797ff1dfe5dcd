//! Where results are kept, and how a caller waits for them.
//!
//! [`ResultStore`] is the trait; each module is one store. All of them write what Celery writes, so that a Python
//! `AsyncResult` on the other side finds it. `conformance` (a feature) is the suite that every store passes.

mod error;
mod store;

pub use error::Error;
pub use store::{ReplyTo, ResultStore};
