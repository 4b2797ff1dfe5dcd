//! A worker that has nothing to do.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use celeriac_testkit::RabbitMq;

use super::contender::{Contender, python};
use super::{Figures, Plan};
use crate::bench::cpu;
use crate::cargo::run;

const IDLE: Duration = Duration::from_secs(5);

/// What all processes of a worker with four children hold.
pub fn memory(server: &RabbitMq, contender: Contender, _: &Plan) -> Result<Figures> {
    let vhost = server.vhost();
    let (worker, _) = contender.start(&vhost.url(), &["-c", "4"])?;
    // What it holds after a while is the figure itself; nothing is waited for.
    thread::sleep(IDLE);
    Ok(vec![("memory, -c 4, all processes, PSS, MiB", cpu::proportional_together(worker.id()))])
}

/// From the start to the line `ready.`, and what the import of the app alone takes.
pub fn start(server: &RabbitMq, contender: Contender, _: &Plan) -> Result<Figures> {
    let begun = Instant::now();
    run(python().args(["-c", "import benchapp"]))?;
    let import = begun.elapsed().as_secs_f64();
    let vhost = server.vhost();
    let (_worker, ready) = contender.start(&vhost.url(), &["-c", "2"])?;
    Ok(vec![("start to ready, ms", ready * 1e3), ("the app's import alone, ms", import * 1e3)])
}
