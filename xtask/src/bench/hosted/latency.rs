//! How long it takes from a message that is sent to the task's own word that it runs.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use celeriac_testkit::{AmqpProbe, Process, RabbitMq, Vhost};

use super::contender::Contender;
use super::{Figures, Plan};
use crate::bench::fill::{QUEUE, publish};
use crate::bench::table::quantile;

/// Tasks before the measurement.
const WARM: u32 = 200;
/// Tasks one by one.
const SINGLE: u32 = 1_000;
/// So long nothing happens before each of these.
const REST: Duration = Duration::from_millis(5);
/// Between two tasks of a steady pace: 100 a second.
const PACE: Duration = Duration::from_millis(10);
const DEADLINE: Duration = Duration::from_secs(60);

/// One task at a time, on a worker that has nothing else to do.
pub fn idle(server: &RabbitMq, contender: Contender, _: &Plan) -> Result<Figures> {
    let mut bench = Bench::start(server, contender)?;
    let latencies = (0..SINGLE).map(|number| bench.ping(number)).collect::<Result<Vec<_>>>()?;
    Ok(vec![
        ("latency, idle worker, p50, ms", quantile(&latencies, 0.5)),
        ("latency, idle worker, p99, ms", quantile(&latencies, 0.99)),
    ])
}

/// A task each hundredth of a second, counted from when it was due.
pub fn paced(server: &RabbitMq, contender: Contender, plan: &Plan) -> Result<Figures> {
    let Bench { mut probe, reports, worker, _vhost } = Bench::start(server, contender)?;
    let count = plan.seconds * 100;
    let begun = Instant::now() + PACE;
    let sender = thread::spawn(move || {
        for number in 0..count {
            thread::sleep((begun + PACE * number).saturating_duration_since(Instant::now()));
            publish(&mut probe, "tasks.ping", number);
            probe.flush();
        }
    });
    let latencies = (0..count).map(|_| {
        let number = next(&reports).with_context(|| worker.log())?;
        Ok(begun.elapsed().saturating_sub(PACE * number).as_secs_f64() * 1e3)
    });
    let latencies = latencies.collect::<Result<Vec<_>>>()?;
    sender.join().ok().context("the sender has failed")?;
    Ok(vec![
        ("latency, 100 tasks/s, p50, ms", quantile(&latencies, 0.5)),
        ("latency, 100 tasks/s, p99, ms", quantile(&latencies, 0.99)),
    ])
}

/// A worker that has run some tasks, and the socket to which these report.
struct Bench {
    worker: Process,
    reports: UdpSocket,
    probe: AmqpProbe,
    _vhost: Vhost,
}

impl Bench {
    fn start(server: &RabbitMq, contender: Contender) -> Result<Self> {
        let vhost = server.vhost();
        let reports = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        reports.set_read_timeout(Some(DEADLINE))?;
        let mut probe = vhost.probe();
        probe.declare(QUEUE);
        let mut command = contender.on(server, &vhost, &["-c", "2", "-l", "warning"]);
        let worker = Process::start(command.env("REPORT", reports.local_addr()?.port().to_string()));
        let mut bench = Self { worker, reports, probe, _vhost: vhost };
        for number in 0..WARM {
            bench.ping(number)?;
        }
        Ok(bench)
    }

    /// Milliseconds from the publishing of one task to its word.
    fn ping(&mut self, number: u32) -> Result<f64> {
        thread::sleep(REST);
        let sent = Instant::now();
        publish(&mut self.probe, "tasks.ping", number);
        self.probe.flush();
        next(&self.reports).with_context(|| self.worker.log())?;
        Ok(sent.elapsed().as_secs_f64() * 1e3)
    }
}

/// The number of the next task that reports.
fn next(reports: &UdpSocket) -> io::Result<u32> {
    let mut text = [0; 16];
    let size = reports.recv(&mut text)?;
    let number = text.get(..size).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    number.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
