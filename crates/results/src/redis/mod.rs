//! The redis store: Celery's keys, values and messages (`celery/backends/redis.py`).

mod chord;
mod link;
mod reads;
mod subscriber;
mod writer;
mod writes;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use async_trait::async_trait;
use celeriac_broker::BrokerUrl;
use celeriac_broker::url::UrlError;
use celeriac_protocol::{TaskMeta, Value};
use celeriac_redis_client::{Dialect, Target, Urls};
use redis::{Cmd, Script};
use tokio::sync::watch;

use self::link::Link;
use self::reads::Reads;
use self::subscriber::Subscriber;
use self::writer::{Encoded, Writer};
use self::writes::Writes;
use crate::watchers::{Notice, Watchers};
use crate::{ChordHeader, ChordPart, Error, ReplyTo, ResultStore, Settings};

/// Results in Redis.
pub struct RedisStore {
    link: Arc<Link>,
    keys: Arc<Keys>,
    settings: Arc<Settings>,
    /// The hash that Redis knows the script of chords by.
    part: String,
    reads: Arc<Reads>,
    writes: Arc<Writes>,
    watchers: Arc<Watchers>,
    subscriber: Subscriber,
    closing: watch::Sender<bool>,
}

/// The names of keys and channels.
struct Keys {
    prefix: String,
    group_prefix: String,
}

impl RedisStore {
    /// The store of a URL: `redis://user:password@host:port/db`, `rediss://` (feature `redis-tls`),
    /// `redis+socket:///path?virtual_host=db`. What has several hosts is read from text. It connects when it is first
    /// used, so it may be made anywhere, but used in a tokio runtime only. Of several, one that has ended leaves what it
    /// had begun to the others; one that stands still holds them up.
    ///
    /// # Errors
    /// [`Error::Url`] when the URL makes no sense.
    pub fn new(url: &BrokerUrl, settings: Settings) -> Result<Self, Error> {
        Self::of(&Urls::try_from(url.clone()).map_err(bad_url)?, settings)
    }

    /// The store of one URL or several of one place: `sentinel://a:26379;sentinel://b:26379/db?master_name=name`,
    /// `redis+cluster://a:6379,b:6379`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn parse(urls: &str, settings: Settings) -> Result<Self, Error> {
        Self::of(&Urls::parse(urls).map_err(bad_url)?, settings)
    }

    fn of(urls: &Urls, settings: Settings) -> Result<Self, Error> {
        let prefix = settings.global_keyprefix.as_deref();
        let target = Target::read(urls, Dialect::Celery, prefix).map_err(bad_url)?;
        let keys = Arc::new(Keys::new(Some(target.prefix())));
        let settings = Arc::new(settings);
        let (watchers, changes) = Watchers::with_changes();
        let subscriber = Subscriber::new(subscriber::Run {
            target: target.clone(),
            keys: Arc::clone(&keys),
            settings: Arc::clone(&settings),
            watchers: Arc::clone(&watchers),
            changes,
        });
        let (link, (closing, _)) = (Arc::new(Link::new(target)), watch::channel(false));
        let writes = Writes::new(Writer::new(Arc::clone(&link), Arc::clone(&keys), Arc::clone(&settings)));
        let part = Script::new(chord::PART).get_hash().to_owned();
        let reads = Reads::new(Arc::clone(&link), Arc::clone(&keys), Arc::clone(&settings));
        Ok(RedisStore { link, keys, settings, part, reads, writes, watchers, subscriber, closing })
    }

    /// Reads, for as long as the settings say.
    async fn persist<T, F>(&self, what: &str, mut ask: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        if !self.settings.retry.always {
            return ask().await;
        }
        let mut closing = self.closing.subscribe();
        tokio::select! {
            answer = self.settings.retry.insist(what, ask) => answer,
            _ = closing.wait_for(|closed| *closed) => Err(self.link.closed()),
        }
    }

    /// Waits once. Whoever listens for all may end, with his runtime: then somebody who waits goes on with that.
    async fn listen(&self, id: &str) -> Result<TaskMeta, Error> {
        let mut ready = std::pin::pin!(self.watchers.watch(id).ready(self));
        loop {
            let mut ended = std::pin::pin!(self.subscriber.ended());
            ended.as_mut().enable();
            self.subscriber.start()?;
            tokio::select! {
                answer = &mut ready => return answer,
                () = ended => {}
            }
        }
    }

    async fn ask(&self, command: &Cmd) -> Result<redis::Value, Error> {
        self.link.query(command).await?.map_err(|error| self.link.unavailable(&error))
    }
}

/// Runs a script by its hash, or by its text where Redis does not know it yet. The call is told, last, whether the
/// script may have run before.
async fn run(
    link: &Link,
    hash: &str,
    script: &str,
    call: impl Fn(&str, &str, bool) -> Cmd,
) -> Result<redis::Value, Error> {
    let again = AtomicBool::new(false);
    let by_hash = |lost| {
        again.fetch_or(lost, Relaxed);
        call("EVALSHA", hash, lost)
    };
    match link.query_with(by_hash).await? {
        // Redis may have run it, and forgotten it in a restart.
        Err(error) if error.code() == Some("NOSCRIPT") => {
            link.query_with(|lost| call("EVAL", script, lost || again.load(Relaxed))).await?
        }
        answer => answer,
    }
    .map_err(|error| link.unavailable(&error))
}

fn bad_url(error: UrlError) -> Error {
    Error::Url { url: error.url, reason: error.reason }
}

impl Keys {
    fn new(global: Option<&str>) -> Self {
        let mut prefix = global.unwrap_or_default().to_owned();
        // `_add_global_keyprefix` sets a global prefix off.
        if prefix.chars().last().is_some_and(|last| !":_-.".contains(last)) {
            prefix.push('_');
        }
        Keys { group_prefix: format!("{prefix}celery-taskset-meta-"), prefix: prefix + "celery-task-meta-" }
    }

    fn key(&self, id: &str) -> String {
        format!("{}{id}", self.prefix)
    }

    /// What is kept of a group: its results, or by a suffix what a chord counts.
    fn group(&self, id: &str, suffix: &str) -> String {
        format!("{}{id}{suffix}", self.group_prefix)
    }

    fn id<'a>(&self, key: &'a str) -> Option<&'a str> {
        key.strip_prefix(&self.prefix)
    }
}

#[async_trait]
impl ResultStore for RedisStore {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn display_url(&self) -> String {
        self.link.display_url().to_owned()
    }

    async fn store(&self, meta: &TaskMeta, _reply_to: Option<&ReplyTo>) -> Result<(), Error> {
        self.writes.write(Encoded::new(meta, &self.settings)?).await
    }

    async fn hold(&self, meta: &TaskMeta, _reply_to: Option<&ReplyTo>) -> Result<(), Error> {
        self.writes.hold(Encoded::new(meta, &self.settings)?).await
    }

    /// Nothing to do: a call that waits listens first and looks then.
    async fn expect(&self, _id: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn fetch(&self, id: &str) -> Result<TaskMeta, Error> {
        self.persist(id, || self.reads.read(id)).await
    }

    async fn wait(&self, id: &str) -> Result<TaskMeta, Error> {
        self.persist(id, || self.listen(id)).await
    }

    async fn forget(&self, id: &str) -> Result<(), Error> {
        let mut delete = Cmd::new();
        delete.arg("DEL").arg(self.keys.key(id));
        self.ask(&delete).await.map(drop)
    }

    async fn chord_part(&self, part: &ChordPart<'_>) -> Result<Option<ChordHeader>, Error> {
        self.count_part(part).await
    }

    async fn set_chord_size(&self, group: &str, size: usize) -> Result<(), Error> {
        self.size_chord(group, size).await
    }

    async fn chord_done(&self, group: &str) -> Result<(), Error> {
        self.end_chord(group).await
    }

    async fn save_group(&self, id: &str, results: &Value) -> Result<(), Error> {
        self.keep_group(id, results).await
    }

    async fn restore_group(&self, id: &str) -> Result<Option<Value>, Error> {
        self.persist(id, || self.read_group(id)).await
    }

    fn reply_to(&self) -> Option<String> {
        None
    }

    async fn close(&self) {
        self.closing.send_replace(true);
        self.writes.close().await;
        self.subscriber.stop().await;
        self.link.close().await;
        self.watchers.notify_all(&Notice::Failed(self.link.closed()));
    }
}
