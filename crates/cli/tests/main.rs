//! The command lines, run as a user runs them.

mod client;
mod demo;
mod hello;
mod options;
mod signals;
mod status;
mod worker;
