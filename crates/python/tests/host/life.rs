//! Who dies with whom.

use std::time::Duration;

use celeriac_python::host::{Event, HostError};
use celeriac_testkit::{Process, Signal, TempDir, eventually};
use rustix::process::{Pid, kill_process};

use super::{Host, PATIENCE, Task, answer, is_alive, send, soon, start, until_gone};

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// The processes that a zygote has forked.
fn forked(zygote: u32) -> Vec<i32> {
    let children = std::fs::read_to_string(format!("/proc/{zygote}/task/{zygote}/children")).unwrap();
    children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

#[tokio::test]
async fn of_a_killed_child_all_is_known_and_the_others_go_on() {
    let mut host = Host::start("basic", &[]).await;
    let (killed, other) = (host.child().await, host.child().await);
    send(&killed, &Task::new("id", "basic.add", "[1, 1]"), 1);
    send(&killed, &Task::new("id", "basic.wait_for", "[\"never\", 600]"), 2);
    send(&killed, &Task::new("id", "basic.add", "[2, 2]"), 3);
    host.note("waiting");
    killed.kill().unwrap();
    assert_eq!(host.event().await, Some(Event::Exited { pid: killed.pid(), status: -9 }));
    assert_eq!(killed.running().unwrap().unwrap().token, 2);
    assert_eq!(killed.take_back().unwrap(), [3]);
    assert_eq!(answer(&killed).await.token, 1, "what it had said is not lost");
    assert!(killed.try_recv().unwrap().is_none());
    assert!(matches!(killed.kill(), Err(HostError::Gone)));
    send(&other, &Task::new("id", "basic.add", "[2, 2]"), 1);
    assert_eq!(answer(&other).await.text, "4");
}

#[tokio::test]
async fn a_killed_zygote_takes_all_with_it() {
    let mut host = Host::start("basic", &[]).await;
    let children = [host.child().await, host.child().await];
    let service = host.zygote().service().await.unwrap();
    let zygote = host.zygote().pid();
    let forked =
        eventually(PATIENCE, "three are forked", || Some(forked(zygote)).filter(|pids| pids.len() == 3));
    kill(zygote as i32);
    assert_eq!(host.event().await, Some(Event::Gone { status: -9 }));
    assert!(children.iter().all(|child| !is_alive(child.pid())), "they are gone when it is told");
    assert_eq!(host.event().await, None);
    assert!(matches!(soon(host.zygote().fork(0)).await, Err(HostError::Gone)));
    soon(service.ended()).await;
    forked.into_iter().for_each(until_gone);
}

#[tokio::test]
async fn a_zygote_that_is_stopped_ends_in_order() {
    let mut host = Host::start("basic", &[]).await;
    let child = host.child().await;
    soon(host.zygote().stop()).await;
    assert!(!is_alive(child.pid()));
    let mut events = Vec::new();
    while let Some(event) = host.event().await {
        events.push(event);
    }
    assert_eq!(events.last(), Some(&Event::Gone { status: 0 }));
    soon(host.zygote().stop()).await;
}

#[tokio::test]
async fn nothing_is_left_of_a_zygote_that_is_dropped() {
    let host = Host::start("basic", &[]).await;
    let child = host.child().await;
    let mut events = host.started.events;
    drop(host.started.zygote);
    assert_eq!(soon(events.next()).await, Some(Event::Gone { status: -9 }));
    assert!(!is_alive(child.pid()));
}

#[tokio::test]
async fn a_child_that_is_dropped_ends() {
    let mut host = Host::start("basic", &[]).await;
    let child = host.child().await;
    let pid = child.pid();
    drop(child);
    assert_eq!(host.event().await, Some(Event::Exited { pid, status: 0 }));
}

/// The process of the app `endless`, as soon as it imports it; that does not end.
async fn importing(dir: &TempDir) -> i32 {
    dir.write("endless.py", "import os, time\nopen('pid', 'w').write(f'{os.getpid()}\\n')\ntime.sleep(600)");
    loop {
        let pid = std::fs::read_to_string(dir.path().join("pid")).unwrap_or_default();
        if let Some(pid) = pid.strip_suffix('\n') {
            return pid.parse().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn who_stops_waiting_for_the_start_leaves_nothing() {
    let dir = TempDir::new();
    let pid = tokio::select! {
        pid = soon(importing(&dir)) => pid,
        started = start(&dir, "endless", &[]) => panic!("{started:?}"),
    };
    assert!(!is_alive(pid));
}

/// Set in the process that is killed by the test below.
const PARENT: &str = "CELERIAC_TEST_PARENT";

#[test]
fn nothing_outlives_a_killed_parent() {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "host::life::a_parent", "--ignored", "--nocapture"]).env(PARENT, "1");
    let parent = Process::start(&command);
    let line = parent.wait_for_line("pids:", PATIENCE);
    let (_, pids) = line.split_once("pids:").unwrap();
    let pids: Vec<i32> = pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert!(pids.len() == 5 && pids.iter().all(|pid| is_alive(*pid)), "{line}");
    parent.signal(Signal::KILL);
    pids.into_iter().for_each(until_gone);
}

#[tokio::test]
#[ignore = "the parent that the test above kills"]
async fn a_parent() {
    if std::env::var_os(PARENT).is_none() {
        return;
    }
    let host = Host::start("basic", &[]).await;
    let children = [host.child().await, host.child().await];
    let _service = host.zygote().service().await.unwrap();
    send(&children[0], &Task::new("id", "basic.wait_for", "[\"never\", 600]"), 1);
    host.note("waiting");
    let zygote = host.zygote().pid();
    let forked =
        eventually(PATIENCE, "three are forked", || Some(forked(zygote)).filter(|pids| pids.len() == 3));
    let pids: Vec<String> = forked.iter().map(i32::to_string).collect();
    let dir = TempDir::new();
    tokio::select! {
        // It does not listen yet, so only the kernel can end it.
        started = start(&dir, "endless", &[]) => panic!("{started:?}"),
        () = async {
            println!("pids: {zygote} {} {}", soon(importing(&dir)).await, pids.join(" "));
            std::future::pending().await
        } => {}
    }
}
