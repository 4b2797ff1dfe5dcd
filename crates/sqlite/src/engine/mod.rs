//! The database thread of a connection, and the handle by which everybody else asks things of it.
//!
//! ```text
//! collect what waits -> BEGIN IMMEDIATE -> each job, then leases for sessions with room -> COMMIT
//!   -> effects in memory and deliveries -> replies -> again, or sleep
//! ```
//! A transaction that fails is rolled back and its jobs are run again one by one, so that one that cannot be done
//! does not spoil its neighbours.

mod handle;
mod job;
mod thread;

pub(crate) use handle::Handle;
