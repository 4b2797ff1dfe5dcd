//! AMQP 0-9-1, as RabbitMQ speaks it, by the `amqprs` client.
//!
//! All connections of a process are served by one thread of their own (`io`): heartbeats are answered whatever
//! the tasks do, and a delivery costs no hop between threads until it is complete. A program that runs its tasks
//! elsewhere does better with [`serve_here`]. A connection has one channel
//! that publishes, with confirms, opened when first needed, and one for each session.

mod connection;
mod convert;
mod io;
mod publisher;
mod session;
#[cfg(feature = "tls")]
mod tls;
mod transport;

pub use io::{STACK, serve_here};
pub use transport::AmqpTransport;
