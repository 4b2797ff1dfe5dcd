//! A socket of packets, of which we keep both ends.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    recv, sendmsg, socketpair,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::host::ready::watched;

/// What Python reads at once.
pub const PACKET: usize = 64 << 10;

/// Descriptors with a packet; Linux would carry 253, and each takes one here and there.
pub const RIGHTS: usize = 32;

/// Our end, and the child's.
#[derive(Debug)]
pub struct Packets {
    ours: AsyncFd<OwnedFd>,
    theirs: OwnedFd,
    inbox: Mutex<Vec<u8>>,
}

impl Packets {
    pub fn new() -> io::Result<Self> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        // Not for room to write: the kernel would wake us for each packet that the child takes.
        let ours = watched(ours, Interest::READABLE)?;
        Ok(Packets { ours, theirs, inbox: Mutex::default() })
    }

    /// The child's end.
    pub fn theirs(&self) -> BorrowedFd<'_> {
        self.theirs.as_fd()
    }

    /// Sends a packet without waiting; false if the socket is full.
    pub fn send(&self, packet: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<bool> {
        match send(self.ours.get_ref(), packet, fds) {
            Ok(()) => Ok(true),
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::TOOMANYREFS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the next packet.
    pub async fn recv<T>(&self, read: impl Fn(&[u8]) -> T) -> io::Result<T> {
        self.ours.async_io(Interest::READABLE, |socket| self.read(socket, &read)).await
    }

    /// Reads a packet that is there already.
    pub fn try_recv<T>(&self, read: impl Fn(&[u8]) -> T) -> io::Result<Option<T>> {
        present(self.read(self.ours.get_ref(), read))
    }

    /// Reads a packet that the child has not taken.
    pub fn take_back<T>(&self, read: impl Fn(&[u8]) -> T) -> io::Result<Option<T>> {
        present(self.read(&self.theirs, read))
    }

    fn read<T>(&self, socket: &OwnedFd, read: impl Fn(&[u8]) -> T) -> io::Result<T> {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.clear();
        inbox.reserve(PACKET);
        // Without room for descriptors the kernel closes those that come.
        recv(socket, spare_capacity(&mut inbox), RecvFlags::DONTWAIT)?;
        Ok(read(&inbox))
    }
}

fn present<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        other => other.map(Some),
    }
}

fn send(socket: &OwnedFd, packet: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(RIGHTS))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !rights.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL);
    }
    sendmsg(socket, &[IoSlice::new(packet)], &mut rights, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
    Ok(())
}
