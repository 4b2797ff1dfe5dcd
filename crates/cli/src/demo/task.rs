use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

use celeriac::Task;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sha2::{Digest as _, Sha256};

/// What a task tells of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Digest {
    pub sha256: String,
    pub bytes: u64,
    pub lines: u64,
    /// How long it took.
    pub seconds: f64,
    /// Who did it.
    pub worker: String,
}

/// Hashes a file and counts its lines. A path is bytes: not all are text.
#[celeriac::task(name = "demo.digest", bind, acks_late)]
pub fn digest(task: Task, path: ByteBuf) -> io::Result<Digest> {
    let start = Instant::now();
    let (mut bytes, mut lines, mut hash) = (0, 0, Sha256::new());
    let mut last = b'\n';
    let mut file = File::open(OsStr::from_bytes(&path))?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let chunk = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => &buffer[..length],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(chunk);
        bytes += chunk.len() as u64;
        lines += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
        last = *chunk.last().unwrap_or(&last);
    }
    // A last line without its end is a line too.
    lines += u64::from(last != b'\n');
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let worker = task.request().hostname.to_string();
    Ok(Digest { sha256, bytes, lines, seconds: start.elapsed().as_secs_f64(), worker })
}
