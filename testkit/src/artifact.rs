//! The programs that the tests run.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Set by `cargo xtask test`, which has built every binary and example: nothing is built again.
pub const BUILT: &str = "CELERIAC_TEST_BUILT";

/// The root folder of the workspace.
pub fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("testkit/ lies in the workspace")
}

/// A binary of the workspace, built when `cargo xtask test` has not done so.
///
/// # Panics
/// When it does not compile.
pub fn cargo_bin(name: &str) -> PathBuf {
    built("--bin", name, &profile_dir().join(name))
}

/// An example of the workspace, built when `cargo xtask test` has not done so.
///
/// # Panics
/// When it does not compile.
pub fn example_bin(name: &str) -> PathBuf {
    built("--example", name, &profile_dir().join("examples").join(name))
}

/// cargo, in the workspace's root.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo has told this program of its package: build scripts that look at it would run again for nothing, and
    // all that depends on them.
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG_")) {
        cargo.env_remove(name);
    }
    cargo.current_dir(workspace_root());
    cargo
}

fn built(kind: &str, name: &str, path: &Path) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    if env::var_os(BUILT).is_none() || !path.exists() {
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cargo = cargo();
        cargo.args(["build", "--quiet", "--workspace", kind, name]);
        if profile_dir().ends_with("release") {
            cargo.arg("--release");
        }
        let status = cargo.status().expect("cargo");
        assert!(status.success(), "cargo build {kind} {name}: {status}");
    }
    path.to_owned()
}

/// `target/debug` or its like: a test binary lies in its folder `deps`.
fn profile_dir() -> PathBuf {
    let own = env::current_exe().expect("the path of this program");
    let dir = own.parent().expect("a file lies in a folder");
    if dir.ends_with("deps") || dir.ends_with("examples") {
        dir.parent().expect("deps/ lies in a folder").to_owned()
    } else {
        dir.to_owned()
    }
}
