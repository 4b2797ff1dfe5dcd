//! `-D`: the worker as a process of its own, without a terminal.

use std::env;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// In the environment of the process that has been detached.
const MARK: &str = "CELERIAC_DETACHED";

/// Starts this command line again in a session of its own; true in the process that is to end now.
pub fn detach() -> Result<bool> {
    if env::var_os(MARK).is_some() {
        // One that starts anew after a hangup leads its session already.
        let _ = rustix::process::setsid();
        return Ok(false);
    }
    let program = env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(program);
    command.args(env::args_os().skip(1)).env(MARK, "1");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().context("cannot start in the background")?;
    Ok(true)
}
