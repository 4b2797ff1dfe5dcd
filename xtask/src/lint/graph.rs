//! The packages and who depends on whom, from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cargo::{cargo, output};

/// A package of the workspace or one it depends on.
#[derive(Debug, Default)]
pub struct Package {
    pub name: String,
    pub manifest: String,
    /// One of the workspace's own.
    pub member: bool,
    /// Ids of what it links or builds with.
    pub normal: BTreeSet<String>,
    /// Ids of what only its tests and examples need.
    pub dev: BTreeSet<String>,
}

/// All packages by id.
#[derive(Debug, Default)]
pub struct Graph {
    pub packages: BTreeMap<String, Package>,
}

impl Graph {
    /// Asks cargo, for this machine's platform.
    pub fn load() -> Result<Self> {
        let host = output(Command::new("rustc").args(["--print", "host-tuple"]))?;
        let options =
            ["metadata", "--format-version", "1", "--all-features", "--filter-platform", host.trim()];
        let text = output(&mut cargo(options))?;
        Self::parse(&serde_json::from_str(&text)?).context("the output of cargo metadata")
    }

    /// The workspace's own packages.
    pub fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.values().filter(|package| package.member)
    }

    /// Names of the packages with these ids.
    pub fn names<'a>(&'a self, ids: &'a BTreeSet<String>) -> impl Iterator<Item = &'a str> {
        ids.iter().filter_map(|id| self.packages.get(id)).map(|package| package.name.as_str())
    }

    /// Names of all that a package links, itself apart.
    pub fn reachable<'a>(&'a self, from: &'a Package) -> BTreeSet<&'a str> {
        let (mut seen, mut todo) = (BTreeSet::new(), Vec::from_iter(&from.normal));
        while let Some(id) = todo.pop() {
            if seen.insert(id) {
                todo.extend(self.packages.get(id).into_iter().flat_map(|package| &package.normal));
            }
        }
        seen.into_iter().filter_map(|id| self.packages.get(id)).map(|package| package.name.as_str()).collect()
    }

    fn parse(metadata: &Value) -> Option<Self> {
        let members: BTreeSet<_> =
            metadata["workspace_members"].as_array()?.iter().map(Value::as_str).collect();
        let mut packages = BTreeMap::new();
        for package in metadata["packages"].as_array()? {
            let text = |key: &str| package[key].as_str().map(str::to_owned);
            let parsed = Package {
                name: text("name")?,
                manifest: text("manifest_path")?,
                member: members.contains(&package["id"].as_str()),
                ..Package::default()
            };
            packages.insert(text("id")?, parsed);
        }
        for node in metadata["resolve"]["nodes"].as_array()? {
            let package = packages.get_mut(node["id"].as_str()?)?;
            for dependency in node["deps"].as_array()? {
                let id = dependency["pkg"].as_str()?.to_owned();
                for kind in dependency["dep_kinds"].as_array()? {
                    let dev = kind["kind"] == "dev";
                    if dev { &mut package.dev } else { &mut package.normal }.insert(id.clone());
                }
            }
        }
        Some(Self { packages })
    }
}
