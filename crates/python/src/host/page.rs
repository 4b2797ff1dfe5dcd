//! The page: a few numbers that a child and we read and write without a message.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::{pread, pwrite};

const SIZE: u64 = 4096;

/// A child writes once a job, which takes longer than all of these.
const TRIES: usize = 8;

/// The field in which we say at which job a signal is aimed.
const AIMED: u64 = 24;

/// What a child does at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// The job that runs.
    pub token: u64,
    /// When it began: nanoseconds of the monotonic clock, which is that of `std::time::Instant`.
    pub since: u64,
}

/// The page, by its descriptor: the child maps it. We do not, so that nothing it does to it can hurt us.
#[derive(Debug)]
pub struct Page(OwnedFd);

impl Page {
    pub fn new() -> io::Result<Self> {
        let fd = memfd_create("celeriac-page", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, SIZE)?;
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok(Page(fd))
    }

    pub fn running(&self) -> io::Result<Option<Running>> {
        let [token, since, _] = self.fields()?;
        Ok((token != 0).then_some(Running { token, since }))
    }

    pub fn begun(&self) -> io::Result<u64> {
        self.fields().map(|[_, _, begun]| begun)
    }

    pub fn aim(&self, token: u64) -> io::Result<()> {
        pwrite(&self.0, &token.to_le_bytes(), AIMED)?;
        Ok(())
    }

    /// What the child writes, of one moment: read until nothing has changed meanwhile, within reason.
    fn fields(&self) -> io::Result<[u64; 3]> {
        let mut fields = self.read()?;
        for _ in 0..TRIES {
            let before = std::mem::replace(&mut fields, self.read()?);
            if fields == before {
                break;
            }
        }
        Ok(fields)
    }

    fn read(&self) -> io::Result<[u64; 3]> {
        let mut bytes = [0; 24];
        pread(&self.0, &mut bytes, 0)?;
        let (fields, _) = bytes.as_chunks::<8>();
        Ok(std::array::from_fn(|field| u64::from_le_bytes(fields[field])))
    }
}

impl AsFd for Page {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
