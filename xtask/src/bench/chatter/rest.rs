//! A cluster that has nothing to do.

use std::thread;
use std::time::{Duration, Instant};

use super::report::Row;
use super::swarm::Swarm;
use crate::bench::cpu;
use crate::bench::table::median;

/// How many workers are asked for their share of common pages: that walks through all of their memory.
const SAMPLE: usize = 20;

/// What it costs.
#[derive(Debug)]
pub struct Rest {
    /// Messages a second.
    pub published: f64,
    /// Copies a second.
    pub delivered: f64,
    figures: Vec<(&'static str, f64)>,
}

/// Counts for a time.
pub fn measure(swarm: &Swarm, time: Duration) -> Rest {
    let pids: Vec<u32> = swarm.alive().map(|worker| worker.process.id()).collect();
    let broker = swarm.server.id();
    let used = || (cpu::own(broker), pids.iter().map(|pid| cpu::own(*pid)).sum::<f64>());
    let (before, (broker_before, workers_before), begun) = (swarm.server.totals(), used(), Instant::now());
    // The time is the measurement.
    thread::sleep(time);
    let (after, (broker_after, workers_after)) = (swarm.server.totals(), used());
    let seconds = begun.elapsed().as_secs_f64();
    let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
    let resident: Vec<f64> = pids.iter().filter_map(|pid| cpu::resident(*pid)).collect();
    let largest = resident.iter().copied().fold(f64::NAN, f64::max);
    let share = pids.iter().rev().take(SAMPLE).filter_map(|pid| cpu::proportional(*pid)).collect();
    Rest {
        published: rate(before.published, after.published),
        delivered: rate(before.delivered, after.delivered),
        figures: vec![
            ("connections", after.connections as f64),
            ("channels", after.channels as f64),
            ("queues", after.queues as f64),
            ("broker CPU %", (broker_after - broker_before) / seconds * 1e2),
            ("broker MiB", cpu::resident(broker).unwrap_or(f64::NAN)),
            ("workers CPU %", (workers_after - workers_before) / seconds * 1e2),
            ("MiB each", median(resident)),
            ("MiB max", largest),
            ("PSS each", median(share)),
        ],
    }
}

impl Rest {
    /// Adds the figures to a row.
    pub fn put(&self, row: &mut Row) {
        row.put("published/s", self.published);
        row.put("delivered/s", self.delivered);
        self.figures.iter().for_each(|(name, figure)| row.put(name, *figure));
    }
}
