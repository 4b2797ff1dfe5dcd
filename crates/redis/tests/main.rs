//! The Redis transport against the suite of all transports, Python's kombu, killed processes and a Redis that refuses.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod conformance;
mod crashes;
mod faults;
mod leases;
mod places;
mod python;
mod queues;
mod refusals;
mod secure;
mod sessions;
mod support;
