//! The worker on the in-memory transport.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod bad_input;
mod control;
mod events;
mod faults;
mod limits;
mod outcomes;
mod pool;
mod queues;
mod shim;
mod shutdown;
mod statedb;
mod support;
mod timing;
