//! The embedded store: results in an SQLite file, shared by the processes of one machine.

mod database;
mod schema;

use std::sync::Arc;
use std::sync::mpsc;

use async_trait::async_trait;
use bytes::Bytes;
use celeriac_broker::BrokerUrl;
use celeriac_protocol::TaskMeta;
use tokio::sync::oneshot;

use self::database::{Database, Read, Reply, Request, Write};
use crate::watchers::{Notice, Watchers};
use crate::{Error, ReplyTo, ResultStore, Settings};

/// Results in a table of an SQLite file.
///
/// One thread does all the work. It writes what is asked for at the same time in one transaction, and looks for
/// the results of other processes only while somebody waits. The file is in WAL mode; results survive the end of
/// any process, but power loss may take the last ones unless the URL says `?synchronous=full`.
pub struct SqliteStore {
    settings: Settings,
    display_url: String,
    requests: mpsc::Sender<Request>,
    watchers: Arc<Watchers>,
}

impl SqliteStore {
    /// Opens the file of a URL, making it if there is none: `sqlite:file`, `sqlite:///relative`,
    /// `sqlite:////absolute`.
    ///
    /// # Errors
    /// [`Error::Url`] when the URL names no file, [`Error::Unavailable`] when it cannot be opened.
    pub fn open(url: &BrokerUrl, settings: Settings) -> Result<Self, Error> {
        if url.path.is_empty() || url.path == ":memory:" {
            let reason = "it names no file; write sqlite:results.db, or memory:// for none".to_owned();
            return Err(Error::Url { url: url.to_string(), reason });
        }
        let synchronous = if url.parameter("synchronous") == Some("full") { "FULL" } else { "NORMAL" };
        let unavailable = |error: &dyn ToString| Error::Unavailable {
            store: url.to_string(),
            reason: format!("{}: {}", url.path, error.to_string()),
        };
        let connection = schema::open(url.path.as_ref(), synchronous).map_err(|error| unavailable(&error))?;
        let watchers = Watchers::new();
        let (requests, receiver) = mpsc::channel();
        let database = Database::new(connection, Arc::clone(&watchers));
        std::thread::Builder::new()
            .name("celeriac-results".to_owned())
            .spawn(move || database.run(&receiver))
            .map_err(|error| unavailable(&error))?;
        Ok(SqliteStore { settings, display_url: url.to_string(), requests, watchers })
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let unavailable = |reason| Error::Unavailable { store: self.display_url.clone(), reason };
        let closed = || unavailable("it was closed".to_owned());
        self.requests.send(request(reply)).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?.map_err(unavailable)
    }
}

#[async_trait]
impl ResultStore for SqliteStore {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn display_url(&self) -> String {
        self.display_url.clone()
    }

    async fn store(&self, meta: &TaskMeta, _reply_to: Option<&ReplyTo>) -> Result<(), Error> {
        let write = Write::Store {
            id: meta.id.clone(),
            state: meta.state.name().to_owned(),
            meta: self.settings.encode(meta)?,
            expires: self.settings.expires(),
        };
        self.ask(|reply| Request::Write(write, reply)).await
    }

    /// Nothing to do: a call that waits listens first and looks then.
    async fn expect(&self, _id: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn fetch(&self, id: &str) -> Result<TaskMeta, Error> {
        match self.ask(|reply| Request::Read(Read { id: id.to_owned() }, reply)).await? {
            Some(data) => self.settings.decode(id, Bytes::from(data)),
            None => Ok(TaskMeta::pending(id)),
        }
    }

    async fn wait(&self, id: &str) -> Result<TaskMeta, Error> {
        self.watchers.watch(id).ready(self).await
    }

    async fn forget(&self, id: &str) -> Result<(), Error> {
        self.ask(|reply| Request::Write(Write::Forget { id: id.to_owned() }, reply)).await
    }

    fn reply_to(&self) -> Option<String> {
        None
    }

    async fn close(&self) {
        let _: Result<(), Error> = self.ask(Request::Close).await;
        let reason = "it was closed".to_owned();
        self.watchers.notify_all(&Notice::Failed(Error::Unavailable { store: self.display_url(), reason }));
    }
}
