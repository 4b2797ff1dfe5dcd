//! Where the worker's own lines go, and how they look.

use celeriac_testkit::{Process, Python, Signal, Vhost, rabbitmq};

use crate::hello::end;
use crate::python::{APP, Folder};

/// Runs one task with this added to the app; standard error, and what the app has written to `own.log`.
fn logged(added: &str) -> (String, String) {
    let folder = Folder::new(&format!("{APP}\nimport logging\nfrom celery import signals\n{added}"));
    let vhost = Vhost::new(rabbitmq());
    let variables = [("BROKER", vhost.url()), ("BACKEND", "rpc://".to_owned())];
    let args = ["-A", "proj", "worker", "-l", "info", "-n", "w1@box", "-c", "1"];
    let worker = Process::start(folder.command(&args).envs(variables.clone()));
    let mut client = Python::find().command();
    client.args(["-c", "from proj import add\nprint(add.delay(2, 2).get(timeout=60))"]);
    let client = client.current_dir(folder.dir.path()).envs(variables).output().unwrap();
    assert!(client.stdout.starts_with(b"4"), "{client:?}{}", worker.log());
    assert_eq!(end(&worker, &[Signal::TERM]), Some(0), "{}", worker.log());
    let own = std::fs::read_to_string(folder.dir.path().join("own.log")).unwrap_or_default();
    (worker.stderr(), own)
}

#[test]
fn receivers_of_setup_logging_get_everything() {
    let (shown, own) = logged(
        "
@signals.setup_logging.connect
def mine(**_):
    logging.basicConfig(filename='own.log', level='INFO', format='OWN %(name)s %(levelname)s %(message)s')
",
    );
    assert!(own.contains("OWN celery.apps.worker INFO w1@box ready.\n"), "{own}");
    assert!(own.contains("OWN celery.worker.strategy INFO Task proj.add["), "{own}");
    assert!(own.contains("] succeeded in "), "{own}");
    assert!(!shown.contains(" ready.") && !shown.contains("received"), "{shown}");
}

#[test]
fn a_handler_that_is_added_gets_the_worker_s_lines_too() {
    let (shown, own) = logged(
        "
@signals.after_setup_logger.connect
def more(logger, **_):
    logger.addHandler(logging.FileHandler('own.log'))

logging.getLogger('celery.worker.strategy').setLevel('ERROR')
",
    );
    assert!(own.contains("w1@box ready.\n") && !own.contains("received"), "{own}");
    assert!(shown.contains(": INFO/MainProcess] w1@box ready.\n") && !shown.contains("received"), "{shown}");
}

#[test]
fn a_root_logger_that_is_not_hijacked_keeps_its_format() {
    let (shown, _) = logged(
        "
logging.basicConfig(format='KEPT %(message)s')
app.conf.worker_hijack_root_logger = False
",
    );
    assert!(shown.contains("KEPT w1@box ready.\n") && shown.contains("KEPT Task proj.add["), "{shown}");
}

#[test]
fn formats_hold_without_python_and_colours_are_for_terminals() {
    let (shown, _) = logged(
        "
app.conf.update(worker_log_format='FORMAT %(levelname)s %(message)s', worker_log_color=True)
",
    );
    assert!(shown.contains("FORMAT INFO w1@box ready.\n") && !shown.contains('\x1b'), "{shown:?}");
}
