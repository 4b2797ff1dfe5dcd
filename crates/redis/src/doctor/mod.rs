//! What is wrong in a Redis, and what can be mended for certain: `celeriac redis doctor`.
//!
//! Keys are looked at in pages, and no more than 10,000 of a kind are kept. What Python's workers left tells nobody
//! whether they live, so it is only called rubbish while nobody else is connected.

mod held;
mod queues;
mod report;
mod server;

pub use report::{Finding, Holder, Life, QueueState, Remedy, Report, Server};

use std::sync::Arc;
use std::time::Duration;

use celeriac_broker::Error;
use redis::{Cmd, Value};

use self::report::Mend;
use crate::hub::Hub;
use crate::io::IO;
use crate::{RedisTransport, lease, reaper};

/// How many things of a kind are shown at most.
const MOST: usize = 10_000;
/// How many are asked for at a time.
const PAGE: usize = 500;
/// Who lives gives a sign in this time.
const BEAT: Duration = Duration::from_secs(2);

/// A connection that looks at what others left. It takes no part in anything.
pub struct Doctor {
    hub: Arc<Hub>,
}

impl Doctor {
    /// Opens a connection.
    ///
    /// # Errors
    /// Those of any connection.
    pub async fn open(transport: &RedisTransport) -> Result<Self, Error> {
        let transport = transport.clone();
        Ok(Doctor { hub: IO.run(async move { Hub::open(&transport).await }).await? })
    }

    /// Looks at everything, and changes nothing.
    ///
    /// # Errors
    /// When Redis does not answer, or may not be asked.
    pub async fn examine(&self) -> Result<Report, Error> {
        let mut report = Report::default();
        server::look(self, &mut report).await?;
        held::look(self, &mut report).await?;
        queues::look(self, &mut report).await?;
        Ok(report)
    }

    /// Mends what can be mended for certain; says what was done, a line each. What has changed meanwhile is left alone.
    ///
    /// # Errors
    /// When Redis does not answer; what was done before is done.
    pub async fn mend(&self, report: &Report) -> Result<Vec<String>, Error> {
        let mends = || report.findings.iter().filter_map(|finding| finding.remedy.as_ref());
        if mends().any(|remedy| matches!(remedy.0, Mend::Bury { .. })) {
            // Perhaps it was Redis or this machine that stood still.
            tokio::time::sleep(BEAT).await;
        }
        let mut done = Vec::new();
        for Remedy(mend) in mends() {
            done.extend(self.carry_out(mend).await?);
        }
        Ok(done)
    }

    async fn carry_out(&self, mend: &Mend) -> Result<Option<String>, Error> {
        let hub = &self.hub;
        Ok(match mend {
            Mend::Bury { owner, seen } => {
                let back = reaper::bury(hub, owner, seen).await?;
                back.map(|count| format!("{owner}: {count} messages are back in their queues"))
            }
            Mend::GiveBack(owner) if self.owners().await?.iter().step_by(2).any(|known| known == owner) => {
                None
            }
            Mend::GiveBack(owner) => {
                let tags = reaper::tags_of(hub, owner).await?;
                let count = lease::give_back(hub, tags, None).await?;
                Some(format!("{owner}: {count} messages are back in their queues"))
            }
            Mend::Leave(owner) => {
                let is_left = number(&self.ask("owned", false, &[owner.as_str()]).await?);
                if is_left > 0 {
                    hub.link.call(&hub.link.scripts.leave, &[], |call| call.arg(owner)).await?;
                }
                (is_left > 0).then(|| format!("{owner}: what went with it is gone"))
            }
            Mend::Queue(queue) => match numbers(self.ask("queue", true, &[queue.as_str()]).await?)[..] {
                [1, ..] => Some(format!("{queue}: deleted")),
                [_, _, dead, ..] if dead > 0 => Some(format!("{queue}: {dead} dead consumers are gone")),
                _ => None,
            },
            Mend::Bound(queue) => {
                let is_gone = number(&self.ask("bound", true, &[queue.as_str()]).await?) > 0;
                is_gone.then(|| format!("{queue}: its bindings are gone"))
            }
            Mend::Time(tags) => {
                let mut count = 0;
                for tags in tags.chunks(PAGE) {
                    count += texts(self.ask("timeless", true, tags).await?).len();
                }
                Some(format!("{count} leases have a time: the next worker that looks gives them back"))
            }
            Mend::Bindings { exchange, members } => {
                let mut count = 0;
                for members in members.chunks(PAGE) {
                    let names: Vec<_> = [exchange].into_iter().chain(members).collect();
                    count += number(&self.ask("bindings", true, &names).await?);
                }
                Some(format!("exchange {exchange}: {count} bindings are gone"))
            }
        })
    }

    /// Closes the connection.
    pub async fn close(&self) {
        self.hub.close().await;
    }

    /// All who are known, each with when it was last seen, in milliseconds since 1970.
    async fn owners(&self) -> Result<Vec<String>, Error> {
        Ok(texts(self.ask("owners", false, &[""; 0]).await?))
    }

    async fn ask(&self, what: &str, mend: bool, names: &[impl AsRef<str> + Sync]) -> Result<Value, Error> {
        let link = &self.hub.link;
        link.call(&link.scripts.doctor, &[], |call| {
            call.arg(what).arg(u8::from(mend));
            names.iter().fold(call, |call, name| call.arg(name.as_ref()))
        })
        .await
    }

    async fn query(&self, words: &[&str]) -> Result<Value, Error> {
        let mut command = Cmd::new();
        words.iter().for_each(|word| {
            command.arg(word);
        });
        self.hub.link.query(&command).await
    }

    /// A page of SCAN and its kin: the next cursor, and what was found.
    async fn page(&self, scan: &[&str], cursor: &mut String) -> Result<Vec<String>, Error> {
        let at = scan.iter().position(|word| *word == "CURSOR").unwrap_or(1);
        let mut words = scan.to_vec();
        if let Some(word) = words.get_mut(at) {
            *word = cursor.as_str();
        }
        let Value::Array(answer) = self.query(&words).await? else { return Ok(Vec::new()) };
        let mut answer = answer.into_iter();
        let next = answer.next().map(text).unwrap_or_default();
        *cursor = if next.is_empty() { "0".to_owned() } else { next };
        Ok(answer.next().map(texts).unwrap_or_default())
    }

    /// A page of the keys of a type; SCAN itself tells types apart since Redis 6 only.
    async fn page_of(&self, kind: &str, glob: &str, cursor: &mut String) -> Result<Vec<String>, Error> {
        let scan = ["SCAN", "CURSOR", "MATCH", glob, "COUNT", &PAGE.to_string()];
        let keys = self.page(&scan, cursor).await?;
        if keys.is_empty() {
            return Ok(keys);
        }
        let names: Vec<_> = std::iter::once(kind).chain(keys.iter().map(String::as_str)).collect();
        Ok(texts(self.ask("typed", false, &names).await?))
    }

    /// Whether a queue is one of Celery's that goes with its worker or client.
    fn is_transient(queue: &str) -> bool {
        queue.ends_with(".pidbox") || queue.starts_with("celeryev.")
    }
}

fn text(value: Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        value => redis::from_redis_value(value).unwrap_or_default(),
    }
}

fn texts(value: Value) -> Vec<String> {
    match value {
        Value::Array(values) | Value::Set(values) => values.into_iter().map(text).collect(),
        Value::Map(pairs) => pairs.into_iter().flat_map(|(key, value)| [text(key), text(value)]).collect(),
        Value::Nil | Value::Okay => Vec::new(),
        value => text(value).lines().map(str::to_owned).collect(),
    }
}

fn number(value: &Value) -> i64 {
    crate::connection::number(value).unwrap_or(0)
}

fn numbers(value: Value) -> Vec<i64> {
    match value {
        Value::Array(values) => values.iter().map(number).collect(),
        _ => Vec::new(),
    }
}
