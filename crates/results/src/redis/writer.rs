//! How a result is written: one script, and one round trip.

use std::sync::Arc;

use bytes::Bytes;
use celeriac_protocol::{State, TaskMeta};
use redis::{Cmd, Script};

use super::link::Link;
use super::{Keys, run};
use crate::{Error, Settings};

/// A state of a task, as it is written.
pub(super) struct Encoded {
    pub(super) id: String,
    pub(super) data: Bytes,
    /// Whether nothing follows it.
    pub(super) is_ready: bool,
    /// Whether what follows it may have been written already, by another worker.
    pub(super) late: bool,
}

impl Encoded {
    pub(super) fn new(meta: &TaskMeta, settings: &Settings) -> Result<Self, Error> {
        let (id, data) = (meta.id.clone(), settings.encode(meta)?);
        // Whoever took the message of a retry may have ended by now.
        Ok(Encoded { id, data, is_ready: meta.state.is_ready(), late: meta.state == State::Retry })
    }
}

/// Writes results.
pub(super) struct Writer {
    pub(super) link: Arc<Link>,
    pub(super) keys: Arc<Keys>,
    pub(super) settings: Arc<Settings>,
    /// The hash that Redis knows the script by.
    hash: String,
}

/// Keeps and publishes a result unless what is there stays: a success, and any end where the state is a passing one that
/// comes late. The status stands first in JSON and msgpack, ours and Celery's, and in a line of its own in its YAML; only
/// what looks otherwise is decoded. Redis runs it as one step and one round trip, where Celery reads, decides and writes.
const STORE: &str = r#"
local key, data, seconds, serializer, late = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local function status(kept)
    local first = kept:match('^{"status": ?"(%u+)"')
    if first then
        return first
    elseif serializer == 'yaml' then
        return kept:match('\nstatus: (%u+)\n')
    elseif serializer == 'msgpack' and kept:sub(2, 8) == '\166status' then
        -- Each that matters has seven letters.
        return kept:sub(9, 9) == '\167' and kept:sub(10, 16)
    end
    local ok, meta = pcall(serializer == 'msgpack' and cmsgpack.unpack or cjson.decode, kept)
    return ok and type(meta) == 'table' and meta.status
end
local kept = redis.call('GET', key)
local known = kept and status(kept)
if known == 'SUCCESS' or late and (known == 'FAILURE' or known == 'REVOKED') then
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

impl Writer {
    pub(super) fn new(link: Arc<Link>, keys: Arc<Keys>, settings: Arc<Settings>) -> Self {
        let hash = Script::new(STORE).get_hash().to_owned();
        Writer { link, keys, settings, hash }
    }

    pub(super) async fn write(&self, state: &Encoded) -> Result<(), Error> {
        let seconds = self.settings.seconds().unwrap_or_default();
        let call = |command: &str, script: &str, _| {
            let mut call = Cmd::new();
            call.arg(command).arg(script).arg(1).arg(self.keys.key(&state.id));
            call.arg(state.data.as_ref()).arg(&seconds).arg(self.settings.serializer.name());
            call.arg(u8::from(state.late));
            call
        };
        run(&self.link, &self.hash, STORE, call).await.map(drop)
    }
}
