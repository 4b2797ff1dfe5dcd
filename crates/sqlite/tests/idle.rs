//! A worker with nothing to do.

use std::time::{Duration, Instant};

use celeriac_broker::Prefetch;
use celeriac_testkit::TempDir;

use crate::support::*;

/// How often the database threads of this process went to sleep of their own accord.
fn sleeps() -> u64 {
    let mut total = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let read = |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        if read("comm").starts_with("celeriac-sqlite") {
            let status = read("status");
            let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            total += count.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0);
        }
    }
    total
}

/// Four connections that wait for messages wake for their sweeps alone. Runs in a process of its own, where nothing
/// else happens.
#[tokio::test]
async fn idle_consumers_sleep() {
    if let Some(file) = in_role("idler") {
        let mut open = Vec::new();
        for _ in 0..4 {
            let connection = connect(&file).await;
            declare(&connection, "q").await;
            open.push((consume(&connection, Prefetch::Session(4), "q").await, connection));
        }
        // Let what their start wakes settle first.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (before, start) = (sleeps(), Instant::now());
        tokio::time::sleep(Duration::from_secs(3)).await;
        let (woken, seconds) = (sleeps() - before, start.elapsed().as_secs() + 1);
        assert!(woken <= 4 * 3 * seconds, "{woken} wake-ups in {seconds} s");
        return;
    }
    let folder = TempDir::new();
    let status =
        role("idle::idle_consumers_sleep", "idler", &folder.path().join("jobs.db")).status().unwrap();
    assert!(status.success());
}
