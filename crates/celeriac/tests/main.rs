//! What a program sees of celeriac.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod client;
mod cluster;
mod extending;
mod hosted;
mod python;
mod redis;
mod servers;
mod tasks;
mod ui;
