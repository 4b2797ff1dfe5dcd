//! Python apps on Redis.

use celeriac_testkit::{Process, Python, Signal, eventually, redis};

use crate::hello::{DEADLINE, end};
use crate::python::{APP, Folder};

const TASKS: &str = "
import time

@app.task
def wait(path):
    import os
    while not os.path.exists(path):
        time.sleep(.01)
";

fn client(folder: &Folder, broker: &str, script: &str) {
    let mut client = Python::find().command();
    let done = client.args(["-c", script]).current_dir(folder.dir.path()).env("BROKER", broker).output();
    let done = done.unwrap();
    assert!(done.status.success(), "{done:?}");
}

fn start(folder: &Folder, broker: &str, name: &str, more: &[&str]) -> Process {
    let args = [&["-A", "proj", "worker", "-l", "info", "-c", "1", "-n", name], more].concat();
    let worker = Process::start(folder.command(&args).env("BROKER", broker));
    worker.wait_for_line(" ready.", DEADLINE);
    worker
}

#[test]
fn without_prefetch_a_message_is_left_to_who_is_free() {
    let folder = Folder::new(&format!("{APP}{TASKS}"));
    let url = redis().fresh_url();
    let database = url.rsplit('/').next().unwrap();
    let waiting = || redis().cli(&["-n", database, "LLEN", "celery"]).trim().to_owned();
    let busy = start(&folder, &url, "busy@test", &["--disable-prefetch"]);
    client(&folder, &url, "from proj import add, wait\nwait.delay('go')\nfor n in range(3): add.delay(n, n)");
    busy.wait_for_line("proj.wait", DEADLINE);
    eventually(DEADLINE, "it is acknowledged", || {
        (redis().cli(&["-n", database, "EXISTS", "unacked"]).trim() == "0").then_some(())
    });
    assert_eq!(waiting(), "3");
    let free = start(&folder, &url, "free@test", &["worker.disable_prefetch=true"]);
    eventually(DEADLINE, "the other runs them", || {
        (free.log().matches(" succeeded").count() == 3).then_some(())
    });
    folder.dir.write("go", "");
    busy.wait_for_line(" succeeded", DEADLINE);
    assert_eq!(busy.log().matches("] received").count(), 1, "{}", busy.log());
    for worker in [busy, free] {
        assert_eq!(end(&worker, &[Signal::TERM]), Some(0), "{}", worker.log());
    }
}
