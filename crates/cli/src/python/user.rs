//! Becoming the user that the app's process has become (`--uid`, `--gid`, `--umask` and their settings).

use std::io;

use anyhow::Context;
use celeriac_python::report::Identity;
use rustix::process::{getegid, geteuid, umask};

/// Becomes who the app's process is, in all threads and for good.
///
/// # Errors
/// When the system refuses.
pub fn become_user(identity: &Identity) -> anyhow::Result<()> {
    umask(rustix::fs::Mode::from_raw_mode(identity.umask));
    if (identity.uid, identity.gid) == (geteuid().as_raw(), getegid().as_raw()) {
        return Ok(());
    }
    // In this order: whoever is no longer root can change no group.
    set(&identity.groups, identity.gid, identity.uid).context("cannot become the user of --uid and --gid")
}

/// By the C library, since the system's own calls change one thread only.
#[expect(unsafe_code, reason = "there is no other way")]
fn set(groups: &[u32], gid: u32, uid: u32) -> io::Result<()> {
    let done = |code: i32| if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: the pointer is that of as many groups as are said to be there, which live until the call returns; the
    // other two take numbers.
    unsafe {
        done(libc::setgroups(groups.len(), groups.as_ptr()))?;
        done(libc::setgid(gid))?;
        done(libc::setuid(uid))
    }
}
