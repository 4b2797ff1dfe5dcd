//! What can be said of the code without running it.

use anyhow::{Context, Result};
use celeriac_testkit::workspace_root;

use crate::cargo::{cargo, run, succeeds};
use crate::lint::lint;

/// Formatting, clippy, documentation, [`lint`], cargo-deny where it is installed, and the fuzz targets.
///
/// # Errors
/// At the first that fails.
pub fn check() -> Result<()> {
    for (program, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if !succeeds(&mut cargo([program, "--version"])) {
            let mut rustup = std::process::Command::new("rustup");
            run(rustup.args(["component", "add", component])).context("install it beside cargo")?;
        }
    }
    run(&mut cargo(["fmt", "--all", "--", "--check"]))?;
    lint()?;
    run(&mut cargo(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))?;
    let mut doc = cargo(["doc", "--workspace", "--no-deps", "--quiet"]);
    run(doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    if workspace_root().join("fuzz/Cargo.toml").exists() {
        run(&mut cargo([
            "check",
            "--quiet",
            "--manifest-path",
            "fuzz/Cargo.toml",
            "--target-dir",
            "target/fuzz",
        ]))?;
    }
    if succeeds(&mut cargo(["deny", "--version"])) {
        run(&mut cargo(["deny", "check", "licenses", "bans", "sources"]))?;
    }
    Ok(())
}
