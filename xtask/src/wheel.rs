//! The wheel: built by pip, installed into a fresh virtual environment, and tried.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use celeriac_testkit::{Process, Signal, TempDir, workspace_root};

use crate::cargo::{output, run};
use crate::setup::setup;

const DEADLINE: Duration = Duration::from_secs(60);

/// Installs celeriac beside Celery as a user does, and runs the example app without naming a Python; in debug mode what
/// the tests have built is built on.
///
/// # Errors
/// When it does not install or does not run.
pub fn wheel(debug: bool) -> Result<()> {
    let (root, python) = (workspace_root(), setup()?);
    let environment = root.join("target/venv-wheel");
    run(Command::new(python).args(["-m", "venv", "--clear"]).arg(&environment))?;
    let program = |name: &str| {
        let mut program = Command::new(environment.join("bin").join(name));
        program.env_remove("VIRTUAL_ENV").current_dir(root);
        program
    };
    let mut pip = program("python");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", ".", "-r"]);
    pip.arg("testkit/requirements.txt").env("CARGO_TARGET_DIR", root.join("target"));
    if debug {
        pip.env("MATURIN_PEP517_ARGS", "--profile dev");
    }
    run(&mut pip)?;

    let module =
        output(program("python").args(["-c", "import celeriac; print('celeriac', celeriac.__version__)"]))?;
    let command = output(program("celeriac").arg("--version"))?;
    ensure!(module == command, "the module is {module}, the command {command}");
    let folder = TempDir::new();
    fs::copy(root.join("examples/python_app/words.py"), folder.path().join("words.py"))?;
    let mut worker = program("celeriac");
    let worker =
        Process::start(worker.args(["-A", "words", "worker", "-l", "info"]).current_dir(folder.path()));
    worker.wait_for_line(" ready.", DEADLINE);
    worker.signal(Signal::TERM);
    ensure!(worker.wait(DEADLINE).success(), "it does not end in order:\n{}", worker.log());
    eprintln!("the wheel installs and runs");
    Ok(())
}
