//! The rules of the house that a machine can prove.

mod arrows;
mod clippy;
mod graph;
mod length;
mod licences;

use anyhow::{Result, ensure};
use celeriac_testkit::workspace_root;

use graph::Graph;

/// Proves the arrows, the purity of the cores, the licences and the length of files.
///
/// # Errors
/// Lists everything that is wrong; warnings are only printed.
pub fn lint() -> Result<()> {
    let graph = Graph::load()?;
    let mut wrong = arrows::check(&graph);
    wrong.extend(clippy::check(workspace_root()));
    wrong.extend(licences::check(&graph, &std::fs::read_to_string(workspace_root().join("deny.toml"))?));
    let lengths = length::check(workspace_root())?;
    wrong.extend(lengths.wrong);
    for warning in lengths.warnings.iter().chain(&graph.duplicates()) {
        eprintln!("lint: note: {warning}");
    }
    for error in &wrong {
        eprintln!("lint: error: {error}");
    }
    ensure!(wrong.is_empty(), "{} rules are broken", wrong.len());
    eprintln!("lint: the arrows, the cores, {} licences and all lengths hold", graph.packages.len());
    Ok(())
}
