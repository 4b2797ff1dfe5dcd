//! What everybody tells events to, and what sends them (`celery/events/dispatcher.py`).

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use celeriac_broker::{Address, Error, Line, Published, Topology};
use celeriac_protocol::event::{Event, group_from};
use celeriac_protocol::{LamportClock, Map, Value};
use tokio::sync::Notify;

use super::groups::Groups;
use crate::backoff::Backoff;
use crate::chatter::Chatter;
use crate::counters::Counters;
use crate::pidbox::EventSettings;
use crate::request::Facts;
use crate::wall::now;

/// The group of the events that travel together.
const TASKS: &str = "task";
/// How many events travel in one message at most.
const BATCH: usize = 100;
/// How many events are kept while they cannot be sent; the oldest go first.
const LIMIT: usize = 10_000;
/// How long the last events may take to leave at the end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Sends events. Those of tasks are gathered and travel together; each kind's first word is its group, and groups
/// can be switched off.
pub struct Dispatcher {
    hostname: Arc<str>,
    clock: Arc<LamportClock>,
    line: Arc<Line>,
    settings: EventSettings,
    exchange: Topology,
    enabled: bool,
    groups: RwLock<Groups>,
    /// What `groups` says of the group `task`.
    tasks: AtomicBool,
    /// In hours, as the bits of a float.
    utcoffset: AtomicU64,
    buffer: Mutex<VecDeque<Event>>,
    soon: Notify,
    end: Notify,
    counters: Arc<Counters>,
    chatter: Arc<Chatter>,
}

/// What a dispatcher needs to know.
pub(crate) struct DispatcherSettings {
    pub(crate) hostname: Arc<str>,
    pub(crate) settings: EventSettings,
    /// What counts the events that are dropped.
    pub(crate) counters: Arc<Counters>,
    /// What counts the messages that leave.
    pub(crate) chatter: Arc<Chatter>,
    /// Whether anything is sent at all.
    pub(crate) enabled: bool,
    /// Whether the events of tasks are (`worker_send_task_events`).
    pub(crate) task_events: bool,
}

impl Dispatcher {
    pub(crate) fn new(settings: DispatcherSettings, clock: Arc<LamportClock>, line: Arc<Line>) -> Self {
        let DispatcherSettings { hostname, settings, enabled, task_events, counters, chatter } = settings;
        let groups = if task_events { Groups::all() } else { Groups::only("worker") };
        Dispatcher {
            hostname,
            clock,
            line,
            exchange: settings.topology(),
            utcoffset: AtomicU64::new(settings.utcoffset().to_bits()),
            settings,
            enabled,
            groups: RwLock::new(groups),
            tasks: AtomicBool::new(enabled && task_events),
            buffer: Mutex::default(),
            soon: Notify::new(),
            end: Notify::new(),
            counters,
            chatter,
        }
    }

    /// Whether anything is sent at all.
    pub(super) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether events of this group are sent.
    pub fn sends(&self, group: &str) -> bool {
        self.enabled && self.groups.read().unwrap_or_else(PoisonError::into_inner).has(group)
    }

    /// Whether events of tasks are sent.
    pub fn wants_tasks(&self) -> bool {
        self.tasks.load(Ordering::Relaxed)
    }

    /// Has events of a group sent from now on; whether they were not before.
    pub fn enable(&self, group: &str) -> bool {
        self.switch(group, true)
    }

    /// Has events of a group not sent any more; whether they were before.
    pub fn disable(&self, group: &str) -> bool {
        self.switch(group, false)
    }

    fn switch(&self, group: &str, on: bool) -> bool {
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        let changed = groups.switch(group, on);
        self.tasks.store(self.enabled && groups.has(TASKS), Ordering::Relaxed);
        changed
    }

    /// Sends an event soon, together with others; kept, within bounds, while the broker is away.
    pub fn send(&self, kind: impl Into<Cow<'static, str>>, fields: Map) {
        let kind = kind.into();
        if self.sends(group_from(&kind)) {
            self.push(self.event(kind, fields));
        }
    }

    /// Sends an event of a task, which says more in the fields that `fill` adds.
    pub fn task(&self, kind: &'static str, facts: &Facts, fill: impl FnOnce(&mut Map)) {
        if !self.wants_tasks() || !facts.task.sends_events() {
            return;
        }
        let mut fields = Map::with_capacity(12);
        fields.insert("uuid", facts.headers.id.as_str());
        fill(&mut fields);
        self.push(self.event(Cow::Borrowed(kind), fields));
    }

    /// Publishes an event at once; what fails is not kept.
    ///
    /// # Errors
    /// Those of [`Line::publish_to`].
    pub async fn publish(&self, kind: impl Into<Cow<'static, str>>, fields: Map) -> Result<(), Error> {
        self.publish_now(kind.into(), fields, false).await.map(drop)
    }

    /// Publishes an event at once, and tells whether anybody hears it.
    pub(crate) async fn publish_mandatory(
        &self,
        kind: &'static str,
        fields: Map,
    ) -> Result<Published, Error> {
        self.publish_now(Cow::Borrowed(kind), fields, true).await
    }

    /// Publishes an event at once, perhaps in the name of another worker; `clock` is our own, ticked, when absent.
    pub(crate) async fn publish_as(
        &self,
        hostname: &str,
        pid: Option<i64>,
        clock: Option<u64>,
        kind: &'static str,
        fields: Map,
    ) -> Result<(), Error> {
        if !self.sends(group_from(kind)) {
            return Ok(());
        }
        let clock = clock.unwrap_or_else(|| self.clock.forward());
        let event = Event {
            kind: Cow::Borrowed(kind),
            hostname: hostname.to_owned(),
            utcoffset: Some(self.utcoffset()),
            pid,
            clock: Some(clock),
            timestamp: now(),
            fields,
        };
        let routing_key = event.routing_key();
        self.transmit(hostname, &routing_key, event.into_value(), false).await.map(drop)
    }

    async fn publish_now(
        &self,
        kind: Cow<'static, str>,
        fields: Map,
        mandatory: bool,
    ) -> Result<Published, Error> {
        if !self.sends(group_from(&kind)) {
            return Ok(Published::Accepted);
        }
        let event = self.event(kind, fields);
        self.utcoffset.store(self.settings.utcoffset().to_bits(), Ordering::Relaxed);
        let routing_key = event.routing_key();
        self.transmit(&self.hostname, &routing_key, event.into_value(), mandatory).await
    }

    fn utcoffset(&self) -> f64 {
        f64::from_bits(self.utcoffset.load(Ordering::Relaxed))
    }

    fn event(&self, kind: Cow<'static, str>, fields: Map) -> Event {
        Event {
            kind,
            hostname: self.hostname.to_string(),
            utcoffset: Some(self.utcoffset()),
            pid: Some(std::process::id().into()),
            clock: Some(self.clock.forward()),
            timestamp: now(),
            fields,
        }
    }

    fn push(&self, event: Event) {
        let mut buffer = self.buffer();
        if buffer.len() >= LIMIT {
            buffer.pop_front();
            self.drop_one();
        }
        buffer.push_back(event);
        let first = buffer.len() == 1;
        drop(buffer);
        if first {
            self.soon.notify_one();
        }
    }

    /// Sends what is gathered until it is told to [`end`](Self::end), and what is left within a while then: a broker may
    /// take nothing. What was gathered while the broker was away goes first.
    pub(super) async fn run(&self) {
        self.soon.notify_one();
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        loop {
            tokio::select! {
                biased;
                () = self.end.notified() => return last(self.flush()).await,
                () = self.soon.notified() => {}
            }
            loop {
                let flush = self.flush();
                tokio::pin!(flush);
                let flushed = tokio::select! {
                    biased;
                    flushed = &mut flush => flushed,
                    () = self.end.notified() => return last(flush).await,
                };
                let Err(error) = flushed else { break };
                tracing::debug!("events wait: {error}");
                tokio::select! {
                    () = self.end.notified() => return,
                    () = tokio::time::sleep(backoff.next()) => {}
                }
            }
            backoff.reset();
        }
    }

    /// Has [`run`](Self::run) end.
    pub(super) fn end(&self) {
        self.end.notify_one();
    }

    /// Sends all that is gathered. Those of tasks travel together, all others alone: Celery's gossip cannot read lists.
    async fn flush(&self) -> Result<(), Error> {
        loop {
            let mut unsent = Unsent { dispatcher: self, events: self.take() };
            let Some(first) = unsent.events.first() else { return Ok(()) };
            let (routing_key, body) = if first.group() == TASKS {
                let events = unsent.events.iter().cloned().map(Event::into_value);
                ("task.multi".to_owned(), Value::List(events.collect()))
            } else {
                (first.routing_key(), first.clone().into_value())
            };
            self.transmit(&self.hostname, &routing_key, body, false).await?;
            unsent.events.clear();
        }
    }

    /// What travels next: some events of tasks, or another one.
    fn take(&self) -> Vec<Event> {
        let mut buffer = self.buffer();
        let tasks = buffer.iter().take(BATCH).take_while(|event| event.group() == TASKS).count();
        let count = tasks.max(1).min(buffer.len());
        buffer.drain(..count).collect()
    }

    fn put_back(&self, batch: Vec<Event>) {
        let mut buffer = self.buffer();
        for event in batch.into_iter().rev() {
            if buffer.len() >= LIMIT {
                self.drop_one();
            } else {
                buffer.push_front(event);
            }
        }
    }

    fn drop_one(&self) {
        if self.counters.events_dropped.value() == 0 {
            tracing::warn!("more than {LIMIT} events wait for the broker: the oldest are dropped");
        }
        self.counters.events_dropped.count();
    }

    async fn transmit(
        &self,
        hostname: &str,
        routing_key: &str,
        body: Value,
        mandatory: bool,
    ) -> Result<Published, Error> {
        let message = match self.settings.message(hostname, &body) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!("an event cannot be encoded: {error}");
                return Ok(Published::Accepted);
            }
        };
        let address = Address { mandatory, ..Address::exchange(&self.settings.exchange, routing_key) };
        let published = self.line.publish_to(&self.exchange, &address, message).await?;
        self.chatter.sent(&counted(routing_key));
        Ok(published)
    }

    fn buffer(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a message of events is counted as; one of tasks may hold events of many kinds.
fn counted(routing_key: &str) -> Cow<'static, str> {
    match routing_key.strip_prefix(TASKS).is_some_and(|rest| rest.starts_with('.')) {
        true => Cow::Borrowed("task-*"),
        false => Cow::Owned(routing_key.replace('.', "-")),
    }
}

/// Gives the last events a while to leave.
async fn last(flush: impl Future<Output = Result<(), Error>>) {
    match tokio::time::timeout(PATIENCE, flush).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("the last events could not be sent: {error}"),
        Err(_) => tracing::debug!("the last events could not be sent within {PATIENCE:?}"),
    }
}

/// Events under way: what is not sent when it is dropped waits again.
struct Unsent<'a> {
    dispatcher: &'a Dispatcher,
    events: Vec<Event>,
}

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        self.dispatcher.put_back(std::mem::take(&mut self.events));
    }
}

#[cfg(test)]
mod tests {
    use celeriac_broker::{MemoryTransport, Prefetch, Subscription};

    use super::*;

    fn dispatcher(transport: &MemoryTransport) -> Dispatcher {
        let settings = DispatcherSettings {
            hostname: "w1@test".into(),
            settings: EventSettings::default(),
            counters: Arc::default(),
            chatter: Arc::default(),
            enabled: true,
            task_events: true,
        };
        Dispatcher::new(settings, Arc::default(), Arc::new(Line::new(Arc::new(transport.clone()))))
    }

    #[tokio::test]
    async fn what_cannot_be_sent_is_kept_within_bounds() {
        let transport = MemoryTransport::new();
        transport.halt();
        let dispatcher = dispatcher(&transport);
        for number in 0..=LIMIT {
            dispatcher.send("task-told", Map::from_iter([("number", Value::from(number as i64))]));
        }
        assert!(dispatcher.flush().await.is_err());
        assert_eq!((dispatcher.buffer().len(), dispatcher.counters.events_dropped.value()), (LIMIT, 1));
        let oldest = dispatcher.take().swap_remove(0);
        assert_eq!(oldest.fields.get("number"), Some(&Value::Int(1)));
    }

    #[tokio::test]
    async fn only_those_of_tasks_travel_together() {
        let transport = MemoryTransport::new();
        let dispatcher = dispatcher(&transport);
        for kind in ["task-a", "task-b", "worker-c-d", "worker-e", "my-f", "task-g"] {
            dispatcher.send(kind, Map::default());
        }
        let connection = dispatcher.line.connection().await.unwrap();
        let topology = EventSettings::default().listener("test", "#");
        connection.declare(&topology).await.unwrap();
        let (session, mut inbox) = connection.open_session(Prefetch::Unlimited).await.unwrap();
        session.subscribe(&Subscription::new(&topology.queues[0].name)).await.unwrap();
        dispatcher.flush().await.unwrap();
        let mut told = Vec::new();
        for _ in 0..5 {
            let Some(celeriac_broker::Event::Delivery(delivery)) = inbox.recv().await else { panic!() };
            let body = delivery.message.decode(&Default::default()).unwrap();
            told.push((delivery.routing_key, body.as_list().map(<[_]>::len)));
        }
        let told: Vec<_> = told.iter().map(|(key, count)| (key.as_str(), *count)).collect();
        let expected = [
            ("task.multi", Some(2)),
            ("worker.c.d", None),
            ("worker.e", None),
            ("my.f", None),
            ("task.multi", Some(1)),
        ];
        assert_eq!(told, expected);
    }
}
