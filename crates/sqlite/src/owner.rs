//! Who holds leases, and whether he still lives.
//!
//! An owner keeps a lock on a file of his own beside the database. The system ends the lock with the process,
//! however it dies; no clock is asked, so a suspended machine or a long pause takes nothing from a living owner.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// A living owner; dropping it ends him.
#[derive(Debug)]
pub(crate) struct Owner {
    pub id: i64,
    path: PathBuf,
    /// Holds the lock.
    _file: File,
}

impl Owner {
    pub fn new(database: &Path) -> io::Result<Self> {
        let id = (Uuid::new_v4().as_u64_pair().0 >> 1).cast_signed();
        let path = lock_path(database, id);
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        file.try_lock().map_err(io::Error::from)?;
        Ok(Owner { id, path, _file: file })
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // One that stays is removed by whoever finds its owner dead.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether an owner's process lives. When in doubt it does.
pub(crate) fn is_alive(database: &Path, id: i64) -> bool {
    match File::open(lock_path(database, id)) {
        Ok(file) => file.try_lock_shared().is_err(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// Removes what a dead owner left.
pub(crate) fn bury(database: &Path, id: i64) {
    let _ = std::fs::remove_file(lock_path(database, id));
}

fn lock_path(database: &Path, id: i64) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(format!("-owner-{id:016x}"));
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_lives_until_he_is_dropped() {
        let folder = celeriac_testkit::TempDir::new();
        let database = folder.path().join("jobs.db");
        let owner = Owner::new(&database).unwrap();
        let other = Owner::new(&database).unwrap();
        assert!(is_alive(&database, owner.id));
        let (id, path) = (owner.id, owner.path.clone());
        drop(owner);
        assert!(!is_alive(&database, id));
        assert!(!path.exists());
        // What a killed process leaves: the file without the lock.
        File::create(&path).unwrap();
        assert!(!is_alive(&database, id));
        bury(&database, id);
        assert!(!path.exists());
        assert!(is_alive(&database, other.id));
    }
}
