use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use celeriac_testkit::{Process, Python, Signal, TempDir, eventually};

use crate::hello::{DEADLINE, Ended, end};

/// `celeriac demo` with a folder of its own for temporary files, by which its processes are found, and no Python.
fn demo(folder: &str, tmp: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_celeriac"));
    command.args(["demo", folder]).env("TMPDIR", tmp.path()).env("VIRTUAL_ENV", "/nowhere");
    command
}

/// The demo's workers that are alive: their command lines have the temporary folder in them.
fn workers(tmp: &TempDir) -> usize {
    let needle = tmp.path().to_str().unwrap();
    let lines = fs::read_dir("/proc").unwrap().flatten();
    let lines = lines.filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(needle)).count()
}

/// A folder with so many files that the demo can be met at work.
fn large() -> TempDir {
    let dir = TempDir::new();
    let content = vec![b'x'; 1 << 20];
    for number in 0..400 {
        dir.write(&format!("{number}"), &content);
    }
    dir
}

fn is_empty(dir: &TempDir) -> bool {
    fs::read_dir(dir.path()).unwrap().next().is_none()
}

#[test]
fn every_file_is_counted_once() {
    let (dir, tmp) = (TempDir::new(), TempDir::new());
    fs::create_dir_all(dir.path().join("sub/.git")).unwrap();
    dir.write("sub/.git/HEAD", "not this");
    dir.write("empty", "");
    dir.write("without an end", "one\ntwo");
    dir.write("odd % name ?.txt", "1\n2\n3\n");
    for number in 0..50 {
        dir.write(&format!("sub/{number}"), "line\n");
    }
    let ended: Ended = demo(dir.path().to_str().unwrap(), &tmp).output().unwrap().into();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for (name, value) in [("files", "53"), ("bytes", "263"), ("lines", "55"), ("unreadable", "0")] {
        let line = ended.stdout.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
        assert_eq!(line.split_whitespace().nth(1), Some(value), "{}", ended.stdout);
    }
    assert!(ended.stdout.contains("Slowest:"), "{}", ended.stdout);
    assert!(ended.stdout.contains("Python tasks are left out"), "{}", ended.stdout);
    assert!(is_empty(&tmp), "the temporary folder is gone");
}

#[test]
fn python_counts_too_where_it_has_celery() {
    let (dir, tmp, environment) = (TempDir::new(), TempDir::new(), TempDir::new());
    dir.write("one", "leaf leaf root");
    dir.write("two", "stem\n");
    fs::create_dir(environment.path().join("bin")).unwrap();
    let python = Python::find().command();
    let script = format!("#!/bin/sh\nexec '{}' \"$@\"\n", python.get_program().display());
    let script = environment.write("bin/python", script);
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut demo = demo(dir.path().to_str().unwrap(), &tmp);
    let ended: Ended = demo.env("VIRTUAL_ENV", environment.path()).output().unwrap().into();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let (_, python) = ended.stdout.split_once("Python tasks (an app of Celery 5").unwrap();
    let words = python.lines().find(|line| line.trim_start().starts_with("words")).unwrap();
    assert_eq!(words.split_whitespace().nth(1), Some("4"), "{ended:?}");
    assert!(python.contains(" 2 of these files"), "{ended:?}");
    assert!(is_empty(&tmp) && workers(&tmp) == 0, "nothing is left: {ended:?}");
}

/// The kernel lets nobody read these, root neither.
#[test]
fn unreadable_files_fail_as_tasks_and_are_listed() {
    let tmp = TempDir::new();
    let ended: Ended = demo("/proc/sys/vm", &tmp).output().unwrap().into();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let (_, unreadable) = ended.stdout.split_once("Unreadable").unwrap();
    assert!(unreadable.contains("drop_caches: Permission denied"), "{}", ended.stdout);
}

#[test]
fn a_folder_that_is_none_is_told() {
    let tmp = TempDir::new();
    let ended: Ended = demo("/no/such/folder", &tmp).output().unwrap().into();
    assert!(ended.code == Some(1) && ended.stderr.contains("/no/such/folder: No such file"), "{ended:?}");
}

#[test]
fn an_interrupt_ends_everything() {
    let (dir, tmp) = (large(), TempDir::new());
    let process = Process::start(&demo(dir.path().to_str().unwrap(), &tmp));
    eventually(DEADLINE, "two workers", || (workers(&tmp) == 2).then_some(()));
    assert_eq!(end(&process, &[Signal::INT]), Some(130), "{}", process.log());
    assert_eq!(workers(&tmp), 0);
    assert!(is_empty(&tmp), "the temporary folder is gone");
}

#[test]
fn no_worker_outlives_a_killed_demo() {
    let (dir, tmp) = (large(), TempDir::new());
    let process = Process::start(&demo(dir.path().to_str().unwrap(), &tmp));
    eventually(DEADLINE, "two workers", || (workers(&tmp) == 2).then_some(()));
    end(&process, &[Signal::KILL]);
    eventually(DEADLINE, "the end of the workers", || (workers(&tmp) == 0).then_some(()));
}

#[test]
fn what_is_no_command_is_told() {
    let run = |args: &[&str]| -> Ended {
        Command::new(env!("CARGO_BIN_EXE_celeriac"))
            .args(args)
            .env_remove("CELERY_APP")
            .output()
            .unwrap()
            .into()
    };
    assert_eq!(run(&["--version"]).stdout, format!("celeriac {}\n", env!("CARGO_PKG_VERSION")));
    let ended = run(&["nonsense"]);
    assert!(ended.code == Some(2) && ended.stderr.contains("'nonsense'"), "{ended:?}");
}
