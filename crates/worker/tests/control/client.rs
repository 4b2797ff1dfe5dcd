//! A client of remote control.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use celeriac_broker::{Address, Connection, Event, Inbox, Prefetch, Session, Settlement, Subscription};
use celeriac_protocol::codec::{self, Accept, Serializer};
use celeriac_protocol::control::{ReplyTo, Request};
use celeriac_protocol::{Map, Message, Value};
use celeriac_worker::{NativeTask, Pidbox, TaskOptions};
use tokio::sync::watch;

use crate::support::{DEADLINE, Rig, echo, eventually, task};

const OID: &str = "client-1";

/// A worker that neither mingles nor gossips nor beats, with the tasks `echo` and `gated`, whose gate never opens.
pub fn rig() -> Rig {
    let (gate, task) = gated("gated");
    std::mem::forget(gate);
    let mut rig = Rig::new().with(echo()).with(task);
    (rig.settings.mingle, rig.settings.gossip, rig.settings.heartbeat) = (false, false, false);
    rig
}

/// Holds back the tasks that it was made with.
pub struct Gate {
    started: Arc<AtomicU32>,
    go: watch::Sender<bool>,
}

impl Gate {
    pub fn started(&self) -> u32 {
        self.started.load(Ordering::Relaxed)
    }

    pub fn open(&self) {
        self.go.send_replace(true);
    }

    pub async fn wait_for(&self, started: u32) {
        eventually("tasks to start", || async { (self.started() == started).then_some(()) }).await;
    }
}

/// A task that waits for its gate to open.
pub fn gated(name: &'static str) -> (Gate, impl NativeTask) {
    let (go, gone) = watch::channel(false);
    let started = Arc::<AtomicU32>::default();
    let counted = started.clone();
    let task = task(name, TaskOptions::default(), move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        let mut gone = gone.clone();
        async move {
            if gone.wait_for(|go| *go).await.is_err() {
                std::future::pending::<()>().await;
            }
            Ok(Value::Null)
        }
    });
    (Gate { started, go }, task)
}

pub struct Client {
    pub pidbox: Pidbox,
    connection: Arc<dyn Connection>,
    session: Arc<dyn Session>,
    inbox: Inbox,
    tickets: u64,
}

impl Client {
    /// Waits until the worker listens.
    pub async fn open(rig: &Rig) -> Self {
        let (pidbox, connection) = (Pidbox::default(), rig.connection().await);
        let mailbox = pidbox.mailbox(&rig.settings.hostname).queues[0].name.clone();
        eventually("the mailbox", || async {
            let bindings = connection.bindings().await.unwrap();
            bindings.iter().any(|binding| binding.queue == mailbox).then_some(())
        })
        .await;
        let reply_box = pidbox.reply_box(OID);
        connection.declare(&reply_box).await.unwrap();
        let (session, inbox) = connection.open_session(Prefetch::Session(100)).await.unwrap();
        session.subscribe(&Subscription::new(&reply_box.queues[0].name)).await.unwrap();
        Client { pidbox, connection, session, inbox, tickets: 0 }
    }

    /// A request that wants an answer.
    pub fn request(&mut self, method: &str, arguments: &[(&'static str, Value)]) -> Request {
        self.tickets += 1;
        Request {
            method: method.to_owned(),
            arguments: arguments.iter().cloned().collect(),
            ticket: Some(self.tickets.to_string()),
            reply_to: Some(ReplyTo {
                exchange: self.pidbox.replies().exchanges[0].name.clone(),
                routing_key: OID.to_owned(),
            }),
            ..Request::default()
        }
    }

    pub async fn publish(&self, request: Request, expires: Option<f64>) {
        let mut message = self.pidbox.request(request, Duration::from_secs(60)).unwrap();
        if let Some(expires) = expires {
            message.headers.insert("expires", expires);
        }
        self.publish_raw(message).await;
    }

    pub async fn publish_raw(&self, message: Message) {
        let exchange = self.pidbox.requests().exchanges[0].name.clone();
        self.connection.publish(&Address::exchange(exchange, ""), message).await.unwrap();
    }

    /// The next answer, with its ticket.
    async fn answer(&mut self) -> (Value, Value) {
        let event = tokio::time::timeout(DEADLINE, self.inbox.recv()).await.expect("an answer");
        let Some(Event::Delivery(delivery)) = event else { panic!("the session ended") };
        self.session.settle(&[Settlement::Ack(delivery.tag)]).await.unwrap();
        let ticket = delivery.message.headers.get("ticket").cloned().unwrap();
        let Value::Map(body) = delivery.message.decode(&Accept::default()).unwrap() else {
            panic!("no dict")
        };
        let mut entries = body.into_iter();
        let (node, answer) = entries.next().unwrap();
        assert_eq!((node.as_ref(), entries.next()), ("celery@localhost", None));
        (ticket, answer)
    }

    /// Asks one worker of several and waits for its answer.
    pub async fn ask_one(&mut self, method: &str) -> Value {
        let mut request = self.request(method, &[]);
        request.destination = Some(vec!["celery@localhost".to_owned()]);
        self.publish(request, None).await;
        self.answer().await.1
    }

    /// Asks and waits for the answer.
    pub async fn ask(&mut self, method: &str, arguments: &[(&'static str, Value)]) -> Value {
        let request = self.request(method, arguments);
        self.publish(request, None).await;
        let (ticket, answer) = self.answer().await;
        assert_eq!(ticket, Value::from(self.tickets.to_string()));
        answer
    }

    /// The same in JSON.
    pub async fn ask_json(&mut self, method: &str, arguments: &str) -> String {
        let mut request = self.request(method, &[]);
        let Value::Map(arguments) = from_json(arguments) else { panic!("no dict") };
        request.arguments = arguments;
        self.publish(request, None).await;
        json(&self.answer().await.1)
    }

    /// How many answers come before the one to a question that is asked now.
    pub async fn answers_before_the_next(&mut self) -> usize {
        let request = self.request("clock", &[]);
        self.publish(request, None).await;
        let last = Value::from(self.tickets.to_string());
        let mut answers = 0;
        while self.answer().await.0 != last {
            answers += 1;
        }
        answers
    }
}

pub fn from_json(text: &str) -> Value {
    let body = celeriac_protocol::EncodedBody {
        content_type: "application/json".to_owned(),
        content_encoding: "utf-8".to_owned(),
        compression: None,
        data: text.to_owned().into(),
    };
    codec::decode(&body, &Accept::default()).unwrap()
}

pub fn json(value: &Value) -> String {
    let body = codec::encode(value, Serializer::Json, None).unwrap();
    String::from_utf8(body.data.to_vec()).unwrap()
}

/// The error that an answer tells.
pub fn error(answer: &Value) -> &str {
    answer.as_map().and_then(|answer| answer.get("error")?.as_str()).unwrap_or_else(|| panic!("{answer:?}"))
}

/// What an answer says that went well.
pub fn ok(answer: &Value) -> &str {
    answer.as_map().and_then(|answer| answer.get("ok")?.as_str()).unwrap_or_else(|| panic!("{answer:?}"))
}

pub fn keys(value: &Value) -> Vec<&str> {
    value.as_map().map(Map::iter).into_iter().flatten().map(|(key, _)| key).collect()
}
