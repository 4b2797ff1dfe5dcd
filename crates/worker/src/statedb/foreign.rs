//! Files of the same name that are somebody else's.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What Python's `dbm` appends to the name that it is given.
const SUFFIXES: [&str; 4] = [".db", ".dat", ".dir", ".pag"];
/// The first bytes of gdbm's files, in either byte order.
const GDBM: [[u8; 4]; 6] = [
    [0xce, 0x9a, 0x57, 0x13],
    [0xcd, 0x9a, 0x57, 0x13],
    [0xcf, 0x9a, 0x57, 0x13],
    [0x13, 0x57, 0x9a, 0xce],
    [0x13, 0x57, 0x9a, 0xcd],
    [0x13, 0x57, 0x9a, 0xcf],
];

/// Says why a path cannot be a file of ours, as far as can be seen from outside.
pub(super) fn check(path: &Path) -> Result<(), String> {
    if path.is_dir() {
        return Err("it is a folder".to_owned());
    }
    if let Ok(mut file) = std::fs::File::open(path) {
        let mut head = [0; 4];
        if file.read_exact(&mut head).is_ok() && GDBM.contains(&head) {
            return Err(PYTHON.to_owned());
        }
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        return Err(format!("the folder {} does not exist", folder.display()));
    }
    match SUFFIXES.iter().map(|suffix| appended(path, suffix)).find(|sibling| sibling.exists()) {
        Some(sibling) => Err(format!("{} is there: {PYTHON}", sibling.display())),
        None => Ok(()),
    }
}

/// What is said of Celery's own.
pub(super) const PYTHON: &str =
    "it is the statedb of a Python worker, which cannot be read here; name another file";

fn appended(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
