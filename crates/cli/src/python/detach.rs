//! `-D`: the worker as a process of its own, without a terminal.

use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use anyhow::{Context, Result};
use rustix::stdio::{dup2_stderr, dup2_stdin, stdin};

/// In the environment of the process that has been detached.
const MARK: &str = "CELERIAC_DETACHED";

/// Starts this command line again in a session of its own, and waits until that has started or given up, which it says
/// on our standard error; what this process is to end with. `None` in the process that is the worker.
///
/// # Errors
/// When the system refuses.
pub fn detach() -> Result<Option<ExitCode>> {
    if env::var_os(MARK).is_some() {
        // One that starts anew after a hangup leads its session already.
        let _ = rustix::process::setsid();
        return Ok(None);
    }
    let program = env::current_exe().context("cannot find this program")?;
    let (mut ours, theirs) = UnixStream::pair().context("cannot start in the background")?;
    let mut command = Command::new(program);
    command.args(env::args_os().skip(1)).env(MARK, "1");
    command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
    let mut worker = command.spawn().context("cannot start in the background")?;
    drop(command); // with its end of the pair
    Ok(Some(match ours.read(&mut [0]) {
        Ok(1..) => ExitCode::SUCCESS,
        _ => code(worker.wait().context("the process in the background")?),
    }))
}

/// In the process that is the worker: it has started, nobody waits for it any more, and it has no terminal.
///
/// # Errors
/// When the system refuses.
pub fn started() -> io::Result<()> {
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stderr(&nothing)?;
    // Started anew after a hangup it has nobody to tell.
    let _ = rustix::io::write(stdin(), b"1");
    Ok(dup2_stdin(&nothing)?)
}

/// As a shell shows it.
fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}
