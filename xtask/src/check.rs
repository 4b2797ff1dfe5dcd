//! What can be said of the code without running it.

use std::process::Command;

use anyhow::{Context, Result};
use celeriac_testkit::workspace_root;

use crate::cargo::{cargo, run, succeeds};
use crate::lint::lint;

/// Formatting, clippy, documentation, [`lint`], the fuzz targets and cargo-deny.
///
/// # Errors
/// At the first that fails.
pub fn check() -> Result<()> {
    for (program, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if !succeeds(&mut cargo([program, "--version"])) {
            let mut rustup = Command::new("rustup");
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
    deny()
}

/// Licences, sources and duplicates. Built once, in about three minutes, into `target/tools`.
fn deny() -> Result<()> {
    let tools = workspace_root().join("target/tools");
    let own = tools.join("bin/cargo-deny");
    if !succeeds(Command::new(&own).arg("--version")) {
        let options = ["install", "cargo-deny", "--locked", "--quiet", "--version", "0.20.2", "--root"];
        run(cargo(options).arg(&tools))?;
    }
    let mut deny = Command::new(&own);
    deny.args(["check", "--hide-inclusion-graph", "licenses", "bans", "sources"])
        .current_dir(workspace_root());
    run(&mut deny)
}
