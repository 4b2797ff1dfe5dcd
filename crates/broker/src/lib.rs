//! What celeriac asks of a message broker, whichever it is.
//!
//! A [`Transport`] knows how to reach one broker; its [`Connection`]s declare a [`Topology`], publish, and open
//! [`Session`]s that consume. What a broker cannot do is told by its [`Capabilities`], never found out by
//! surprise. No broker library's type appears here.
//!
//! [`memory`] is the transport for unit tests and single processes; `conformance` (a feature) holds the suite that
//! every transport passes; [`envelope`] is kombu's JSON form of a message, for brokers that have no headers.

#[cfg(any(test, feature = "conformance"))]
#[allow(clippy::unwrap_used, reason = "a property that fails panics")]
pub mod conformance;
mod death;
pub mod envelope;
mod error;
mod io;
mod line;
pub mod memory;
mod routing;
mod topology;
mod transport;
pub mod url;

pub use death::{Death, DeathReason};
pub use envelope::Envelope;
pub use error::Error;
pub use io::Io;
pub use line::Line;
pub use memory::MemoryTransport;
pub use topology::{Binding, Exchange, ExchangeKind, Queue, QueueKind, Topology};
pub use transport::{
    Address, Capabilities, Connection, Delivery, Event, Inbox, Offset, Prefetch, Published, Session,
    Settlement, Subscription, Transport,
};
pub use url::BrokerUrl;
