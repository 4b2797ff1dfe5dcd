//! A delivery on its way to the executor, or to whoever lets go of it (`celery/worker/strategy.py`).

use celeriac_broker::Delivery;
use celeriac_protocol::{Map, TaskHeaders, time};
use chrono::{DateTime, Utc};

use super::Intake;
use super::unfit::{tell_invalid, tell_rejected};
use crate::request::{self, Facts, Request, Stage};

impl Intake {
    pub(super) async fn receive(&mut self, delivery: Delivery) {
        let mut ticket = self.acks.deliver(delivery.tag);
        let body = delivery.message.body.clone();
        let observer = self.consumer.observer.as_ref().filter(|observer| observer.minds_rejected()).cloned();
        let kept = observer.map(|observer| (observer, delivery.message.clone()));
        let (origin, read) = request::read(delivery, &self.consumer.settings.accept);
        let message = match read {
            Ok(message) => message,
            Err(error) => {
                self.consumer.counters.invalid.count();
                tell_invalid(&error, &origin, &body);
                ticket.refuse(false);
                if let Some((observer, message)) = kept {
                    tell_rejected(&*observer, message, &origin, &error).await;
                }
                return;
            }
        };
        let consumer = &self.consumer;
        let Some(task) = consumer.tasks.get(&message.headers.task).cloned() else {
            consumer.counters.unregistered.count();
            let backend = consumer.backend.clone();
            // The ticket goes with it, so the prefetch count bounds how many there are.
            self.aside.spawn(async move {
                backend.unregistered(&message, &origin).await;
                ticket.refuse(false);
            });
            return;
        };
        consumer.counters.received.count();
        let facts = Facts::new(message, origin, task, &consumer.settings);
        let listed = consumer.requests.list(&facts);
        let request = Request::new(facts.clone(), ticket, listed);
        tracing::info!("Task {} received", facts.label());
        if let Some(revocation) = consumer.revokes.check(&facts, Utc::now()) {
            let backend = consumer.backend.clone();
            // It needs no runner, and must not wait for one.
            self.aside.spawn(async move { backend.discard(request, revocation).await });
            return;
        }
        if let Some(observer) = &consumer.observer {
            observer.received(&facts).await;
        }
        consumer.events.task("task-received", &facts, |fields| tell_received(&facts.headers, fields));
        match facts.headers.eta {
            Some(eta) if eta > Utc::now() => {
                facts.progress.set_stage(Stage::Scheduled);
                self.waiting.insert(eta, request);
            }
            _ => self.submit(request),
        }
    }
}

/// What `task-received` says (`celery/worker/strategy.py`).
fn tell_received(headers: &TaskHeaders, fields: &mut Map) {
    let time = |time: Option<DateTime<Utc>>| time.map(time::iso);
    fields.insert("name", headers.name());
    fields.insert("args", headers.argsrepr.as_deref());
    fields.insert("kwargs", headers.kwargsrepr.as_deref());
    fields.insert("root_id", headers.root_id.as_deref());
    fields.insert("parent_id", headers.parent_id.as_deref());
    fields.insert("retries", headers.retries);
    fields.insert("eta", time(headers.eta));
    fields.insert("expires", time(headers.expires));
}
