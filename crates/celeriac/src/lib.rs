//! Celery for Rust programs: tasks, a client and a worker that speak with Python's.
//!
//! ```no_run
//! use celeriac::App;
//!
//! #[celeriac::task(name = "tasks.add")]
//! async fn add(x: i64, y: i64) -> i64 {
//!     x + y
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let app = App::builder("hello")
//!     .broker("amqp://guest:guest@localhost//")
//!     .result_backend("redis://localhost/0")
//!     .task(add)
//!     .build()?;
//!
//! // A client sends the task and waits for what it returns; any worker may run it, a Python one too.
//! let sum: i64 = app.send(add::new(1, 2)).await?.get().await?;
//!
//! // A worker runs the tasks of this program, whoever sends them, until it is told to end.
//! let worker = app.worker();
//! let handle = worker.shutdown_handle();
//! # handle.request(celeriac::Shutdown::Warm);
//! worker.run().await?; // elsewhere: `handle.request(Shutdown::Warm)`
//! # Ok(())
//! # }
//! ```
//!
//! [`task`] makes a function a task, [`TaskCall`] is a call with its options, [`App`] sends calls and makes
//! workers, [`AsyncResult`] waits, [`Config`] has Celery's settings. A task is told of its call by [`Task`] and
//! fails with a [`TaskError`]. [`control`] asks workers and tells them what to do, [`events`] listens to them,
//! [`cluster`] asks who is there, [`state`] makes a picture of a cluster from what they tell, [`worker`] has what a
//! program may add to its own.
//!
//! # Features
//! All are on by default. Brokers: `amqp`, `redis`, `sqlite` (and memory, always). Result stores: `redis-results`,
//! `sqlite` (and `rpc://`, always). `tls` for both, `statedb` to keep revokes over restarts, `cli` for the command line.

mod app;
mod async_result;
mod binding;
mod call;
#[cfg(feature = "cli")]
pub mod cli;
pub mod cluster;
mod config;
pub mod connect;
pub mod control;
mod error;
pub mod events;
mod group_result;
mod mailbox;
mod origin;
mod outcome;
pub mod worker;

pub use app::{App, AppBuilder};
pub use async_result::AsyncResult;
pub use call::TaskCall;
pub use celeriac_broker::{Queue, QueueKind};
pub use celeriac_cluster::state;
pub use celeriac_macros::task;
pub use celeriac_protocol::codec::{Compression, Serializer};
pub use celeriac_protocol::result::Exception;
pub use celeriac_protocol::types;
pub use celeriac_protocol::{Map, Signature, State, TaskMeta, Value, ValueError, from_value, to_value};
pub use celeriac_worker::{
    ArgumentError, Call, CallOptions, Expires, Failure, GossipMode, NativeTask, Rate, RateError, Registry,
    RetryOptions, Run, SendError, Settings, Shutdown, ShutdownHandle, Task, TaskError, TaskOptions, Worker,
    WorkerError,
};
pub use config::{Config, PublishRetryPolicy};
pub use error::{ConfigError, ControlError, ResultError};
pub use group_result::GroupResult;

/// What the code of [`task`] uses.
#[doc(hidden)]
pub mod __private {
    pub use crate::binding::{Parameter, Signature, task_name};
    pub use crate::outcome::{Fallible, value};
}

/// Its code is compiled by the tests.
#[cfg(all(doctest, feature = "cli"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
