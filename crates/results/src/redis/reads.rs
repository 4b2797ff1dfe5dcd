//! Reading results: what is asked for at the same time is asked for by one command.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use celeriac_protocol::TaskMeta;
use redis::{Cmd, Value};
use tokio::sync::oneshot;

use super::Keys;
use super::link::Link;
use crate::{Error, Settings};

/// How many results one command asks for.
const BATCH: usize = 1_000;

type Reply = oneshot::Sender<Result<TaskMeta, Error>>;

/// Reads results.
pub(super) struct Reads {
    link: Arc<Link>,
    keys: Arc<Keys>,
    settings: Arc<Settings>,
    /// What is not asked for yet; `None` while nobody is about to.
    asked: Mutex<Option<Vec<(String, Reply)>>>,
}

/// The turn of whoever asks: as long as it is open, others say what they want too.
struct Turn {
    reads: Arc<Reads>,
    is_open: bool,
}

impl Turn {
    async fn take(mut self) {
        self.reads.clone().ask(&mut self).await;
    }

    fn close(&mut self) -> Vec<(String, Reply)> {
        self.is_open = false;
        self.reads.lock().take().unwrap_or_default()
    }
}

impl Drop for Turn {
    /// Who wanted something hears that he will not get it here.
    fn drop(&mut self) {
        if self.is_open {
            self.close();
        }
    }
}

impl Reads {
    pub(super) fn new(link: Arc<Link>, keys: Arc<Keys>, settings: Arc<Settings>) -> Arc<Self> {
        Arc::new(Reads { link, keys, settings, asked: Mutex::new(None) })
    }

    pub(super) async fn read(self: &Arc<Self>, id: &str) -> Result<TaskMeta, Error> {
        loop {
            let (reply, answer) = oneshot::channel();
            let is_first = {
                let mut asked = self.lock();
                let is_first = asked.is_none();
                asked.get_or_insert_default().push((id.to_owned(), reply));
                is_first
            };
            if is_first {
                // A task of its own: others count on it, whatever becomes of who asks.
                tokio::spawn(Turn { reads: Arc::clone(self), is_open: true }.take());
            }
            if let Ok(answer) = answer.await {
                return answer;
            }
            // That task has ended with its runtime.
        }
    }

    /// Asks for all that is wanted by now.
    async fn ask(&self, turn: &mut Turn) {
        // Whoever is awake gets to say what he wants; who wants much is interrupted by the runtime.
        let mut wanted = 0;
        loop {
            tokio::task::yield_now().await;
            let count = self.lock().as_ref().map_or(0, Vec::len);
            if count <= wanted || count >= BATCH {
                break;
            }
            wanted = count;
        }
        let mut asked = turn.close();
        while !asked.is_empty() {
            let rest = asked.split_off(asked.len().min(BATCH));
            let (ids, replies): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
            for (answer, reply) in self.fetch(&ids).await.into_iter().zip(replies) {
                let _ = reply.send(answer);
            }
            asked = rest;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<(String, Reply)>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self, ids: &[String]) -> Vec<Result<TaskMeta, Error>> {
        // Only GET tells a key that holds something else.
        let mut get = Cmd::new();
        get.arg(if ids.len() == 1 { "GET" } else { "MGET" });
        for id in ids {
            get.arg(self.keys.key(id));
        }
        match self.link.query(&get).await {
            Ok(Ok(Value::Array(all))) if all.len() == ids.len() && ids.len() > 1 => {
                all.into_iter().zip(ids).map(|(value, id)| self.meta(id, value)).collect()
            }
            Ok(Ok(value)) => ids.iter().map(|id| self.meta(id, value.clone())).collect(),
            Ok(Err(error)) if error.code() == Some("WRONGTYPE") => {
                let invalid = |id: &String| Error::Invalid { id: id.clone(), reason: error.to_string() };
                ids.iter().map(|id| Err(invalid(id))).collect()
            }
            Ok(Err(error)) => ids.iter().map(|_| Err(self.link.unavailable(&error))).collect(),
            Err(error) => ids.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    fn meta(&self, id: &str, value: Value) -> Result<TaskMeta, Error> {
        match value {
            Value::Nil => Ok(TaskMeta::pending(id)),
            Value::BulkString(data) => self.settings.decode(id, Bytes::from(data)),
            other => Err(Error::Invalid { id: id.to_owned(), reason: format!("Redis gave {other:?}") }),
        }
    }
}
