//! Where Redis is: what the Redis transport and the Redis result store have in common.
//!
//! A URL, or several of one place, are read into [`Urls`], those into a [`Target`]. A target is a server, or sentinels
//! that know who the master is (`sentinel`), or nodes of a cluster that know who has a slot (`cluster`): they are asked
//! each time that somebody connects ([`Target::find`]). The last file says what an error means ([`is_lost`] and others).

mod access;
mod cluster;
mod failure;
mod sentinel;
mod target;
mod tls;
mod urls;

pub use failure::{code, is_lost, is_misplaced, is_refused};
pub use target::{Dialect, Target};
pub use urls::{Urls, serves};
