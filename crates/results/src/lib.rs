//! Where results are kept, and how a caller waits for them.
//!
//! [`ResultStore`] is the trait; each module is one store, and [`open`] finds the one of a URL. All of them write
//! what Celery writes, so that a Python `AsyncResult` on the other side finds it. `conformance` (a feature) is the
//! suite that every store passes.

mod backoff;
mod chord;
#[cfg(feature = "conformance")]
pub mod conformance;
mod disabled;
mod error;
mod memory;
mod open;
#[cfg(feature = "redis")]
mod redis;
mod retry;
mod rpc;
mod saved;
mod settings;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
mod watchers;

pub use chord::{ChordHeader, ChordPart};
pub use disabled::DisabledStore;
pub use error::Error;
pub use memory::MemoryStore;
pub use open::open;
#[cfg(feature = "redis")]
pub use redis::RedisStore;
pub use retry::Retry;
pub use rpc::RpcStore;
pub use saved::Saved;
pub use settings::Settings;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;
pub use store::{ReplyTo, ResultStore};
