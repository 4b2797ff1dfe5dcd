//! The worker: it takes task messages from a broker, runs them, and tells what became of them.
//!
//! A [`Worker`] is a blueprint of steps (connection, events, mingle, gossip, heart, control, tasks, evloop) that start
//! in order, stop in reverse, and are started anew after a loss. A delivery becomes a request, passes the checks of its message
//! (expired? not yet due?), and goes to the executor; what comes of it is stored, followed up and settled in
//! `trace.rs`. The same [`Producer`] sends for the worker and for clients.
//!
//! This crate knows no concrete broker, traps no signal and prints nothing: it is given a transport and told to
//! end by a [`ShutdownHandle`].

mod acks;
mod attempt;
mod backend;
mod backoff;
mod blueprint;
mod call;
mod chatter;
mod chord;
mod connection;
mod consumer;
pub mod control;
mod counters;
mod error;
mod events;
mod evloop;
mod executor;
mod followup;
mod gossip;
mod heart;
mod launch;
mod limits;
mod listener;
mod mingle;
mod observer;
mod pidbox;
mod producer;
mod queue;
mod queues;
mod request;
mod requests;
mod revokes;
mod schedule;
mod sent;
mod served;
mod settings;
mod shutdown;
#[cfg(feature = "statedb")]
mod statedb;
#[cfg(not(feature = "statedb"))]
#[path = "statedb/absent.rs"]
mod statedb;
pub mod task;
mod tasks;
mod trace;
pub mod wall;
mod worker;

pub use backend::Backend;
pub use backoff::Backoff;
pub use blueprint::{GraphError, Include, Step};
pub use call::{Call, CallOptions, Expires};
pub use chatter::Chatter;
pub use consumer::Consumer;
pub use counters::Counters;
pub use error::{SendError, WorkerError};
pub use events::Dispatcher;
pub use executor::{Autoscale, Executor, Hosted, Parts, PoolStats};
pub use gossip::Cluster;
pub use observer::Observer;
pub use pidbox::{EventSettings, Pidbox};
pub use producer::{Producer, ProducerSettings};
pub use queues::{Queues, TaskQueue};
pub use request::{Facts, Origin, Policy, Progress, Request, Stage};
pub use revokes::{Revocation, Revokes};
pub use served::Served;
pub use settings::{GossipMode, Settings};
pub use shutdown::{Shutdown, ShutdownHandle};
pub use task::{
    ArgumentError, Failure, NativeTask, Rate, RateError, Registry, RetryOptions, Run, Task, TaskError,
    TaskOptions,
};
pub use worker::Worker;
