//! The redis store: Celery's keys, values and messages (`celery/backends/redis.py`).

mod chord;
mod link;
mod subscriber;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use celeriac_broker::BrokerUrl;
use celeriac_broker::url::UrlError;
use celeriac_protocol::TaskMeta;
use celeriac_redis_client::{Dialect, Target, Urls};
use redis::{Cmd, Script};
use tokio::sync::watch;

use self::link::Link;
use self::subscriber::Subscriber;
use crate::watchers::{Notice, Watchers};
use crate::{ChordHeader, ChordPart, Error, ReplyTo, ResultStore, Settings};

/// Keeps and publishes a result unless a success is there. The status stands first in what Celery's JSON and
/// msgpack write, and in a line of its own in YAML; only what looks otherwise is decoded. Redis runs it as one step
/// and one round trip, where Celery reads, decides and writes.
const STORE: &str = r#"
local key, data, seconds, serializer = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local function is_success(kept)
    if kept:sub(1, 12) == '{"status": "' then
        return kept:sub(13, 20) == 'SUCCESS"'
    elseif serializer == 'yaml' then
        return kept:find('\nstatus: SUCCESS\n', 1, true)
    elseif serializer == 'msgpack' and kept:sub(2, 8) == '\166status' then
        return kept:sub(9, 16) == '\167SUCCESS'
    end
    local ok, meta = pcall(serializer == 'msgpack' and cmsgpack.unpack or cjson.decode, kept)
    return ok and type(meta) == 'table' and meta.status == 'SUCCESS'
end
local kept = redis.call('GET', key)
if kept and is_success(kept) then
    return 0
end
if seconds == '' then
    redis.call('SET', key, data)
else
    redis.call('SETEX', key, seconds, data)
end
redis.call('PUBLISH', key, data)
return 1
"#;

/// Results in Redis.
pub struct RedisStore {
    link: Link,
    keys: Arc<Keys>,
    settings: Arc<Settings>,
    scripts: Scripts,
    watchers: Arc<Watchers>,
    subscriber: Subscriber,
    closing: watch::Sender<bool>,
}

/// The hashes that Redis knows its scripts by.
struct Scripts {
    store: String,
    part: String,
}

/// The names of keys and channels.
struct Keys {
    prefix: String,
    group_prefix: String,
}

impl RedisStore {
    /// The store of a URL: `redis://user:password@host:port/db`, `rediss://` (feature `redis-tls`),
    /// `redis+socket:///path?virtual_host=db`. What has several hosts is read from text. It connects when it is first
    /// used, so it may be made anywhere, but used in a tokio runtime only.
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
        let hash = |script| Script::new(script).get_hash().to_owned();
        let scripts = Scripts { store: hash(STORE), part: hash(chord::PART) };
        let (link, (closing, _)) = (Link::new(target), watch::channel(false));
        Ok(RedisStore { link, keys, settings, scripts, watchers, subscriber, closing })
    }

    /// How long keys are kept, in whole seconds.
    fn seconds(&self) -> Option<String> {
        self.settings.expires().map(|expires| expires.as_millis().div_ceil(1000).to_string())
    }

    /// Runs a script by its hash, or by its text where Redis does not know it yet.
    async fn run(
        &self,
        hash: &str,
        script: &str,
        call: impl Fn(&str, &str) -> Cmd,
    ) -> Result<redis::Value, Error> {
        match self.link.query(&call("EVALSHA", hash)).await? {
            Err(error) if error.code() == Some("NOSCRIPT") => self.link.query(&call("EVAL", script)).await?,
            answer => answer,
        }
        .map_err(|error| self.link.unavailable(&error))
    }

    async fn read(&self, id: &str) -> Result<TaskMeta, Error> {
        let mut get = Cmd::new();
        get.arg("GET").arg(self.keys.key(id));
        match self.link.query(&get).await? {
            Ok(redis::Value::Nil) => Ok(TaskMeta::pending(id)),
            Ok(redis::Value::BulkString(data)) => self.settings.decode(id, Bytes::from(data)),
            Ok(other) => Err(Error::Invalid { id: id.to_owned(), reason: format!("Redis gave {other:?}") }),
            Err(error) if error.code() == Some("WRONGTYPE") => {
                Err(Error::Invalid { id: id.to_owned(), reason: error.to_string() })
            }
            Err(error) => Err(self.link.unavailable(&error)),
        }
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

    async fn ask(&self, command: &Cmd) -> Result<redis::Value, Error> {
        self.link.query(command).await?.map_err(|error| self.link.unavailable(&error))
    }
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
        let data = self.settings.encode(meta)?;
        let seconds = self.seconds().unwrap_or_default();
        let call = |command: &str, script: &str| {
            let mut call = Cmd::new();
            call.arg(command).arg(script).arg(1).arg(self.keys.key(&meta.id));
            call.arg(data.as_ref()).arg(&seconds).arg(self.settings.serializer.name());
            call
        };
        self.run(&self.scripts.store, STORE, call).await.map(drop)
    }

    /// Nothing to do: a call that waits listens first and looks then.
    async fn expect(&self, _id: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn fetch(&self, id: &str) -> Result<TaskMeta, Error> {
        self.persist(id, || self.read(id)).await
    }

    async fn wait(&self, id: &str) -> Result<TaskMeta, Error> {
        self.subscriber.start()?;
        self.persist(id, || self.watchers.watch(id).ready(self)).await
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

    fn reply_to(&self) -> Option<String> {
        None
    }

    async fn close(&self) {
        self.closing.send_replace(true);
        self.subscriber.stop().await;
        self.link.close().await;
        self.watchers.notify_all(&Notice::Failed(self.link.closed()));
    }
}
