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

/// A part of a round: its name, and whether the client that runs nothing takes part.
struct Part {
    name: &'static str,
    has_bare: bool,
    run: fn(&RabbitMq, Contender, &Plan) -> Result<Figures>,
}

const PARTS: [Part; 5] = [
    Part { name: "drained", has_bare: false, run: drained::drained },
    Part { name: "idle", has_bare: true, run: latency::idle },
    Part { name: "paced", has_bare: true, run: latency::paced },
    Part { name: "memory", has_bare: false, run: rest::memory },
    Part { name: "start", has_bare: false, run: rest::start },
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
        let unknown = plan.only.iter().find(|name| PARTS.iter().all(|part| part.name != **name));
        ensure!(unknown.is_none(), "{unknown:?} is not one of {}", PARTS.map(|part| part.name).join(", "));
        Ok(plan)
    }

    fn parts(&self, contender: Contender) -> impl Iterator<Item = Part> {
        let wanted = |name: &str| self.only.is_empty() || self.only.iter().any(|only| only == name);
        let takes_part = move |part: &Part| part.has_bare || contender != Contender::Bare;
        PARTS.into_iter().filter(move |part| wanted(part.name) && takes_part(part))
    }
}

/// Measures all in turn, several rounds, and prints medians and ratios.
///
/// # Errors
/// When one does not build, does not start, or does no work.
pub fn hosted(plan: &Plan) -> Result<()> {
    contender::build()?;
    let server = RabbitMq::start_plain();
    let mut rounds = [const { Vec::new() }; 3];
    for number in 1..=plan.rounds {
        for (contender, rounds) in Contender::ALL.into_iter().zip(&mut rounds) {
            for part in plan.parts(contender) {
                let figures = (part.run)(&server, contender, plan)?;
                for (name, figure) in &figures {
                    eprintln!("round {number}: {}: {name} {figure:.2}", contender.name());
                }
                rounds.extend(figures);
            }
        }
    }
    report(&rounds);
    if plan.soak > 0 {
        drained::soak(&server, plan.soak)?;
    }
    Ok(())
}

fn report([celery, celeriac, bare]: &[Figures; 3]) {
    let of = |figures: &Figures, wanted: &str| {
        median(figures.iter().filter(|(name, _)| *name == wanted).map(|(_, figure)| *figure).collect())
    };
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in celery {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let rows = names.into_iter().map(|name| {
        let (theirs, ours, least) = (of(celery, name), of(celeriac, name), of(bare, name));
        let least = if least.is_nan() { "-".to_owned() } else { format!("{least:.2}") };
        vec![
            name.to_owned(),
            format!("{theirs:.2}"),
            format!("{ours:.2}"),
            format!("{:.3}", ours / theirs),
            least,
        ]
    });
    print(&["median", "celery", "celeriac", "celeriac / celery", "bare"], &rows.collect::<Vec<_>>());
}
