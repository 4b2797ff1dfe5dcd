//! The Redis transport of celeriac, with kombu's keys and messages, so that Python and celeriac share one Redis.
//!
//! Queues are kombu's lists, one for each step of priority; bindings, leases and fanout are where kombu has them
//! (`keys`). What kombu does in several commands is one script each here (`lua`): a process that dies between any two
//! instructions loses nothing. A connection is one socket (`client`) that all its sessions share (`hub`); what Redis
//! sends by itself, messages of fanout exchanges and the news that a list changed, comes by it too (`router`). All
//! connections of a process are served by one thread of their own (`io`). A program that runs its tasks elsewhere does
//! better with [`serve_here`].
//!
//! A session takes messages as leases (`session`), which it renews. Who takes leases shows a sign of life every other
//! second (`pulse`); whoever misses it gives the dead one's messages back (`reaper`), and what dead Python workers left,
//! when its time is over.

mod client;
mod connection;
mod declare;
pub mod doctor;
mod error;
mod hub;
mod io;
mod keys;
mod lease;
mod live;
mod options;
mod parcel;
mod pulse;
mod reaper;
mod restore;
mod router;
mod scripts;
mod session;
mod signals;
mod transport;
mod twins;

pub use io::serve_here;
pub use options::{Options, Order};
pub use transport::RedisTransport;
