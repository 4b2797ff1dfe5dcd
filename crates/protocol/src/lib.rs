//! Celery's wire protocol: what is in a message, and nothing about how it travels.
//!
//! A [`Message`] is what a broker carries: headers, properties and an opaque body. A [`TaskMessage`] is a
//! `Message` read as a task of protocol 2 or 1; its headers are read at once, its [`Body`] only when asked.
//! [`TaskMeta`] is what a result store keeps. [`Value`] is the data in all of them, and [`to_value`] and
//! [`from_value`] carry it to and from Rust types. [`control::Request`] and [`Event`] are what workers and
//! monitors say to each other, [`LamportClock`] and [`Revoked`] what they agree on by it.
//!
//! This crate does no I/O, starts no task and never reads a clock: callers pass the time in.

pub mod clock;
pub mod codec;
pub mod control;
mod de;
pub mod event;
mod float;
mod map;
mod message;
pub mod repr;
pub mod result;
pub mod revoked;
mod ser;
mod signature;
mod task;
pub mod time;
pub mod types;
mod value;

pub use clock::LamportClock;
pub use de::from_value;
pub use event::{Event, EventError};
pub use map::Map;
pub use message::{Message, Properties};
pub use result::{State, TaskMeta};
pub use revoked::{REVOKE_EXPIRES, REVOKES_MAX, Revoked};
pub use ser::to_value;
pub use signature::Signature;
pub use task::{Body, Embed, EncodedBody, TaskError, TaskHeaders, TaskMessage};
pub use value::{Value, ValueError};
