//! A Python app run by celeriac and by Celery: the same app, the same options, the same RabbitMQ, turn by turn.

pub mod contender;
mod drained;
mod latency;
mod rest;

use anyhow::{Context, Result, bail, ensure};
use celeriac_testkit::RabbitMq;

use self::contender::Contender;
use super::USAGE;
use super::table::{median, print};

/// What one part of a round gave, each with its name.
type Figures = Vec<(&'static str, f64)>;

/// A part of a round.
type Part = fn(&RabbitMq, Contender, &Plan) -> Result<Figures>;

const PARTS: [(&str, Part); 5] = [
    ("drained", drained::drained),
    ("idle", latency::idle),
    ("paced", latency::paced),
    ("memory", rest::memory),
    ("start", rest::start),
];

/// What the command line asks for.
#[derive(Debug)]
pub struct Plan {
    /// Tasks in a queue that is drained.
    count: u32,
    rounds: usize,
    /// How long tasks come at a steady pace.
    seconds: u32,
    /// Tasks in a row through one worker of celeriac; none when 0.
    soak: u32,
    /// Names of parts; all when empty.
    only: Vec<String>,
}

impl Plan {
    /// Reads the options.
    pub fn parse(args: &[&str]) -> Result<Self> {
        let mut plan = Self { count: 40_000, rounds: 3, seconds: 60, soak: 0, only: Vec::new() };
        for pair in args.chunks(2) {
            let &[name, value] = pair else { bail!("{} has no value\n{USAGE}", pair.concat()) };
            match name {
                "--count" => plan.count = value.parse().context("--count")?,
                "--rounds" => plan.rounds = value.parse().context("--rounds")?,
                "--seconds" => plan.seconds = value.parse().context("--seconds")?,
                "--soak" => plan.soak = value.parse().context("--soak")?,
                "--only" => plan.only = value.split(',').map(str::to_owned).collect(),
                _ => bail!("no such option: {name}\n{USAGE}"),
            }
        }
        let unknown = plan.only.iter().find(|name| PARTS.iter().all(|(known, _)| known != name));
        ensure!(unknown.is_none(), "{unknown:?} is not one of {}", PARTS.map(|(name, _)| name).join(", "));
        Ok(plan)
    }

    fn parts(&self) -> impl Iterator<Item = Part> {
        let wanted = |name: &str| self.only.is_empty() || self.only.iter().any(|only| only == name);
        PARTS.into_iter().filter(move |(name, _)| wanted(name)).map(|(_, part)| part)
    }
}

/// Measures both in turn, several rounds, and prints medians and ratios.
///
/// # Errors
/// When one does not build, does not start, or does no work.
pub fn hosted(plan: &Plan) -> Result<()> {
    contender::build()?;
    let server = RabbitMq::start();
    let mut rounds = [Vec::new(), Vec::new()];
    for number in 1..=plan.rounds {
        for (contender, rounds) in Contender::BOTH.into_iter().zip(&mut rounds) {
            let mut round = Figures::new();
            for part in plan.parts() {
                let figures = part(&server, contender, plan)?;
                for (name, figure) in &figures {
                    eprintln!("round {number}: {}: {name} {figure:.2}", contender.name());
                }
                round.extend(figures);
            }
            rounds.push(round);
        }
    }
    report(&rounds);
    if plan.soak > 0 {
        drained::soak(&server, plan.soak)?;
    }
    Ok(())
}

fn report([celery, celeriac]: &[Vec<Figures>; 2]) {
    let of = |rounds: &[Figures], at: usize| {
        median(rounds.iter().filter_map(|round| round.get(at)).map(|(_, figure)| *figure).collect())
    };
    let names = celery.first().into_iter().flatten().map(|(name, _)| *name);
    let rows = names.enumerate().map(|(at, name)| {
        let (theirs, ours) = (of(celery, at), of(celeriac, at));
        vec![name.to_owned(), format!("{theirs:.2}"), format!("{ours:.2}"), format!("{:.3}", ours / theirs)]
    });
    print(&["median", "celery", "celeriac", "celeriac / celery"], &rows.collect::<Vec<_>>());
}
