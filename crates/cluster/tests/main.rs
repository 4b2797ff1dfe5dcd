//! One binary for all integration tests of the crate.

// Helpers unwrap too, and the tests, unlike the crate, start Python and read the environment.
#![allow(clippy::unwrap_used, clippy::disallowed_types, clippy::disallowed_methods)]

mod smoke;
mod state;
mod watch;
