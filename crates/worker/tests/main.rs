//! The worker on the in-memory transport.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod bad_input;
mod control;
mod faults;
mod outcomes;
mod shim;
mod shutdown;
mod support;
mod timing;
