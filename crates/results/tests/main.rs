//! Every store against the suite, against real servers, and against Python.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod answers;
mod backlog;
mod faults;
mod memory;
mod places;
mod proxy;
mod python;
mod redis;
mod rpc;
mod runtimes;
mod sqlite;
mod together;
