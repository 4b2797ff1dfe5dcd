//! Descriptors that the runtime watches.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches a descriptor; it must not block.
#[expect(unsafe_code, reason = "the runtime wants to be sure that the descriptor stays the same")]
pub fn watched(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is one descriptor from its beginning to its end.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}
