//! A stream of messages, each behind its length: to the zygote, to the service.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use celeriac_protocol::Value;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::HostError;
use super::marshal::loads;

/// No report or answer is larger: ten thousand tasks take some 6 MiB.
const LARGEST: usize = 64 << 20;

/// As many descriptors as go with a message to the zygote.
const RIGHTS: usize = 2;

/// Both directions of a stream.
pub fn link(stream: UnixStream) -> (Sender, Receiver) {
    let stream = Arc::new(stream);
    (Sender(stream.clone()), Receiver { stream, inbox: Vec::new() })
}

/// What we say. A future that is dropped within a message ends the stream's use.
pub struct Sender(Arc<UnixStream>);

impl Sender {
    /// Sends a marshalled message, and descriptors with it.
    pub async fn send(&self, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let length = u32::try_from(message.len()).map_err(|_| io::ErrorKind::FileTooLarge)?.to_le_bytes();
        let (mut head, mut body, mut fds) = (&length[..], message, fds);
        while !(head.is_empty() && body.is_empty()) {
            let sent = self.0.async_io(Interest::WRITABLE, || part(&self.0, [head, body], fds)).await?;
            (head, body) = (&head[sent.min(head.len())..], &body[sent.saturating_sub(head.len())..]);
            fds = &[];
        }
        Ok(())
    }
}

fn part(stream: &UnixStream, parts: [&[u8]; 2], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(RIGHTS))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !rights.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(sendmsg(stream, &parts.map(IoSlice::new), &mut rights, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?)
}

/// What we are told.
pub struct Receiver {
    stream: Arc<UnixStream>,
    inbox: Vec<u8>,
}

impl Receiver {
    /// The next message; [`HostError::Gone`] at the end of the stream. Dropping the future loses nothing.
    pub async fn receive(&mut self) -> Result<Value, HostError> {
        loop {
            if let Some(message) = self.waiting()? {
                return Ok(message);
            }
            let Receiver { stream, inbox } = self;
            stream.async_io(Interest::READABLE, || read(stream, inbox)).await.map_err(ended)?;
        }
    }

    /// A message that has come already, also from who has ended.
    pub fn try_receive(&mut self) -> Result<Option<Value>, HostError> {
        loop {
            if let Some(message) = self.waiting()? {
                return Ok(Some(message));
            }
            match read(&self.stream, &mut self.inbox) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => match ended(error) {
                    HostError::Gone => return Ok(None),
                    error => return Err(error),
                },
            }
        }
    }

    /// A whole message of the inbox.
    fn waiting(&mut self) -> Result<Option<Value>, HostError> {
        let Some((length, rest)) = self.inbox.split_first_chunk() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > LARGEST {
            return Err(HostError::Unexpected(format!("of {length} bytes")));
        }
        let Some(message) = rest.get(..length) else { return Ok(None) };
        let message = loads(message);
        self.inbox.drain(..4 + length);
        Ok(Some(message?))
    }
}

/// Reads what has come.
fn read(stream: &UnixStream, inbox: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 16 << 10];
    match recv(stream, &mut buffer, RecvFlags::DONTWAIT)? {
        (_, 0) => Err(io::ErrorKind::UnexpectedEof.into()),
        (_, read) => {
            inbox.extend_from_slice(&buffer[..read]);
            Ok(())
        }
    }
}

fn ended(error: io::Error) -> HostError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => HostError::Gone,
        _ => HostError::Io(error),
    }
}
