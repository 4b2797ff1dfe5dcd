//! What processes have used, from `/proc`.

use std::fs;

/// Linux counts in hundredths of a second for programs, whatever its own tick.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds, user and system, of a process with all its threads and of its living descendants.
pub fn seconds(pid: u32) -> f64 {
    let all: Vec<Stat> = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(stat).collect();
    let mut tree = vec![pid];
    let mut next = 0;
    while let Some(&parent) = tree.get(next) {
        tree.extend(all.iter().filter(|stat| stat.parent == parent).map(|stat| stat.pid));
        next += 1;
    }
    all.iter().filter(|stat| tree.contains(&stat.pid)).map(|stat| stat.ticks).sum::<f64>() / TICKS_PER_SECOND
}

/// Resident memory of a process in MiB.
pub fn resident(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? / 1024.0)
}

struct Stat {
    pid: u32,
    parent: u32,
    ticks: f64,
}

fn stat(entry: fs::DirEntry) -> Option<Stat> {
    let pid = entry.file_name().to_str()?.parse().ok()?;
    let text = fs::read_to_string(entry.path().join("stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let fields: Vec<&str> = text.rsplit(')').next()?.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some(Stat { pid, parent: fields.get(1)?.parse().ok()?, ticks: ticks(11)? + ticks(12)? })
}
