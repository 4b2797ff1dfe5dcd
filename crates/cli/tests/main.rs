//! The command lines, run as a user runs them.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod client;
mod demo;
mod hello;
mod options;
mod pools;
mod python;
mod python_app;
mod redis;
mod remote;
mod signals;
mod status;
mod worker;
