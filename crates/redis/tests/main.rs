//! The Redis transport against the suite of all transports.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod conformance;
