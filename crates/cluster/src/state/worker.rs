use std::sync::Arc;

use celeriac_protocol::{Event, Map, Value};

/// How much later than its interval a heartbeat may come, in percent of it (`HEARTBEAT_EXPIRE_WINDOW`).
const EXPIRE_WINDOW: f64 = 200.0;
/// Heartbeats that are remembered (`heartbeat_max`).
const HEARTBEATS: usize = 4;
/// Clocks may differ by so many seconds without a word (`HEARTBEAT_DRIFT_MAX`).
const DRIFT_MAX: f64 = 16.0;
/// The interval of heartbeats in seconds while the worker has told none.
const FREQ: f64 = 60.0;
/// Intervals that are believed, in seconds: a worker can ask neither to be lost at once nor to live for ever.
const FREQS: std::ops::RangeInclusive<f64> = 0.1..=86_400.0;
/// The most bytes of a name or version.
const MAX_TEXT: usize = 255;
/// The most bytes, roughly, of what a celeriac worker tells of itself.
const MAX_EXTRA: usize = 4096;

/// A worker, as its events tell (`Worker` of `celery/events/state.py`).
///
/// Only these fields are kept: a field of another name cannot hide one of ours, as it does in Celery.
#[derive(Debug, Clone, PartialEq)]
pub struct Worker {
    /// The node's name.
    pub hostname: Arc<str>,
    /// Its process id.
    pub pid: Option<i64>,
    /// The interval of its heartbeats in seconds, between 0.1 and a day.
    pub freq: f64,
    /// When we last heard of it, in seconds since 1970 by our clock, oldest first: four at most.
    pub heartbeats: Vec<f64>,
    /// Its logical clock.
    pub clock: u64,
    /// Tasks that run.
    pub active: Option<u64>,
    /// Tasks that it has taken since its start.
    pub processed: Option<u64>,
    /// The load of its machine over 1, 5 and 15 minutes.
    pub loadavg: Option<[f64; 3]>,
    /// Its software: `py-celery`, `celeriac`.
    pub sw_ident: Option<Box<str>>,
    /// The version of it.
    pub sw_ver: Option<Box<str>>,
    /// Its operating system.
    pub sw_sys: Option<Box<str>>,
    /// What only celeriac workers tell, as it came; at most about 4 kB.
    pub celeriac: Option<Map>,
    drift_told: bool,
}

/// The clocks of a worker's machine and of ours differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Drift {
    /// The worker.
    pub hostname: Arc<str>,
    /// When it sent the event, in seconds since 1970 by its clock.
    pub timestamp: f64,
    /// When we got it, by ours, less the time that it may have waited for us.
    pub local_received: f64,
}

impl Drift {
    /// By how many whole seconds they differ.
    pub fn seconds(&self) -> f64 {
        (self.local_received.trunc() - self.timestamp.trunc()).abs()
    }
}

impl Worker {
    /// A worker of which nothing was heard yet.
    pub fn new(hostname: impl Into<Arc<str>>) -> Self {
        Worker {
            hostname: hostname.into(),
            pid: None,
            freq: FREQ,
            heartbeats: Vec::new(),
            clock: 0,
            active: None,
            processed: None,
            loadavg: None,
            sw_ident: None,
            sw_ver: None,
            sw_sys: None,
            celeriac: None,
            drift_told: false,
        }
    }

    /// Takes over what one of its `worker-*` events tells, received at `local_received`, in seconds since 1970, after
    /// it waited for us for `lag` seconds at most.
    ///
    /// Returns the first drift of its clock that is worth a warning. What has the wrong type is passed over.
    pub fn update(&mut self, event: &Event, local_received: f64, lag: f64) -> Option<Drift> {
        self.pid = event.pid.or(self.pid);
        self.clock = event.clock.unwrap_or(self.clock);
        for (key, value) in event.fields.iter() {
            match key {
                "freq" => self.freq = freq(value).unwrap_or(self.freq),
                "active" => self.active = count(value).or(self.active),
                "processed" => self.processed = count(value).or(self.processed),
                "loadavg" => self.loadavg = loadavg(value).or(self.loadavg),
                "sw_ident" => set(&mut self.sw_ident, value),
                "sw_ver" => set(&mut self.sw_ver, value),
                "sw_sys" => set(&mut self.sw_sys, value),
                "celeriac" if size(value) <= MAX_EXTRA => self.celeriac = value.as_map().cloned(),
                _ => {}
            }
        }
        if event.subject() == "offline" {
            self.heartbeats.clear();
            return None;
        }
        self.heard(event.timestamp, local_received, lag)
    }

    /// Notes that it lives: any event of its own shows that, not only its heartbeats.
    pub(super) fn heard(&mut self, timestamp: f64, local_received: f64, lag: f64) -> Option<Drift> {
        if self.heartbeats.len() >= HEARTBEATS {
            self.heartbeats.remove(0);
        }
        let place = self.heartbeats.partition_point(|heartbeat| *heartbeat <= local_received);
        self.heartbeats.insert(place, local_received);
        if self.drift_told {
            return None;
        }
        // Whoever is late may only have waited; nothing comes before it was sent.
        let late = local_received - timestamp;
        let local_received = if late > 0.0 { timestamp + (late - lag).max(0.0) } else { local_received };
        let drift = Drift { hostname: self.hostname.clone(), timestamp, local_received };
        self.drift_told = drift.seconds() > DRIFT_MAX;
        self.drift_told.then_some(drift)
    }

    /// When it is lost unless it is heard of, in seconds since 1970; `None` while it is not heard of.
    pub fn heartbeat_expires(&self) -> Option<f64> {
        self.heartbeats.last().map(|last| last + self.freq * EXPIRE_WINDOW / 100.0)
    }

    /// Whether it was heard of lately.
    pub fn alive(&self, now: f64) -> bool {
        self.heartbeat_expires().is_some_and(|expires| now < expires)
    }

    /// `HOSTNAME.PID`, which orders workers whose clocks are equal.
    pub fn id(&self) -> String {
        let pid = self.pid.map_or("None".to_owned(), |pid| pid.to_string());
        format!("{}.{pid}", self.hostname)
    }
}

fn freq(value: &Value) -> Option<f64> {
    let freq = value.as_f64().filter(|freq| !freq.is_nan())?;
    Some(freq.clamp(*FREQS.start(), *FREQS.end()))
}

fn count(value: &Value) -> Option<u64> {
    value.as_i64().and_then(|count| u64::try_from(count).ok())
}

fn loadavg(value: &Value) -> Option<[f64; 3]> {
    let mut load = [0.0; 3];
    let values = value.as_list().filter(|values| values.len() == load.len())?;
    for (load, value) in load.iter_mut().zip(values) {
        *load = value.as_f64().filter(|load| load.is_finite())?;
    }
    Some(load)
}

/// Heartbeats repeat these texts, so most of the time nothing changes.
fn set(field: &mut Option<Box<str>>, value: &Value) {
    if let Some(text) = value.as_str()
        && text.len() <= MAX_TEXT
        && field.as_deref() != Some(text)
    {
        *field = Some(text.into());
    }
}

/// About how many bytes a value takes.
fn size(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::List(items) => items.iter().map(size).sum(),
            Value::Map(map) => map.iter().map(|(key, value)| key.len() + size(value)).sum(),
            Value::Bytes(bytes) => bytes.len(),
            Value::String(text)
            | Value::BigInt(text)
            | Value::DateTime(text)
            | Value::Date(text)
            | Value::Time(text)
            | Value::Decimal(text)
            | Value::Uuid(text) => text.len(),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => 0,
        }
}
