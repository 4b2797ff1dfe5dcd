//! The worker on the in-memory transport.

mod bad_input;
mod faults;
mod outcomes;
mod shutdown;
mod support;
mod timing;
