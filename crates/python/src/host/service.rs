//! The service: a process that does what only Python can, by questions and answers.

mod ask;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use celeriac_protocol::{Map, Value};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::link::{Receiver, Sender, link};
use super::marshal::Writer;
use super::message::{parts, unexpected, unsigned};
use super::{Call, HostError};

pub use ask::{About, Action, Lost};

/// Questions without an answer, and messages that have not been sent, each.
const WAITING: usize = 256;

type Answer = Result<Value, HostError>;

/// A question under way: it counts until it is answered, also when nobody waits any more.
type Asked = (oneshot::Sender<Answer>, OwnedSemaphorePermit);

/// The service. When this is dropped the process ends, after what it has been told.
///
/// It does one thing after the other. An app may make it hang: who asks sets a deadline, and starts another service.
#[derive(Debug)]
pub struct Service {
    outbox: mpsc::Sender<Vec<u8>>,
    asked: Arc<Questions>,
    room: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Questions(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: u64,
    open: HashMap<u64, Asked>,
}

impl Service {
    /// Needs a runtime, in which it talks.
    pub(super) fn new(stream: UnixStream) -> Self {
        let (sender, receiver) = link(stream);
        let (outbox, messages) = mpsc::channel(WAITING);
        let asked = Arc::new(Questions::default());
        tokio::spawn(talk(sender, receiver, messages, asked.clone()));
        Service { outbox, asked, room: Arc::new(Semaphore::new(WAITING)) }
    }

    /// Sends one of the app's signals; waits while there is no room, not until it was received.
    ///
    /// # Errors
    /// [`HostError::Gone`]; [`HostError::Marshal`] when it is too large.
    pub async fn signal(
        &self,
        name: &str,
        arguments: &Map,
        about: Option<About<'_>>,
    ) -> Result<(), HostError> {
        self.tell(ask::signal(name, arguments, about)).await
    }

    /// Gives a record to the app's logging; `level` is Python's number, `created` seconds since 1970.
    ///
    /// # Errors
    /// As [`signal`](Service::signal).
    pub async fn log(&self, level: u8, logger: &str, text: &str, created: f64) -> Result<(), HostError> {
        self.tell(ask::log(level, logger, text, created)).await
    }

    /// Does what Celery's worker does for a task that its child could not end; says what is left to be done, in order.
    ///
    /// # Errors
    /// [`HostError::Refused`] when it failed; [`HostError::Gone`]: whether it was done is not known then.
    pub async fn lost(&self, call: &Call<'_>, why: Lost<'_>) -> Result<Vec<Action>, HostError> {
        let actions = self.ask(|seq| ask::lost(seq, call, why)).await?;
        ask::actions(&actions).ok_or_else(|| unexpected(&actions))
    }

    /// Runs a remote control command and gives its reply.
    ///
    /// # Errors
    /// As [`lost`](Service::lost).
    pub async fn control(&self, name: &str, arguments: &Map) -> Result<Value, HostError> {
        self.ask(|seq| ask::control(seq, name, arguments)).await
    }

    /// Leaves these revoked ids in Celery's own statedb.
    ///
    /// # Errors
    /// As [`lost`](Service::lost).
    pub async fn keep_revoked(&self, path: &str, ids: &[String]) -> Result<(), HostError> {
        self.ask(|seq| ask::keep_revoked(seq, path, ids)).await.map(drop)
    }

    /// Returns when the process has ended.
    pub async fn ended(&self) {
        self.outbox.closed().await;
    }

    async fn tell(&self, message: Writer) -> Result<(), HostError> {
        self.outbox.send(message.finish()?).await.map_err(|_| HostError::Gone)
    }

    async fn ask(&self, question: impl FnOnce(u64) -> Writer) -> Answer {
        // Neither is ever closed while this is here.
        let permit = self.room.clone().acquire_owned().await.map_err(|_| HostError::Gone)?;
        let slot = self.outbox.reserve().await.map_err(|_| HostError::Gone)?;
        let (reply, answer) = oneshot::channel();
        let seq = self.asked.open(reply, permit);
        match question(seq).finish() {
            Ok(message) => slot.send(message),
            Err(error) => self.asked.close(seq, Err(error.into())),
        }
        answer.await.map_err(|_| HostError::Gone)?
    }
}

impl Questions {
    fn open(&self, reply: oneshot::Sender<Answer>, permit: OwnedSemaphorePermit) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.last += 1;
        let seq = state.last;
        state.open.insert(seq, (reply, permit));
        seq
    }

    fn close(&self, seq: u64, answer: Answer) {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner).open.remove(&seq);
        if let Some((reply, _)) = asked {
            let _ = reply.send(answer);
        }
    }

    fn close_all(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).open.clear();
    }
}

/// Writes and reads at the same time, since the service may do one of both only.
async fn talk(
    sender: Sender,
    receiver: Receiver,
    mut messages: mpsc::Receiver<Vec<u8>>,
    asked: Arc<Questions>,
) {
    let ended = tokio::select! {
        sent = say(sender, &mut messages) => sent,
        heard = hear(receiver, &asked) => heard,
    };
    match ended {
        Ok(()) | Err(HostError::Gone) => {}
        Err(error) => tracing::error!("the service is given up: {error}"),
    }
    // In this order, or a question might come between.
    drop(messages);
    asked.close_all();
}

async fn say(sender: Sender, messages: &mut mpsc::Receiver<Vec<u8>>) -> Result<(), HostError> {
    while let Some(message) = messages.recv().await {
        sender.send(&message, &[]).await?;
    }
    Ok(())
}

async fn hear(mut receiver: Receiver, asked: &Questions) -> Result<(), HostError> {
    loop {
        let message = receiver.receive().await?;
        match parts(&message) {
            Some(("answer", [seq, Value::Bool(ok), value])) => {
                let answer = match (ok, value) {
                    (true, value) => Ok(value.clone()),
                    (false, value) => Err(HostError::Refused(value.as_str().unwrap_or_default().to_owned())),
                };
                asked.close(unsigned(seq).ok_or_else(|| unexpected(&message))?, answer);
            }
            _ => return Err(unexpected(&message)),
        }
    }
}
