//! Events: what workers and clients tell as it happens (`celery/events/`).
//!
//! [`App::events`](crate::App::events) gives a [`Receiver`]:
//!
//! ```no_run
//! # use celeriac::events::Received;
//! # async fn example(app: celeriac::App) {
//! let mut receiver = app.events().routing_key("task.#");
//! loop {
//!     match receiver.next().await {
//!         Received::Connected => println!("listening"),
//!         Received::Event { event, .. } => println!("{} {}", event.hostname, event.kind),
//!         Received::Lost(error) => eprintln!("{error}; trying again"),
//!     }
//! }
//! # }
//! ```

mod receiver;
#[cfg(test)]
mod tests;

pub use celeriac_protocol::event::Event;

pub use self::receiver::{Received, Receiver};
