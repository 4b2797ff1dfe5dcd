//! The Python side, which travels inside this program: `python/celeriac` as a zip in memory.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// What `python -c` runs; it gets the descriptors of the package and of its socket as arguments.
pub const BOOTSTRAP: &str = include_str!("../../../../python/celeriac/bootstrap.py");

macro_rules! files {
    ($($name:literal)*) => {
        &[$((concat!("celeriac/", $name), include_bytes!(concat!("../../../../python/celeriac/", $name)))),*]
    };
}

const FILES: &[(&str, &[u8])] = files! {
    "__init__.py" "answers.py" "application.py" "asynchronous.py" "beat.py" "bootstrap.py" "child.py" "host.py" "limits.py"
    "logs.py" "lost.py" "options.py" "plain.py" "process.py" "report.py" "request.py" "service.py" "spawn.py"
    "statedb.py" "threads.py" "versions.py" "wire.py" "worker.py" "zygote.py"
};

/// Any date will do, as long as it is one: the first that a zip can have.
const DATE: u32 = 0x0021_0000;

/// A descriptor of the zip, which nobody can change any more.
pub fn package() -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("celeriac", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.write_all(&zip(FILES))?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    Ok(file.into())
}

/// A zip of stored files (PKWARE's APPNOTE, 4.3): each behind a header, then a directory that repeats the headers.
fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let offset = zip.len() as u32;
        let header = header(name, content);
        zip.extend(b"PK\x03\x04");
        zip.extend(&header);
        zip.extend(name.as_bytes());
        zip.extend(*content);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&header);
        directory.extend([0; 10]); // comment, disk, attributes
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (count, start) = ((files.len() as u16).to_le_bytes(), zip.len() as u32);
    zip.extend(&directory);
    zip.extend(b"PK\x05\x06\x00\x00\x00\x00");
    zip.extend(count);
    zip.extend(count);
    zip.extend((directory.len() as u32).to_le_bytes());
    zip.extend(start.to_le_bytes());
    zip.extend([0; 2]);
    zip
}

/// What a file's two headers have in common: version 2.0, no flags, stored, date, checksum, sizes.
fn header(name: &str, content: &[u8]) -> Vec<u8> {
    let size = (content.len() as u32).to_le_bytes();
    let mut header = vec![20, 0, 0, 0, 0, 0];
    header.extend(DATE.to_le_bytes());
    header.extend(crc32fast::hash(content).to_le_bytes());
    header.extend(size);
    header.extend(size);
    header.extend((name.len() as u16).to_le_bytes());
    header.extend([0; 2]);
    header
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::fd::AsRawFd;

    use celeriac_testkit::{Python, workspace_root};

    use super::*;

    #[test]
    fn no_file_is_missing() {
        let folder = std::fs::read_dir(workspace_root().join("python/celeriac")).unwrap();
        let there: BTreeSet<String> = folder
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".py"))
            .collect();
        let ours: BTreeSet<String> =
            FILES.iter().map(|(name, _)| name["celeriac/".len()..].to_owned()).collect();
        assert_eq!(ours, there);
    }

    #[test]
    fn python_finds_every_file_whole_and_nobody_can_change_them() {
        let fd = package().unwrap();
        let path = format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
        let script = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); print(z.testzip(), len(z.namelist()), \
                      z.read('celeriac/bootstrap.py').decode(), sep='|', end='')";
        let shown = Python::find().run(script, &[&path], &[]);
        assert_eq!(shown, format!("None|{}|{BOOTSTRAP}", FILES.len()));
        assert!(rustix::io::write(&fd, b"x").is_err() && rustix::fs::ftruncate(&fd, 0).is_err());
    }
}
