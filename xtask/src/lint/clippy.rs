//! The lists that keep the clock, threads, files and sockets of `std` out of the cores.

use std::fs;
use std::path::Path;

use super::arrows::PURE;

/// What each core's `clippy.toml` must name.
const DISALLOWED: [&str; 8] = [
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "std::thread::spawn",
    "std::thread::sleep",
    "std::fs::File",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
];

/// A line for each core whose list is missing or short.
pub fn check(root: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    for core in PURE.map(|name| root.join("crates").join(name)).iter().filter(|core| core.exists()) {
        let list = fs::read_to_string(core.join("clippy.toml")).unwrap_or_default();
        let missing: Vec<_> =
            DISALLOWED.into_iter().filter(|path| !list.contains(&format!("\"{path}\""))).collect();
        if !missing.is_empty() {
            wrong.push(format!("{}/clippy.toml does not disallow {}", core.display(), missing.join(", ")));
        }
    }
    wrong
}
