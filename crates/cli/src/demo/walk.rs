//! Finding the files of a folder, however many there are.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc::Sender;

use super::progress::Progress;

/// Folders deeper than this are left out: no tree of a sane person is, but a mounted one may be.
const MAX_DEPTH: usize = 64;

/// What marks a cache directory (bford.info/cachedir).
const CACHE: &str = "CACHEDIR.TAG";

/// What a walk meets.
pub enum Found {
    /// A regular file.
    File(PathBuf),
    /// A folder that cannot be listed, or too deep, and why.
    Unreadable(PathBuf, String),
}

/// Sends every regular file below `root`; symbolic links, pipes, devices, `.git`, caches that say so (as cargo's `target`
/// does) and other file systems (`/proc` has files without an end) are left out. Blocks while the receiver is busy, and
/// ends when it is gone.
pub fn walk(root: &Path, found: &Sender<Found>, progress: &Progress) {
    let device = |entry: &fs::DirEntry| entry.metadata().ok().map(|metadata| metadata.dev());
    let home = fs::metadata(root).ok().map(|metadata| metadata.dev());
    let mut folders = vec![(root.to_owned(), 0)];
    let tell = |what| {
        progress.found();
        found.blocking_send(what).is_ok()
    };
    while let Some((folder, depth)) = folders.pop() {
        if depth > MAX_DEPTH {
            if !tell(Found::Unreadable(folder, format!("more than {MAX_DEPTH} folders deep"))) {
                return;
            }
            continue;
        }
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if tell(Found::Unreadable(folder, error.to_string())) => continue,
            Err(_) => return,
        };
        for entry in entries.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => {
                    let is_left_out = entry.file_name() == ".git" || entry.path().join(CACHE).is_file();
                    if !is_left_out && device(&entry) == home {
                        folders.push((entry.path(), depth + 1));
                    }
                }
                Ok(kind) if kind.is_file() && !tell(Found::File(entry.path())) => return,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tokio::sync::mpsc;

    use super::*;

    #[test]
    fn only_regular_files_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for folder in ["a/b", ".git", "a/.git", "a/target"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for file in ["one", "a/two", "a/b/three", ".git/HEAD", "a/.git/HEAD", "a/target/CACHEDIR.TAG"] {
            fs::write(at(file), "x").unwrap();
        }
        symlink("one", at("link")).unwrap();
        symlink("..", at("a/b/up")).unwrap();
        let deep = dir.path().join("d/".repeat(MAX_DEPTH + 1));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), "x").unwrap();

        let (sender, mut receiver) = mpsc::channel(100);
        walk(dir.path(), &sender, &Progress::hidden());
        drop(sender);
        let (mut files, mut unreadable) = (Vec::new(), Vec::new());
        while let Some(found) = receiver.blocking_recv() {
            match found {
                Found::File(path) => files.push(path.strip_prefix(dir.path()).unwrap().display().to_string()),
                Found::Unreadable(path, _) => unreadable.push(path),
            }
        }
        files.sort();
        assert_eq!(files, ["a/b/three", "a/two", "one"]);
        assert_eq!(unreadable, [deep]);
    }
}
