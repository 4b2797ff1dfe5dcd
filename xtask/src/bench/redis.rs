//! Workers on Redis: what a queue there costs, and what an idle cluster says.

mod chatter;
mod drained;
mod probe;

use anyhow::{Context, Result, bail, ensure};

use self::drained::Side;
use super::USAGE;
use super::hosted::contender;
use super::programs::Program;
use super::table::{median, print};

/// What the command line asks for.
#[derive(Debug)]
pub struct Plan {
    /// Tasks in a queue that is drained.
    count: u32,
    rounds: usize,
    /// Workers of an idle cluster; none when 0.
    size: usize,
    only: Vec<String>,
}

const PARTS: [&str; 3] = ["hosted", "native", "chatter"];

impl Plan {
    /// Reads the options.
    pub fn parse(args: &[&str]) -> Result<Self> {
        let mut plan = Self { count: 40_000, rounds: 3, size: 300, only: Vec::new() };
        for pair in args.chunks(2) {
            let &[name, value] = pair else { bail!("{} has no value\n{USAGE}", pair.concat()) };
            match name {
                "--count" => plan.count = value.parse().context("--count")?,
                "--rounds" => plan.rounds = value.parse().context("--rounds")?,
                "--size" => plan.size = value.parse().context("--size")?,
                "--only" => plan.only = value.split(',').map(str::to_owned).collect(),
                _ => bail!("no such option: {name}\n{USAGE}"),
            }
        }
        let unknown = plan.only.iter().find(|name| !PARTS.contains(&name.as_str()));
        ensure!(unknown.is_none(), "{unknown:?} is not one of {}", PARTS.join(", "));
        Ok(plan)
    }

    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == part)
    }
}

/// Measures what is wanted, and prints medians and ratios.
///
/// # Errors
/// When a program does not build, does not start, or does no work.
pub fn redis(plan: &Plan) -> Result<()> {
    if plan.wants("hosted") {
        contender::build()?;
        versus("hosted, -c 2", plan, [Side::Celery, Side::Hosted])?;
    }
    if plan.wants("native") {
        Program::Celeriac.build()?;
        versus("native, -c 8, 1,000 ahead", plan, [Side::CeleryAhead, Side::Native])?;
    }
    if plan.wants("chatter") && plan.size > 0 {
        chatter::chatter(plan.size)?;
    }
    Ok(())
}

/// Both drain a queue of no-op tasks in turn.
fn versus(title: &str, plan: &Plan, sides: [Side; 2]) -> Result<()> {
    let mut rounds = [Vec::new(), Vec::new()];
    for number in 1..=plan.rounds {
        for (side, rounds) in sides.into_iter().zip(&mut rounds) {
            let round = drained::drain(side, plan.count)?;
            eprintln!(
                "round {number}: {} {:.0} tasks/s, {:.1} us CPU a task, {:.1} of Redis",
                side.name(),
                round.tasks_per_second,
                round.cpu_per_task,
                round.redis_per_task
            );
            rounds.push(round);
        }
    }
    let row = |name: &str, figure: fn(&drained::Round) -> f64| {
        let [theirs, ours] = rounds.each_ref().map(|rounds| median(rounds.iter().map(figure).collect()));
        vec![name.to_owned(), format!("{theirs:.1}"), format!("{ours:.1}"), format!("{:.3}", ours / theirs)]
    };
    let rows = [
        row("no-op tasks/s", |round| round.tasks_per_second),
        row("CPU a task, all processes, us", |round| round.cpu_per_task),
        row("CPU a task, Redis, us", |round| round.redis_per_task),
    ];
    print(&[title, "celery", "celeriac", "celeriac / celery"], &rows);
    Ok(())
}
