//! The SQLite transport against the suite of all transports, Python's kombu, killed processes and broken files.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod conformance;
mod files;
mod idle;
mod load;
mod processes;
mod python;
mod support;
