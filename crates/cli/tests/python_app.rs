//! The example `examples/python_app`, as its own text says to run it.

use std::fs;

use celeriac_testkit::{Process, Python, Signal, TempDir, workspace_root};

use crate::hello::{DEADLINE, end};

#[test]
fn the_python_example_needs_no_server() {
    let dir = TempDir::new();
    dir.write("words.py", fs::read(workspace_root().join("examples/python_app/words.py")).unwrap());
    dir.write("one.txt", "leaf leaf root");
    dir.write("two.txt", "Leaf stem");

    let mut python = Python::find().command();
    let mut celeriac = std::process::Command::new(env!("CARGO_BIN_EXE_celeriac"));
    celeriac
        .arg("--python")
        .arg(python.get_program())
        .args(["-A", "words", "worker", "-c", "2", "-l", "info"]);
    let worker = Process::start(celeriac.current_dir(dir.path()));
    worker.wait_for_line(" ready.", DEADLINE);

    let client = python.args(["words.py", "one.txt", "two.txt"]).current_dir(dir.path());
    let counted = client.output().unwrap();
    let (out, errors) = (String::from_utf8_lossy(&counted.stdout), String::from_utf8_lossy(&counted.stderr));
    assert!(counted.status.success(), "{errors}\n{}", worker.log());
    let words: Vec<_> = out.lines().map(str::trim).collect();
    assert_eq!(words, ["3 leaf", "1 root", "1 stem"], "{}", worker.log());
    for task in ["words.count", "words.most"] {
        assert!(worker.log().contains(&format!("Task {task}[")), "celeriac has run {task}: {}", worker.log());
    }
    assert_eq!(end(&worker, &[Signal::TERM]), Some(0), "{}", worker.log());
}
