//! One binary for all integration tests of the crate.

// Helpers unwrap too, and the tests, unlike the crate, start Python and read the environment.
#![allow(clippy::unwrap_used, clippy::disallowed_types, clippy::disallowed_methods)]

mod bridge;
mod clock;
mod codecs;
mod control;
mod events;
mod hostile;
mod python;
mod repr;
mod revoked;
mod round_trips;
mod smoke;
mod values;
mod vectors;
