use async_trait::async_trait;
use celeriac_protocol::{State, TaskMeta, Value};

use crate::{ChordHeader, ChordPart, Error};

/// Where the caller wants to hear of a result: the `reply_to` and `correlation_id` of its task message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplyTo {
    /// A queue; empty when the caller named none.
    pub queue: String,
    /// The id that the caller knows the task by.
    pub correlation_id: String,
}

/// A result store. Calls may be made from several tasks at once; what is called together travels together.
#[async_trait]
pub trait ResultStore: Send + Sync {
    /// The store's name, for example `redis`.
    fn name(&self) -> &'static str;

    /// The store's URL without its password, for people.
    fn display_url(&self) -> String;

    /// Keeps a state and tells whoever waits. A success that is already there is not replaced
    /// (`celery/backends/base.py`, `_store_result`), and a failure or revocation not by a retry: its message was sent
    /// before its state is stored, so that whoever took it may have ended by then.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Unavailable`].
    async fn store(&self, meta: &TaskMeta, reply_to: Option<&ReplyTo>) -> Result<(), Error>;

    /// Keeps a state as [`store`](Self::store) does, but does not wait for a store that is away: a task whose message is
    /// settled has nothing to wait for. What a store keeps in memory meanwhile has bounds, and waits past them; it
    /// is written in its order, and what never is, is logged. A state that waited there and is not final replaces none
    /// that is.
    ///
    /// # Errors
    /// Those of `store`.
    async fn hold(&self, meta: &TaskMeta, reply_to: Option<&ReplyTo>) -> Result<(), Error> {
        self.store(meta, reply_to).await
    }

    /// Tells the store that a call with this id is about to be sent, so that no answer is missed.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn expect(&self, id: &str) -> Result<(), Error>;

    /// What is known of a task now; a task that the store does not know is pending.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Invalid`].
    async fn fetch(&self, id: &str) -> Result<TaskMeta, Error>;

    /// Waits until a task is ready. Dropping the future stops the wait.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the store stays away, [`Error::Invalid`].
    async fn wait(&self, id: &str) -> Result<TaskMeta, Error>;

    /// Drops what is kept of a task.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn forget(&self, id: &str) -> Result<(), Error>;

    /// Counts a part of a chord that has ended; whoever counts the last gets all of them, and calls the body. It may be
    /// counted again until [`chord_done`](Self::chord_done), and counts once.
    ///
    /// # Errors
    /// [`Error::Unsupported`] by a store that no client of Celery's can count a chord in, [`Error::Encode`],
    /// [`Error::Unavailable`], [`Error::Invalid`] when the counted parts cannot be read.
    async fn chord_part(&self, _part: &ChordPart<'_>) -> Result<Option<ChordHeader>, Error> {
        Err(Error::Unsupported { store: self.name(), what: "count the parts of a chord" })
    }

    /// Says how many parts a chord has, before the last of them is sent.
    ///
    /// # Errors
    /// [`Error::Unsupported`], [`Error::Unavailable`].
    async fn set_chord_size(&self, _group: &str, _size: usize) -> Result<(), Error> {
        Err(Error::Unsupported { store: self.name(), what: "count the parts of a chord" })
    }

    /// Drops what was counted for a chord: its body is called.
    ///
    /// # Errors
    /// [`Error::Unsupported`], [`Error::Unavailable`].
    async fn chord_done(&self, _group: &str) -> Result<(), Error> {
        Err(Error::Unsupported { store: self.name(), what: "count the parts of a chord" })
    }

    /// Keeps which results a group has, as [`Saved`](crate::Saved) writes them.
    ///
    /// # Errors
    /// [`Error::Unsupported`], [`Error::Encode`], [`Error::Unavailable`].
    async fn save_group(&self, _id: &str, _results: &Value) -> Result<(), Error> {
        Err(Error::Unsupported { store: self.name(), what: "keep groups" })
    }

    /// Which results a group has that was saved.
    ///
    /// # Errors
    /// [`Error::Unsupported`], [`Error::Unavailable`], [`Error::Invalid`].
    async fn restore_group(&self, _id: &str) -> Result<Option<Value>, Error> {
        Err(Error::Unsupported { store: self.name(), what: "keep groups" })
    }

    /// What a caller writes into `reply_to` of its task messages: the queue that answers go to, if this store
    /// answers by queue.
    fn reply_to(&self) -> Option<String>;

    /// Lets go of connections and waiting calls. Idempotent.
    async fn close(&self);
}

/// Whether a state that is kept is not replaced by a new one, as [`ResultStore::store`] says.
pub(crate) fn stays(kept: &State, new: &State) -> bool {
    *kept == State::Success || *new == State::Retry && kept.is_ready()
}
