//! Queues that were filled beforehand.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use celeriac_testkit::{Process, RabbitMq};

use super::contender::Contender;
use super::{Figures, Plan};
use crate::bench::cpu;
use crate::bench::fill::{QUEUE, fill};
use crate::bench::table::print;
use crate::bench::throughput::drain_by;

/// After so many tasks the parent's memory is what it stays.
const SETTLED: u32 = 50_000;
const POLL: Duration = Duration::from_millis(20);
const DEADLINE: Duration = Duration::from_secs(1800);

/// No-op tasks: speed and cost by default, and with a prefetch of 64 for each child.
pub fn drained(server: &RabbitMq, contender: Contender, plan: &Plan) -> Result<Figures> {
    let drain = |options: &[&str]| {
        let vhost = server.vhost();
        let options = [&["-c", "2", "-l", "warning"], options].concat();
        drain_by(&vhost, contender.name(), &contender.worker(&vhost.url(), &options), plan.count)
    };
    let (usual, ahead) = (drain(&[])?, drain(&["--prefetch-multiplier", "64"])?);
    Ok(vec![
        ("no-op tasks/s, -c 2", usual.tasks_per_second),
        ("CPU a task, all processes, us", usual.cpu_per_task),
        ("no-op tasks/s, --prefetch-multiplier 64", ahead.tasks_per_second),
        ("CPU a task, --prefetch-multiplier 64, us", ahead.cpu_per_task),
    ])
}

/// Many tasks through one worker of celeriac: whether its parent's memory stays what it is.
pub fn soak(server: &RabbitMq, count: u32) -> Result<()> {
    let vhost = server.vhost();
    let mut probe = vhost.probe();
    fill(&mut probe, count);
    let begun = Instant::now();
    let process = Process::start(&Contender::Celeriac.worker(&vhost.url(), &["-c", "4", "-l", "warning"]));
    let mut resident_after = |left: u32| -> Result<f64> {
        while probe.queue(QUEUE).is_none_or(|queue| queue.depth > left) {
            ensure!(process.exit_status().is_none(), "it ended:\n{}", process.log());
            ensure!(begun.elapsed() < DEADLINE, "tasks are left:\n{}", process.log());
            thread::sleep(POLL);
        }
        Ok(cpu::resident(process.id()).unwrap_or(f64::NAN))
    };
    let (settled, end) = (resident_after(count.saturating_sub(SETTLED))?, resident_after(0)?);
    let row = |tasks: u32, resident: f64| vec![tasks.to_string(), format!("{resident:.2}")];
    print(&["tasks through -c 4", "MiB resident, parent"], &[row(SETTLED, settled), row(count, end)]);
    Ok(())
}
