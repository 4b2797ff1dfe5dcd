//! One binary for all integration tests of the crate.

mod bridge;
mod codecs;
mod hostile;
mod python;
mod repr;
mod round_trips;
mod smoke;
mod values;
mod vectors;
