//! Processes that are found by their environment, whatever became of who started them.

use std::fs;

use rustix::process::{Pid, kill_process};

use crate::Signal;

/// A process that is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marked {
    /// Its id.
    pub id: u32,
    /// The id of its parent.
    pub parent: u32,
}

impl Marked {
    /// All processes that were started with this variable.
    pub fn find(name: &str, value: &str) -> Vec<Marked> {
        let wanted = format!("{name}={value}");
        let ids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.filter(|id: &u32| carries(*id, wanted.as_bytes()))
            .filter_map(|id| Some(Marked { id, parent: parent(id)? }))
            .collect()
    }

    /// Sends SIGKILL; it may have ended meanwhile.
    pub fn kill(self) {
        if let Some(pid) = i32::try_from(self.id).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Whether a process has the variable; one that has ended has none.
fn carries(id: u32, wanted: &[u8]) -> bool {
    let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == wanted)
}

fn parent(id: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}
