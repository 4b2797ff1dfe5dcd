//! The rules of the house that a machine can prove.

mod arrows;
mod clippy;
mod graph;
mod length;

use anyhow::{Result, ensure};
use celeriac_testkit::workspace_root;

use graph::Graph;

/// Proves the arrows, the purity of the cores and the length of files.
///
/// # Errors
/// Lists everything that is wrong; warnings are only printed.
pub fn lint() -> Result<()> {
    let graph = Graph::load()?;
    let mut wrong = arrows::check(&graph);
    wrong.extend(clippy::check(workspace_root()));
    let lengths = length::check(workspace_root())?;
    wrong.extend(lengths.wrong);
    for warning in &lengths.warnings {
        eprintln!("lint: note: {warning}");
    }
    for error in &wrong {
        eprintln!("lint: error: {error}");
    }
    ensure!(wrong.is_empty(), "{} rules are broken", wrong.len());
    eprintln!("lint: the arrows, the cores and the lengths hold");
    Ok(())
}
