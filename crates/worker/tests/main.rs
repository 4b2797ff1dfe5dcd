//! The worker on the in-memory transport.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod ahead;
mod apart;
mod bad_input;
mod chords;
mod control;
mod events;
mod faults;
mod gossip;
mod hosted;
mod limits;
mod log;
mod mingle;
mod outcomes;
mod pool;
mod queues;
mod shim;
mod shutdown;
mod stalled;
mod statedb;
mod steps;
mod stores;
mod support;
mod timing;
