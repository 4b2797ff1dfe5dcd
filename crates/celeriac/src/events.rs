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
//!         Received::Event { event, .. } => println!("{} {}", event.hostname, event.kind),
//!         Received::Lost(error) => eprintln!("{error}; trying again"),
//!     }
//! }
//! # }
//! ```

mod receiver;
mod sent;
#[cfg(test)]
mod tests;

use celeriac_broker::{Exchange, ExchangeKind, Topology};
pub use celeriac_protocol::event::Event;
use celeriac_worker::EventSettings;
use chrono::Local;

pub use self::receiver::{Received, Receiver};
pub(crate) use self::sent::SentEvent;

/// The exchange of events.
fn topology(settings: &EventSettings) -> Topology {
    let exchange = Exchange::new(&settings.exchange, ExchangeKind::Topic);
    Topology { exchanges: vec![exchange], ..Topology::default() }
}

/// Our offset from UTC in whole hours, west of Greenwich positive and rounded down (`celery/utils/time.py`,
/// `utcoffset`).
fn utcoffset() -> i32 {
    Local::now().offset().utc_minus_local().div_euclid(60 * 60)
}
