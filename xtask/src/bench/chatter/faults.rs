//! Workers that die, and elections.

use std::hash::{BuildHasher, RandomState};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::log::{Line, lines};
use super::report::Row;
use super::rest::Rest;
use super::swarm::{Death, LOST, Swarm, program};
use crate::bench::table::quantile;
use crate::cargo::run;

const DEADLINE: Duration = Duration::from_secs(60);
/// What is told twice is told by then, and what an election says is said.
const AFTERWARDS: Duration = Duration::from_secs(3);

/// How many workers crash at most, and in which time.
const CRASHES: usize = 20;
const CRASHING: Duration = Duration::from_secs(8);
/// How many faults of a kind are told one by one.
const SHOWN: usize = 10;

/// Kills workers that do not watch, each at a random moment: how long until each other has told each of them.
pub fn crash(swarm: &mut Swarm, row: &mut Row) -> Result<()> {
    let watchers: Vec<String> = if swarm.system.leads() { watchers(swarm)? } else { Vec::new() };
    let mut names: Vec<String> = swarm.alive().map(|worker| worker.name.clone()).collect();
    let most = (names.len() / 5).clamp(1, CRASHES);
    names.retain(|name| !watchers.contains(name));
    ensure!(!names.is_empty(), "all watch");
    names.sort_by_cached_key(|_| random());
    names.truncate(most);
    let moment = |_: &String| CRASHING.mul_f64(random() as f64 / u64::MAX as f64);
    let mut moments: Vec<Duration> = names.iter().map(moment).collect();
    moments.sort_unstable();
    let begun = Instant::now();
    let mut deaths = Vec::new();
    for (name, moment) in names.into_iter().zip(moments) {
        // At any moment of the heartbeats and of the looks at them: one death would be one sample of that.
        thread::sleep(moment.saturating_sub(begun.elapsed()));
        let at = swarm.kill(std::slice::from_ref(&name))?;
        deaths.push(Death { name, at });
    }
    let (told, once) = told(swarm, &deaths);
    row.put("told p50", quantile(&told, 0.5));
    row.put("told p99", quantile(&told, 0.99));
    row.put("told max", quantile(&told, 1.0));
    once
}

/// Kills the lead and all other watchers at once: how long until all others follow a new lead, and know the same.
pub fn kill_watchers(swarm: &mut Swarm, row: &mut Row) -> Result<()> {
    let names = watchers(swarm)?;
    let at = swarm.kill(&names)?;
    let followed = follow(swarm, at, row);
    let deaths: Vec<Death> = names.into_iter().map(|name| Death { name, at }).collect();
    let (told, once) = told(swarm, &deaths);
    row.put("watchers told", quantile(&told, 1.0));
    followed.and(once)
}

/// Waits until all follow one new lead, and know the same.
fn follow(swarm: &Swarm, at: f64, row: &mut Row) -> Result<()> {
    let changed = |line: &Line<'_>| line.at >= at && new_lead(line.text).is_some();
    let (_, missing) = swarm.wait_for(DEADLINE, changed)?;
    ensure!(missing.is_empty(), "{} follow no new lead: {missing:?}", missing.len());
    let begun = swarm.begun();
    row.put("new roster", begun + swarm.wait_until_equal()? - at);
    let lead = swarm.ask()?.into_iter().next().context("an answer")?.lead;
    let mut last = at;
    for worker in swarm.alive() {
        let log = worker.log();
        let own = |line: &Line<'_>| new_lead(line.text).is_some_and(|name| name == lead || name.is_empty());
        // The last change that is not a word of the old lead's.
        let follows = lines(&log).filter(|line| line.at >= at && own(line)).map(|line| line.at).last();
        last = last.max(follows.with_context(|| format!("{} does not follow {lead}", worker.name))?);
    }
    row.put("new lead", last - at);
    Ok(())
}

/// Has all stand for one election, and counts what that takes beside the chatter of a quiet cluster.
pub fn elect(swarm: &mut Swarm, rest: &Rest, row: &mut Row) -> Result<()> {
    let (before, begun) = (swarm.server.totals(), Instant::now());
    run(program().args(["elect", &swarm.server.url(), "bench"]))?;
    let decided = |line: &Line<'_>| {
        line.text == "I won the election 'bench'" || line.text.ends_with("elected for 'bench'")
    };
    let (_, missing) = swarm.wait_for(DEADLINE, decided)?;
    ensure!(missing.is_empty(), "{} know of no winner: {missing:?}", missing.len());
    thread::sleep(AFTERWARDS);
    let (after, seconds) = (swarm.server.totals(), begun.elapsed().as_secs_f64());
    let beside = |before: u64, after: u64, rate: f64| after.saturating_sub(before) as f64 - rate * seconds;
    row.put("election published", beside(before.published, after.published, rest.published));
    row.put("election delivered", beside(before.delivered, after.delivered, rest.delivered));
    let won = |log: String| log.matches("I won the election 'bench'").count();
    let winners: usize = swarm.alive().map(|worker| won(worker.log())).sum();
    ensure!(winners == 1, "{winners} won the election");
    Ok(())
}

/// Seconds from each death until each alive worker told it; and whether each told each once.
fn told(swarm: &Swarm, deaths: &[Death]) -> (Vec<f64>, Result<()>) {
    let all = |log: &str| {
        let times = losses(log, deaths);
        if times.iter().any(Vec::is_empty) { None } else { times.into_iter().flatten().reduce(f64::max) }
    };
    // Who has not told by then is found below.
    let waited = swarm.wait_for_log(DEADLINE, all).map(drop);
    thread::sleep(AFTERWARDS);
    let (mut seconds, mut wrong) = (Vec::new(), Vec::new());
    for worker in swarm.alive() {
        for (death, times) in deaths.iter().zip(losses(&worker.log(), deaths)) {
            seconds.extend(times.first().map(|told| told - death.at));
            if times.len() != 1 {
                wrong.push(format!("{} told the loss of {} {} times", worker.name, death.name, times.len()));
            }
        }
    }
    let some: Vec<&str> = wrong.iter().take(SHOWN).map(String::as_str).collect();
    let once = match wrong.len() {
        0 => Ok(()),
        count => Err(anyhow!("{count} losses were not told once: {}", some.join("; "))),
    };
    (seconds, waited.and(once))
}

/// When a log tells each death, from that on.
fn losses(log: &str, deaths: &[Death]) -> Vec<Vec<f64>> {
    let mut times = vec![Vec::new(); deaths.len()];
    for line in lines(log) {
        let Some(name) = line.text.strip_prefix(LOST) else { continue };
        for (death, times) in deaths.iter().zip(&mut times) {
            if death.name == name && line.at >= death.at {
                times.push(line.at);
            }
        }
    }
    times
}

/// Another number each time: each state has keys of its own.
fn random() -> u64 {
    RandomState::new().hash_one(())
}

fn watchers(swarm: &Swarm) -> Result<Vec<String>> {
    let answer = swarm.ask()?.into_iter().next().context("nobody knows who watches")?;
    ensure!(!answer.lead.is_empty() && answer.watchers.contains(&answer.lead), "no lead: {answer:?}");
    Ok(answer.watchers)
}

/// Whom a worker follows from now on; empty when it leads itself.
fn new_lead(text: &str) -> Option<&str> {
    let name = text.strip_prefix("gossip: following ");
    let name = name.and_then(|rest| rest.split_once(" (term ")).map(|(name, _)| name);
    name.or_else(|| text.starts_with("gossip: leading (term ").then_some(""))
}

#[cfg(test)]
mod tests {
    use super::{Death, losses, new_lead};

    #[test]
    fn a_loss_counts_from_its_death_on() {
        let log = ["w1@bench", "w2@bench", "w12@bench", "w1@bench", "w1@bench"];
        let line = |(second, name)| {
            format!("[1970-01-01 00:00:0{second},500: INFO/X] missed heartbeat from {name}\n")
        };
        let log: String = log.into_iter().enumerate().map(line).collect();
        let deaths = [("w1@bench", 2.0), ("w2@bench", 1.5), ("w3@bench", 0.0)];
        let deaths = deaths.map(|(name, at)| Death { name: name.to_owned(), at });
        assert_eq!(losses(&log, &deaths), [vec![3.5, 4.5], vec![1.5], vec![]]);
    }

    #[test]
    fn a_lead_is_read_from_the_log() {
        assert_eq!(new_lead("gossip: following w1@bench (term 7)"), Some("w1@bench"));
        assert_eq!(new_lead("gossip: leading (term 7)"), Some(""));
        assert_eq!(new_lead("mingle: all alone"), None);
    }
}
