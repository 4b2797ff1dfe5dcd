//! What processes have used, from `/proc`.

use std::fs;

/// Linux counts in hundredths of a second for programs, whatever its own tick.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds, user and system, of a process with all its threads and of its living descendants.
pub fn seconds(pid: u32) -> f64 {
    tree(pid).iter().map(|stat| stat.ticks).sum::<f64>() / TICKS_PER_SECOND
}

/// CPU seconds, user and system, of a process alone; none of one that has ended.
pub fn own(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    parse(pid, &text).map_or(0.0, |stat| stat.ticks / TICKS_PER_SECOND)
}

/// Resident memory of a process in MiB.
pub fn resident(pid: u32) -> Option<f64> {
    mebibytes(pid, "status", "VmRSS:")
}

/// The same, of pages that several processes have only the share.
pub fn proportional(pid: u32) -> Option<f64> {
    mebibytes(pid, "smaps_rollup", "Pss:")
}

/// The same of a process and its living descendants together.
pub fn proportional_together(pid: u32) -> f64 {
    tree(pid).iter().filter_map(|stat| proportional(stat.pid)).sum()
}

fn tree(pid: u32) -> Vec<Stat> {
    let mut others: Vec<Stat> =
        fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(stat).collect();
    let mut tree: Vec<Stat> = others.extract_if(.., |stat| stat.pid == pid).collect();
    let mut next = 0;
    while let Some(parent) = tree.get(next).map(|stat| stat.pid) {
        tree.extend(others.extract_if(.., |stat| stat.parent == parent));
        next += 1;
    }
    tree
}

fn mebibytes(pid: u32, file: &str, name: &str) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? / 1024.0)
}

struct Stat {
    pid: u32,
    parent: u32,
    ticks: f64,
}

fn stat(entry: fs::DirEntry) -> Option<Stat> {
    let pid = entry.file_name().to_str()?.parse().ok()?;
    parse(pid, &fs::read_to_string(entry.path().join("stat")).ok()?)
}

fn parse(pid: u32, text: &str) -> Option<Stat> {
    // The name, in parentheses, may hold anything.
    let fields: Vec<&str> = text.rsplit(')').next()?.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some(Stat { pid, parent: fields.get(1)?.parse().ok()?, ticks: ticks(11)? + ticks(12)? })
}
