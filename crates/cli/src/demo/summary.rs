//! The table at the end.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::task::Digest;

const SLOWEST: usize = 5;
/// How many unreadable files are listed by name.
const LISTED: usize = 10;

/// What came of all files. Its size does not depend on how many there were.
pub struct Summary {
    root: PathBuf,
    pub elapsed: Duration,
    files: u64,
    bytes: u64,
    lines: u64,
    unreadable: u64,
    /// The first of them, and why.
    listed: Vec<(String, String)>,
    /// Seconds, bytes and path, the slowest first.
    slowest: Vec<(f64, u64, String)>,
    workers: BTreeMap<String, u64>,
}

impl Summary {
    pub fn new(root: &Path) -> Self {
        Summary {
            root: root.to_owned(),
            elapsed: Duration::ZERO,
            files: 0,
            bytes: 0,
            lines: 0,
            unreadable: 0,
            listed: Vec::new(),
            slowest: Vec::new(),
            workers: BTreeMap::new(),
        }
    }

    /// Takes in what came of one file.
    pub fn add(&mut self, path: &Path, outcome: Result<Digest, String>) {
        let shown =
            || path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().escape_debug().to_string();
        match outcome {
            Ok(digest) => {
                self.files += 1;
                self.bytes += digest.bytes;
                self.lines += digest.lines;
                let place = self.slowest.partition_point(|(seconds, ..)| *seconds >= digest.seconds);
                if place < SLOWEST {
                    self.slowest.insert(place, (digest.seconds, digest.bytes, shown()));
                    self.slowest.truncate(SLOWEST);
                }
                *self.workers.entry(digest.worker).or_default() += 1;
            }
            Err(error) => {
                self.unreadable += 1;
                if self.listed.len() < LISTED {
                    self.listed.push((shown(), error));
                }
            }
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        let rate = (self.files + self.unreadable) as f64 / seconds.max(f64::EPSILON);
        writeln!(f, "{}\n", self.root.display())?;
        writeln!(f, "  files       {:>14}", self.files)?;
        writeln!(f, "  bytes       {:>14}", self.bytes)?;
        writeln!(f, "  lines       {:>14}", self.lines)?;
        writeln!(f, "  unreadable  {:>14}", self.unreadable)?;
        writeln!(f, "  seconds     {seconds:>14.2}")?;
        writeln!(f, "  tasks/s     {rate:>14.0}")?;
        for (worker, files) in &self.workers {
            let share = *files as f64 * 100.0 / self.files.max(1) as f64;
            writeln!(f, "  {worker:<11} {files:>14}  {share:.0} %")?;
        }
        if !self.slowest.is_empty() {
            writeln!(f, "\nSlowest:")?;
        }
        for (seconds, bytes, path) in &self.slowest {
            writeln!(f, "  {:>9.1} ms {bytes:>14} bytes  {path}", seconds * 1000.0)?;
        }
        if self.unreadable > 0 {
            writeln!(f, "\nUnreadable (their tasks failed, the others went on):")?;
        }
        for (path, error) in &self.listed {
            writeln!(f, "  {path}: {error}")?;
        }
        match self.unreadable - self.listed.len() as u64 {
            0 => Ok(()),
            more => writeln!(f, "  and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(seconds: f64, worker: &str) -> Result<Digest, String> {
        Ok(Digest { sha256: String::new(), bytes: 10, lines: 2, seconds, worker: worker.to_owned() })
    }

    #[test]
    fn it_sums_up_and_keeps_the_slowest() {
        let mut summary = Summary::new(Path::new("/root"));
        for (index, seconds) in [0.1, 0.7, 0.3, 0.2, 0.6, 0.5, 0.4].into_iter().enumerate() {
            let worker = if index < 5 { "w1@demo" } else { "w2@demo" };
            summary.add(Path::new(&format!("/root/{seconds}")), digest(seconds, worker));
        }
        let slowest: Vec<_> = summary.slowest.iter().map(|(.., path)| path.as_str()).collect();
        assert_eq!(slowest, ["0.7", "0.6", "0.5", "0.4", "0.3"]);
        assert_eq!((summary.files, summary.bytes, summary.lines), (7, 70, 14));
        let text = summary.to_string();
        assert!(text.contains("w1@demo                  5  71 %"), "{text}");
        assert!(!text.contains("Unreadable"), "{text}");
    }

    #[test]
    fn of_many_unreadable_files_some_are_named() {
        let mut summary = Summary::new(Path::new("/root"));
        for number in 0..LISTED + 3 {
            summary.add(Path::new(&format!("/root/{number}\n")), Err("denied".to_owned()));
        }
        let text = summary.to_string();
        assert!(text.contains("  0\\n: denied\n") && text.ends_with("  and 3 more\n"), "{text}");
    }
}
