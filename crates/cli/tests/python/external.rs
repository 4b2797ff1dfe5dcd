//! Logging in by a certificate instead of a password.

use std::collections::BTreeSet;

use celeriac_testkit::{Process, Python, RabbitMq, Signal, eventually};
use serde_json::json;

use crate::hello::{DEADLINE, end};
use crate::python::Folder;

const APP: &str = "
import os, ssl
from celery import Celery
app = Celery('proj', broker=os.environ['BROKER'], backend='rpc://')
app.conf.broker_login_method = 'EXTERNAL'
app.conf.broker_use_ssl = {
    'ca_certs': os.environ['CA'], 'certfile': os.environ['CERTIFICATE'], 'keyfile': os.environ['KEY'],
    'cert_reqs': ssl.CERT_REQUIRED, 'server_hostname': 'localhost',
}

@app.task
def add(x, y):
    return x + y
";

const CLIENT: &str = "
from proj import app, add
print(add.delay(2, 2).get(timeout=60), app.control.ping(timeout=5))
";

#[test]
fn a_certificate_logs_in_as_the_user_that_it_names() {
    let server = RabbitMq::start_with_tls();
    server.put("users/somebody", &json!({"password_hash": "", "tags": ""}));
    let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
    server.put("permissions/%2F/somebody", &all);
    let (url, tls) = server.tls().unwrap();
    let (certificate, key) = tls.client("somebody");
    let variables = [
        ("BROKER", url.replace("guest:guest@", "").into()),
        ("CA", tls.authority()),
        ("CERTIFICATE", certificate),
        ("KEY", key),
    ];
    let folder = Folder::new(APP);
    let mut command = folder.command(&["-A", "proj", "worker", "-l", "info", "-n", "w1@box", "-c", "1"]);
    let worker = Process::start(command.envs(variables.clone()));
    worker.wait_for_line(" ready.", DEADLINE);

    let mut client = Python::find().command();
    let out = client.args(["-c", CLIENT]).current_dir(folder.dir.path()).envs(variables).output().unwrap();
    let told = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(told.starts_with("4 [{'w1@box': {'ok': 'pong'}}]"), "{told}{out:?}{}", worker.log());

    // Ours, and the child's that has sent the result.
    let logins = eventually(DEADLINE, "the connections", || {
        let found = server.management("connections");
        let found = found.as_array().filter(|found| found.len() >= 2)?.clone();
        let login = |name: &str| found.iter().map(|one| one[name].to_string()).collect::<BTreeSet<_>>();
        Some((login("user"), login("auth_mechanism")))
    });
    let only = |text: &str| BTreeSet::from([format!("{text:?}")]);
    assert_eq!(logins, (only("somebody"), only("EXTERNAL")));
    assert_eq!(end(&worker, &[Signal::TERM]), Some(0), "{}", worker.log());
}
