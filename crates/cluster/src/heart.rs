//! When a worker tells that it is there (`celery/worker/heartbeat.py`).
//!
//! The driver hands in [`Input::Start`] when events can be sent, [`Input::Tick`] at [`Heart::next_timeout`] and
//! [`Input::Stop`] before events end, each with the [`Load`] of that moment, and publishes the [`Beat`] that comes
//! back. A beat says "now": one that cannot be published at once is dropped, not kept for later. After a lost
//! connection the driver starts the heart again, which announces the worker again.

#[cfg(test)]
mod tests;

use celeriac_protocol::{Map, Value};

use crate::due::due;
use crate::watch::message::NodeId;

/// Celery's interval in seconds.
pub const INTERVAL: f64 = 2.0;
/// Seconds between heartbeats that peers can judge by; others are clamped.
const SANE: std::ops::RangeInclusive<f64> = 0.5..=60.0;
/// The `freq` that the control command `heartbeat` tells (`celery/worker/control.py`).
const ASKED_FREQ: i64 = 5;

/// What a worker says of its software.
pub const IDENT: &str = "celeriac";

/// What the worker does now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    /// Tasks that run.
    pub active: u64,
    /// Tasks accepted since the start.
    pub processed: u64,
    /// The system's load of the last 1, 5 and 15 minutes.
    pub loadavg: [f64; 3],
}

/// What happens to the heart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Events can be sent: announce the worker.
    Start,
    /// [`Heart::next_timeout`] has come.
    Tick,
    /// The control command `heartbeat` asks for one at once, which changes no timer.
    Asked,
    /// The worker ends, or events do.
    Stop,
}

/// One event to publish.
#[derive(Debug, Clone, PartialEq)]
pub struct Beat {
    /// `worker-online`, `worker-heartbeat` or `worker-offline`.
    pub kind: &'static str,
    /// Its fields, in Celery's order.
    pub fields: Map,
}

/// A worker's heart.
#[derive(Debug, Clone)]
pub struct Heart {
    interval: f64,
    incarnation: u64,
    node: Option<NodeId>,
    last: Option<f64>,
}

impl Heart {
    /// A heart at rest that beats every `interval` seconds, kept between 0.5 and 60; what is no number above 0 means
    /// Celery's 2.
    ///
    /// `incarnation` tells this process from earlier ones of its name: its start in milliseconds since 1970.
    pub fn new(interval: f64, incarnation: u64) -> Self {
        let interval = if interval > 0.0 { interval.clamp(*SANE.start(), *SANE.end()) } else { INTERVAL };
        Heart { interval, incarnation, node: None, last: None }
    }

    /// A heart that tells by which name its worker listens to the cluster's exchange.
    #[must_use]
    pub fn with_node(self, node: NodeId) -> Self {
        Heart { node: Some(node), ..self }
    }

    /// Tells from now on by which name the worker listens to the cluster's exchange, or that it does not.
    pub fn set_node(&mut self, node: Option<NodeId>) {
        self.node = node;
    }

    /// What tells this process from earlier ones of its name.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Seconds between heartbeats.
    pub fn interval(&self) -> f64 {
        self.interval
    }

    /// When [`Input::Tick`] is due, in seconds; never while the heart rests.
    pub fn next_timeout(&self) -> Option<f64> {
        Some(self.last? + self.interval)
    }

    /// What to publish now, in seconds.
    ///
    /// Heartbeats that were missed, because the machine slept or the worker stalled, are skipped: one is sent, and the
    /// next follows in the old rhythm.
    pub fn handle(&mut self, input: Input, load: Load, now: f64) -> Option<Beat> {
        match input {
            Input::Start => {
                self.last = Some(now);
                Some(self.beat("worker-online", load))
            }
            Input::Tick => {
                let last = self.last?;
                if !due(last, self.interval, now) {
                    return None;
                }
                self.last = Some(self.latest_due(last, now));
                Some(self.beat("worker-heartbeat", load))
            }
            Input::Asked => {
                let freq = ("freq", Value::Int(ASKED_FREQ));
                let fields = std::iter::once(freq).chain(self.software()).collect();
                Some(Beat { kind: "worker-heartbeat", fields })
            }
            Input::Stop => {
                self.last.take()?;
                Some(self.beat("worker-offline", load))
            }
        }
    }

    /// The last moment of the rhythm that has come; when the clock was set back, it starts anew.
    fn latest_due(&self, last: f64, now: f64) -> f64 {
        if now < last {
            return now;
        }
        // A rounding error must not make a heartbeat that is sent now due once more.
        let beats = ((now - last) / self.interval + 1e-6).floor().max(1.0);
        last + beats * self.interval
    }

    fn beat(&self, kind: &'static str, load: Load) -> Beat {
        // Two decimals, rounded up, as `celery/utils/sysinfo.py` does.
        let loadavg = load.loadavg.map(|load| Value::Float((load * 100.0).ceil() / 100.0));
        let fields = [
            ("freq", self.interval.into()),
            ("active", load.active.into()),
            ("processed", load.processed.into()),
            ("loadavg", Value::List(loadavg.into())),
        ];
        Beat { kind, fields: fields.into_iter().chain(self.software()).collect() }
    }

    /// A Python peer sets each field as an attribute of its worker object, where a name like `alive` or `id` breaks it:
    /// what is ours alone is in one dict.
    fn software(&self) -> [(&'static str, Value); 4] {
        let node = self.node.map(|node| ("node", node.to_string().into()));
        let own: Map = [("started", self.incarnation.into())].into_iter().chain(node).collect();
        [
            ("sw_ident", IDENT.into()),
            ("sw_ver", env!("CARGO_PKG_VERSION").into()),
            ("sw_sys", system().into()),
            (IDENT, own.into()),
        ]
    }
}

/// What Python's `platform.system()` says.
pub(crate) fn system() -> &'static str {
    match std::env::consts::OS {
        "linux" => "Linux",
        "macos" => "Darwin",
        "windows" => "Windows",
        "freebsd" => "FreeBSD",
        other => other,
    }
}
