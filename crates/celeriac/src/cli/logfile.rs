//! A log that is rotated by moving it away (`logging.handlers.WatchedFileHandler`, which Celery uses).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A file that is appended to.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Device and inode.
    identity: (u64, u64),
}

impl LogFile {
    /// Opens a file, which is made where there is none.
    ///
    /// # Errors
    /// As [`OpenOptions::open`].
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let open = Mutex::new(Open::at(&path)?);
        Ok(LogFile { path, open })
    }

    /// Appends to the file that now has the path: what was moved away or deleted is not written to any more.
    pub(super) fn write(&self, line: &str) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let identity = fs::metadata(&self.path).map(|metadata| (metadata.dev(), metadata.ino()));
        if identity.ok() != Some(open.identity)
            && let Ok(anew) = Open::at(&self.path)
        {
            *open = anew;
        }
        open.file.write_all(line.as_bytes())
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let metadata = file.metadata()?;
        Ok(Open { file, identity: (metadata.dev(), metadata.ino()) })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::LogFile;

    #[test]
    fn a_log_that_is_moved_or_deleted_begins_anew() {
        let path = std::env::temp_dir().join(format!("celeriac-rotated-{}", std::process::id()));
        let moved = path.with_extension("1");
        let log = LogFile::open(&path).unwrap();
        log.write("one\n").unwrap();
        fs::rename(&path, &moved).unwrap();
        log.write("two\n").unwrap();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        fs::remove_file(&path).unwrap();
        log.write("three\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        for path in [path, moved] {
            fs::remove_file(path).unwrap();
        }
    }
}
