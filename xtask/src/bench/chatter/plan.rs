//! What is measured.

use anyhow::{Context, Result, bail};

use crate::bench::USAGE;

/// Whose cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// celeriac's, with its default gossip.
    Watch,
    /// celeriac's, heartbeats in a stream.
    Stream,
    /// celeriac's, with Celery's gossip.
    Classic,
    /// Python's.
    Celery,
}

impl System {
    /// Its name in tables and in the plot.
    pub fn name(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Stream => "stream",
            Self::Classic => "classic",
            Self::Celery => "celery",
        }
    }

    /// Whether it has a lead and watchers.
    pub fn leads(self) -> bool {
        matches!(self, Self::Watch | Self::Stream)
    }
}

/// What the command line asks for.
#[derive(Debug)]
pub struct Plan {
    sizes: [(System, Vec<usize>); 4],
    /// How long a cluster at rest is counted.
    pub seconds: u64,
    /// How long the largest watch cluster runs with all cores busy.
    pub minutes_loaded: u64,
    /// Where the plot and its data go, from the workspace's root.
    pub out: String,
}

impl Plan {
    pub fn parse(args: &[&str]) -> Result<Self> {
        let mut plan = Self {
            sizes: [
                (System::Watch, vec![10, 40, 100, 300, 1000]),
                (System::Stream, vec![10, 100]),
                (System::Classic, vec![10, 40, 100, 300]),
                (System::Celery, vec![10, 20, 40]),
            ],
            seconds: 30,
            minutes_loaded: 0,
            out: "docs".to_owned(),
        };
        for pair in args.chunks(2) {
            let &[name, value] = pair else { bail!("{} has no value\n{USAGE}", pair.concat()) };
            match name {
                "--sizes" => plan.sizes[0].1 = sizes(value)?,
                "--stream" => plan.sizes[1].1 = sizes(value)?,
                "--classic" => plan.sizes[2].1 = sizes(value)?,
                "--python" => plan.sizes[3].1 = sizes(value)?,
                "--seconds" => plan.seconds = value.parse().context("--seconds")?,
                "--minutes-loaded" => plan.minutes_loaded = value.parse().context("--minutes-loaded")?,
                "--out" => plan.out = value.to_owned(),
                _ => bail!("no such option: {name}\n{USAGE}"),
            }
        }
        Ok(plan)
    }

    /// All clusters, in their order.
    pub fn clusters(&self) -> impl Iterator<Item = (System, usize)> {
        self.sizes.iter().flat_map(|(system, sizes)| sizes.iter().map(|size| (*system, *size)))
    }

    /// Whether this is the cluster that is to run with all cores busy.
    pub fn is_loaded(&self, system: System, size: usize) -> bool {
        let largest =
            self.clusters().filter(|(other, _)| *other == System::Watch).map(|(_, size)| size).max();
        self.minutes_loaded > 0 && system == System::Watch && largest == Some(size)
    }
}

/// `10,100`; `0` for none.
fn sizes(text: &str) -> Result<Vec<usize>> {
    let sizes: Result<Vec<usize>, _> = text.split(',').map(str::parse).collect();
    let sizes = sizes.with_context(|| format!("sizes must be numbers with commas between, not {text}"))?;
    Ok(sizes.into_iter().filter(|size| *size > 0).collect())
}
