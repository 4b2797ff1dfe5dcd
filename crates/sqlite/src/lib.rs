//! The embedded broker of celeriac: one SQLite file, no server.
//!
//! Queues are kombu's SQLAlchemy tables, so a Python program reaches them with `sqla+sqlite:///file`. Exchanges,
//! bindings, priorities, expiry and leases are in tables of our own (`schema`). Each connection has one database
//! thread (`engine`) that puts everything that waits into one transaction (`store` has the SQL), and sleeps until
//! somebody asks or the file changes (`wake`).
//!
//! A message is leased to its owner, a connection; the owner holds a lock on a file beside the database, which ends
//! with its process, and whoever sees that takes the leases back (`owner`). So a killed worker's messages come
//! back within about a second, and a slow worker's never do while it lives.
//!
//! Durability: commits survive the death of every process. A power failure may lose the last ones, but never
//! corrupts the file; `?synchronous=full` waits for the disk at each commit. The file must be on a local disk, as
//! SQLite's write-ahead log demands.

mod connection;
mod engine;
mod fault;
mod owner;
mod schema;
mod session;
mod store;
mod transport;
mod wake;

pub use transport::{SqliteTransport, Synchronous};
