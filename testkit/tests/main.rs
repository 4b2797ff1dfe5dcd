//! Servers start, serve and leave no process behind.

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{env, thread};

use celeriac_testkit::{
    AmqpProbe, CeleryWorker, PYAPP, Process, Python, RabbitMq, Redis, Signal, TaskMessage, TempDir, Totals,
    eventually, rabbitmq, redis,
};

const DEADLINE: Duration = Duration::from_secs(60);

/// A zombie that waits for its reaper counts as gone.
fn gone(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !Path::new(&format!("/proc/{pid}")).exists() || status.contains("State:\tZ")
}

#[test]
fn rabbitmq_keeps_its_durable_queues_over_stop_and_kill() {
    let server = RabbitMq::start();
    let vhost = server.vhost();
    vhost.probe().declare("kept");
    server.restart();
    assert_eq!(vhost.queue("kept").map(|queue| queue.depth), Some(0));
    server.kill();
    server.restart();
    assert_eq!(vhost.queue("kept").map(|queue| queue.consumers), Some(0));
    assert_eq!(vhost.queue("never declared"), None);
    let pid = server.id();
    drop(server);
    assert!(gone(pid));
}

#[test]
fn rabbitmq_counts_what_passes_through_it() {
    let server = RabbitMq::start_counted();
    let before = server.totals();
    let mut probe = AmqpProbe::open(server.port(), "/");
    probe.declare("counted");
    let message = TaskMessage {
        content_type: "application/json",
        headers: Vec::new(),
        correlation_id: "1",
        reply_to: "",
        body: b"{}",
    };
    probe.publish("counted", &message);
    probe.flush();
    let after = eventually(DEADLINE, "a message is counted", || {
        let totals = server.totals();
        (totals.published > before.published).then_some(totals)
    });
    let grown = |total: fn(&Totals) -> u64| total(&after) - total(&before);
    assert_eq!((grown(|t| t.published), grown(|t| t.delivered), grown(|t| t.queues)), (1, 0, 1));
    assert_eq!((grown(|t| t.connections), grown(|t| t.channels)), (1, 1));
}

#[test]
fn rabbitmq_serves_tls_with_a_certificate_of_its_authority() {
    let server = RabbitMq::start_with_tls();
    let (url, tls) = server.tls().expect("a TLS listener");
    let address = url.trim_end_matches('/').rsplit('@').next().unwrap();
    let mut client = Command::new("openssl");
    client.args(["s_client", "-connect", address, "-verify_return_error", "-brief", "-CAfile"]);
    let client = Process::start(client.arg(tls.authority()));
    assert!(client.wait(DEADLINE).success(), "{}", client.log());
}

#[test]
fn connections_of_one_virtual_host_are_closed_and_no_others() {
    let (mine, other) = (rabbitmq().vhost(), rabbitmq().vhost());
    let (mut closed, mut open) = (mine.probe(), other.probe());
    assert_eq!(mine.close_all_connections(), 1);
    assert_eq!(open.queue("none"), None);
    let asked = thread::spawn(move || closed.queue("none")).join();
    assert!(asked.is_err(), "the connection still answers");
}

#[test]
fn redis_keeps_its_data_over_a_kill() {
    let server = Redis::start();
    server.cli(&["SET", "key", "value"]);
    server.kill();
    server.restart();
    assert_eq!(server.cli(&["GET", "key"]).trim(), "value");
    let pid = server.id();
    drop(server);
    assert!(gone(pid));
}

#[test]
fn fresh_databases_differ() {
    assert_ne!(redis().fresh_url(), redis().fresh_url());
}

#[test]
fn a_python_client_reaches_a_python_worker() {
    let vhost = rabbitmq().vhost();
    let (broker, backend) = (vhost.url(), redis().fresh_url());
    let env = [("BROKER", broker.as_str()), ("BACKEND", backend.as_str())];
    let worker = CeleryWorker::start(PYAPP, "pyapp", &["-c", "1"], &env);
    let sum = "import pyapp, sys; print(pyapp.add.delay(int(sys.argv[1]), 2).get(timeout=20))";
    assert_eq!(Python::find().run(sum, &["40"], &env).trim(), "42");
    let flaky = "import pyapp; print(pyapp.flaky.delay(2).get(timeout=20))";
    assert_eq!(Python::find().run(flaky, &[], &env).trim(), "2");
    assert_eq!(worker.stop().code(), Some(0));
    assert!(worker.log().contains("succeeded in"));
}

#[test]
fn a_process_is_killed_with_its_group() {
    let mut command = Command::new("sh");
    let process = Process::start(command.args(["-c", "sleep 600 & echo child $!; wait"]));
    let line = process.wait_for_line("child", DEADLINE);
    let child = line.split(' ').nth(1).and_then(|pid| pid.parse().ok()).expect("a process id");
    process.kill();
    eventually(DEADLINE, "the child of the killed process ends", || gone(child).then_some(()));
}

#[test]
fn a_signal_reaches_the_process() {
    let mut command = Command::new("sh");
    let process =
        Process::start(command.args(["-c", "trap 'exit 3' TERM; echo set; while :; do sleep 0.01; done"]));
    process.wait_for_line("set", DEADLINE);
    assert!(process.exit_status().is_none());
    process.signal(Signal::TERM);
    assert_eq!(process.wait(DEADLINE).code(), Some(3));
}

#[test]
fn waiting_for_a_line_ends_with_the_process() {
    let process = Process::start(Command::new("echo").arg("something else"));
    let waited = panic::catch_unwind(AssertUnwindSafe(|| process.wait_for_line("never", DEADLINE)));
    let message = *waited.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("ended without the line \"never\"") && message.contains("something else"));
}

#[test]
fn a_temporary_folder_is_removed() {
    let dir = TempDir::new();
    let file = dir.write("name", "content");
    assert!(file.exists());
    drop(dir);
    assert!(!file.exists());
}

/// Run by the next test in a process of its own.
#[test]
#[ignore = "parks for ever"]
fn park_with_servers() {
    // From a thread that ends: the servers must outlive it.
    let server = thread::spawn(RabbitMq::start).join().unwrap();
    let other = Redis::start();
    println!("pids {} {}", server.id(), other.id());
    loop {
        thread::park();
    }
}

#[test]
fn servers_die_with_a_killed_test() {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "park_with_servers", "--ignored", "--nocapture"]);
    let test = Process::start(&command);
    let line = test.wait_for_line("pids ", 3 * DEADLINE);
    let pids: Vec<u32> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert_eq!(pids.len(), 2, "{line}");
    assert!(pids.iter().all(|pid| !gone(*pid)));
    test.kill();
    eventually(DEADLINE, "the servers end", || pids.iter().all(|pid| gone(*pid)).then_some(()));
}
