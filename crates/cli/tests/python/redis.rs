//! Python apps on Redis.

use celeriac_testkit::{Process, Python, Sentinels, Signal, eventually, redis};

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

/// The broker is the app's, with its transport options.
#[test]
fn the_doctor_looks_at_the_broker_of_the_app() {
    let options = "app.conf.broker_transport_options = {'global_keyprefix': 'mine:'}";
    let folder = Folder::new(&format!("{APP}{options}"));
    let url = redis().fresh_url();
    redis().cli(&["-n", url.rsplit('/').next().unwrap(), "LPUSH", "mine:orders", "m"]);
    let mut command = folder.command(&["-A", "proj", "redis", "doctor", "--json"]);
    let output = command.env("BROKER", &url).output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(out.contains(r#""name":"orders""#), "{out}{}", String::from_utf8_lossy(&output.stderr));
    let ended = folder.run(&["-A", "nothing", "redis", "doctor"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
}

/// The master dies while a task runs and others wait: the next one has them, and what is sent then.
#[test]
fn behind_sentinels_tasks_go_on_with_the_next_master() {
    let sentinels = Sentinels::start();
    let url = sentinels.url(0, "");
    let options = format!("app.conf.broker_transport_options = {{'master_name': '{}'}}\n", Sentinels::MASTER);
    let folder = Folder::new(&format!("{APP}{options}{TASKS}"));
    // What waits is in Redis, not leased: a lease of the lost connection would come back in 9 s.
    let worker = start(&folder, &url, "w1@test", &["--disable-prefetch"]);
    // A sentinel that gets no answer in half a second, as of a busy machine, says that there is no master.
    let send = |numbers: &str| {
        let script = format!(
            "
from kombu.exceptions import OperationalError
from proj import add
for n in {numbers}:
    while True:
        try:
            add.delay(n, 100)
            break
        except OperationalError as error:
            assert 'No master found' in str(error), error
"
        );
        client(&folder, &url, &script);
    };
    client(&folder, &url, "from proj import wait\nwait.delay('go')");
    worker.wait_for_line("proj.wait", DEADLINE);
    send("range(3)");
    sentinels.wait_until_replicated();
    sentinels.fail_over();
    folder.dir.write("go", "");
    send("range(3, 6)");
    eventually(DEADLINE, "all run", || (worker.log().matches(" succeeded in ").count() == 7).then_some(()));
    for number in 0..6 {
        let result = format!("s: {}", 100 + number);
        assert_eq!(worker.log().matches(&result).count(), 1, "{}", worker.log());
    }
    assert_eq!(end(&worker, &[Signal::TERM]), Some(0), "{}", worker.log());
}
