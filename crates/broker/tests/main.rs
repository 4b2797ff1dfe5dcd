//! What comes from outside.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod smoke;
