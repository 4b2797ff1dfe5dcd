//! Every store against the suite, against real servers, and against Python.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod backlog;
mod faults;
mod memory;
mod places;
mod python;
mod redis;
mod rpc;
mod sqlite;
mod together;
