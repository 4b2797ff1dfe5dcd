//! Free TCP ports.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

/// Below Linux's ephemeral range (32768 and up), so that no client's own port takes a stopped server's.
const FIRST: u64 = 10_000;
const COUNT: u64 = 22_000;

/// A port of 127.0.0.1 that nobody listens on, picked at random.
pub fn free_port() -> u16 {
    (0..1000)
        .map(|_| FIRST + RandomState::new().hash_one(0) % COUNT)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("no free port")
}
