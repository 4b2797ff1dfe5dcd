//! The pidfile of a worker (`celery/platforms.py`, `Pidfile`).

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, test_kill_process};

use super::Error;

/// A file with our process id, removed at drop.
#[derive(Debug)]
pub struct Pidfile(PathBuf);

impl Pidfile {
    /// Makes the file; one that names no live process is replaced.
    ///
    /// # Errors
    /// [`Error::PidLocked`], or that the file cannot be written.
    pub fn acquire(path: &Path) -> Result<Self, Error> {
        let fail = |error| Error::file(path, error);
        let locked = |pid| Error::PidLocked { path: path.display().to_string(), pid };
        // Once more after a stale file; whoever takes the place in between has won.
        for _ in 0..2 {
            match OpenOptions::new().write(true).create_new(true).mode(0o644).open(path) {
                Ok(mut file) => {
                    let guard = Pidfile(path.to_owned());
                    writeln!(file, "{}", std::process::id()).and_then(|()| file.sync_all()).map_err(fail)?;
                    return Ok(guard);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(fail(error)),
            }
            match holder(path) {
                Some(pid) if is_live(pid) => return Err(locked(pid)),
                Some(pid) if !is_ours(pid) => eprintln!("Stale pidfile exists - Removing it."),
                Some(_) => {}
                None => eprintln!("Broken pidfile found - Removing it."),
            }
            fs::remove_file(path).or_else(ignore_missing).map_err(fail)?;
        }
        Err(locked(0))
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The process that the file names.
fn holder(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// A container gives the same ids again.
fn is_ours(pid: i32) -> bool {
    u32::try_from(pid).is_ok_and(|pid| pid == std::process::id())
}

/// One that we may not signal is no worker of this user: Celery takes its file for a stale one, too.
fn is_live(pid: i32) -> bool {
    let process = Some(pid).filter(|pid| *pid > 0).and_then(Pid::from_raw);
    !is_ours(pid) && process.is_some_and(|process| test_kill_process(process).is_ok())
}

fn ignore_missing(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("celeriac-pidfile-{}-{name}", std::process::id()))
    }

    #[test]
    fn it_holds_our_id_and_goes_at_drop() {
        let path = path("own");
        let held = Pidfile::acquire(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(held);
        assert!(!path.exists());
    }

    #[test]
    fn the_file_of_a_live_process_is_left_alone() {
        let path = path("live");
        fs::write(&path, "1\n").unwrap();
        let error = Pidfile::acquire(&path).unwrap_err();
        assert!(matches!(&error, Error::PidLocked { pid: 1, .. }) && error.exit_code() == 73, "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn stale_and_broken_files_are_replaced() {
        // Ids end at 2^22 on Linux.
        for content in ["2147483647\n", "", "-1\n", "garbage"] {
            let path = path("stale");
            fs::write(&path, content).unwrap();
            assert!(Pidfile::acquire(&path).is_ok(), "{content:?}");
        }
    }
}
