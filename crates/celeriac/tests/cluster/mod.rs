//! The example `hello` as a worker in a cluster with Python's workers, clients and monitors.

mod article;
mod elections;
mod flower;
mod hostile;
mod mixed;
mod remote;
mod watch;
mod watch_hostile;
mod watch_mixed;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use celeriac_testkit::{CeleryWorker, PYAPP, Process, Python, Vhost, eventually, example_bin, rabbitmq};
use serde_json::Value;

pub const DEADLINE: Duration = Duration::from_secs(120);

/// A worker of ours that is ready; `name@test`, without results.
pub fn ours(vhost: &Vhost, name: &str, options: &[&str]) -> Process {
    let process = start(vhost, name, options);
    process.wait_for_line(" ready.", DEADLINE);
    process
}

/// A worker of ours that has just been started.
pub fn start(vhost: &Vhost, name: &str, options: &[&str]) -> Process {
    let mut command = Command::new(example_bin("hello"));
    command.args(["-b", &vhost.url(), "worker", "-l", "debug", "-c", "2", "-n", &format!("{name}@test")]);
    Process::start(command.args(options))
}

/// Waits until somebody is bound to what all workers tell of themselves: the lead does that a moment after its start.
pub fn heard(vhost: &Vhost) {
    let path = format!("exchanges/{}/celeryev/bindings/source", vhost.name());
    eventually(DEADLINE, "somebody who hears heartbeats", || {
        let bindings = rabbitmq().management(&path);
        bindings.as_array()?.iter().any(|binding| binding["routing_key"] == "worker.#").then_some(())
    });
}

/// The names of our connections and channels of a virtual host, once they are as many as expected and stay so.
pub fn links(vhost: &Vhost, expected: (usize, usize)) -> BTreeSet<String> {
    let list = |what: &str| rabbitmq().management(&format!("vhosts/{}/{what}", vhost.name()));
    let (mut agreed, mut before) = (0, BTreeSet::new());
    eventually(DEADLINE, &format!("{expected:?} connections and channels of {}", vhost.name()), || {
        let (connections, channels) = (list("connections"), list("channels"));
        let is_ours = |connection: &&Value| connection["client_properties"]["product"] != "py-amqp";
        let name = |link: &Value| link["name"].as_str().map(str::to_owned);
        let connections: BTreeSet<_> =
            connections.as_array()?.iter().filter(is_ours).filter_map(name).collect();
        let of_ours = |channel: &&Value| {
            let connection = channel["connection_details"]["name"].as_str();
            connection.is_some_and(|connection| connections.contains(connection))
        };
        let channels: BTreeSet<_> = channels.as_array()?.iter().filter(of_ours).filter_map(name).collect();
        let are_expected = (connections.len(), channels.len()) == expected;
        let links = &connections | &channels;
        // The figures are gathered once a second: what stays the same for two is no accident.
        agreed = if are_expected && links == before { agreed + 1 } else { 0 };
        before = links;
        std::thread::sleep(Duration::from_millis(250));
        (agreed > 8).then(|| before.clone())
    })
}

/// A worker of Python's that is ready; `name@test`, in one process and without results.
pub fn theirs(vhost: &Vhost, name: &str, options: &[&str]) -> CeleryWorker {
    let name = format!("{name}@test");
    let args: Vec<_> = ["-P", "solo", "-n", &name, "-l", "debug"].iter().chain(options).copied().collect();
    CeleryWorker::start(PYAPP, "pyapp", &args, &[("BROKER", &vhost.url())])
}

/// Runs a script with an `app` on this broker, and returns what it printed.
pub fn python(vhost: &Vhost, script: &str) -> String {
    let script = format!("import sys, json\nfrom pyapp import app\n{script}");
    Python::find().run(&script, &[], &[("BROKER", &vhost.url())])
}
