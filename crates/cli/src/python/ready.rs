//! What command line and app together say of a worker, before anything of it starts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use celeriac::GossipMode;
use celeriac::cli::parts::{self, Format, Level};
use celeriac_protocol::Value;
use celeriac_python::pool::{Home, Kind};
use celeriac_python::report::{Features, Report};
use celeriac_worker::{Autoscale, Settings};

use super::error::Stop;
use super::log::{Relayed, relay};
use super::parse::Given;

/// What is known before anything of the worker starts.
pub struct Ready {
    /// What the worker is told.
    pub settings: Settings,
    /// Where its process id goes.
    pub pidfile: Option<PathBuf>,
    /// Celery's own statedb, which is read at the start and written at the end; ours is beside it.
    pub shelf: Option<String>,
    logfile: Option<String>,
}

impl Ready {
    /// Brings together what was given and what the app says.
    pub fn new(given: &Given, report: &Report) -> Result<Self, Stop> {
        if !report.unsupported.is_empty() {
            for what in &report.unsupported {
                eprintln!("celeriac: this does not run here: {what}");
            }
            if kind(report).is_none() {
                return Err(Stop::Other(anyhow!("choose another pool, or run the app with `celery worker`")));
            }
            if !given.flag("ignore_unsupported") {
                return Err(Stop::Other(anyhow!(
                    "run the app with `celery worker`, or leave it out by --ignore-unsupported"
                )));
            }
        }
        let mut settings = report.settings(&features(given)).map_err(anyhow::Error::from)?;
        parts::revokes(&mut settings)?;
        parts::heartbeat(&settings)?;
        if let Some((max, min)) = autoscale(report) {
            settings.concurrency = min;
            settings.autoscale = Some(Autoscale { max, min, keepalive: parts::autoscale_keepalive()? });
        }
        let file = |name: Option<&str>| {
            let expanded = name.map(|name| parts::file_name(name, &settings.hostname));
            expanded.transpose().map_err(Stop::Usage)
        };
        let shelf = file(report.worker.statedb.as_deref())?;
        let pidfile = file(report.worker.pidfile.as_deref())?.map(PathBuf::from);
        let logfile = file(report.worker.logfile.as_deref())?;
        settings.statedb = shelf.as_ref().map(|shelf| PathBuf::from(format!("{shelf}.celeriac")));
        Ok(Ready { settings, pidfile, shelf, logfile })
    }

    /// From here on lines are logged as the app wants them: by its own logging, or as Celery would set that up.
    pub fn start_log(
        &self,
        given: &Given,
        report: &Report,
        home: &Arc<Home>,
    ) -> Result<Option<Relayed>, Stop> {
        let format = report.text("worker_log_format").map(Format::parse).unwrap_or_default();
        // Celery has colours on terminals only, also where they are asked for.
        let plain = given.flag("no_color") || report.flag("worker_log_color") == Some(false);
        let level = Level::from_number(report.worker.loglevel);
        let log = parts::open_log(level, format, self.logfile.clone(), plain.then_some(false))?;
        let (outcome, relayed) = match report.worker.log_through_app.map(Level::from_number) {
            Some(level) => {
                let (relay, relayed) = relay(level, home.clone(), log);
                (tracing::subscriber::set_global_default(relay), Some(relayed))
            }
            None => (tracing::subscriber::set_global_default(log.lines()), None),
        };
        outcome.map_err(anyhow::Error::from)?;
        Ok(relayed)
    }
}

fn features(given: &Given) -> Features {
    let seconds = given.app.get("heartbeat_interval").and_then(Value::as_i64);
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
    Features {
        gossip: !given.flag("without_gossip"),
        gossip_mode: given.text("gossip").and_then(GossipMode::from_name).unwrap_or_default(),
        mingle: !given.flag("without_mingle"),
        heartbeat: !given.flag("without_heartbeat"),
        heartbeat_interval: seconds.map(Duration::from_secs),
    }
}

/// The pool that the app is to run in.
pub fn kind(report: &Report) -> Option<Kind> {
    Kind::from_name(&report.worker.pool)
}

/// The most and the fewest that run at once, where the pool has a choice.
fn autoscale(report: &Report) -> Option<(usize, usize)> {
    report.worker.autoscale.filter(|(max, _)| *max > 0 && kind(report) != Some(Kind::Solo))
}

/// What the app asks for and this worker does not do, a line each.
pub fn notes(report: &Report) -> Vec<String> {
    let mut notes = report.read.unsupported.clone();
    // Two brokers may have the same gap.
    notes.extend(
        report.write.unsupported.iter().filter(|note| !report.read.unsupported.contains(note)).cloned(),
    );
    let (facts, kind) = (&report.worker, kind(report));
    if facts.autoscale.is_some() && autoscale(report).is_none() {
        notes.push("--autoscale: the pool solo runs one task at a time".to_owned());
    }
    if kind == Some(Kind::Threads) && (facts.time_limit.is_some() || facts.soft_time_limit.is_some()) {
        notes.push("The pool threads has no time limits, as in Celery: nobody can end a thread".to_owned());
    }
    notes
}
