//! Chords: Celery's counters, in one script a part (`celery/backends/redis.py`, `on_chord_part_return`).

use bytes::Bytes;
use celeriac_protocol::codec::Serializer;
use celeriac_protocol::{State, TaskMeta, Value, codec};
use redis::Cmd;

use super::{RedisStore, run};
use crate::{ChordHeader, ChordPart, Error, Settings};

/// Counts a part; answers with all of them when it was the last. Celery asks for them after it has counted, and counts
/// a part that is run again with another result twice, so that its chord never ends.
pub(super) const PART: &str = r#"
local parts, more, size, saved = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local part, index, ordered, seconds = ARGV[1], ARGV[2], ARGV[3] == '1', ARGV[4]
if ARGV[5] then
    local counted
    if ordered then
        counted = redis.call('ZRANGEBYSCORE', parts, index, index)
    else
        counted = redis.call('LRANGE', parts, 0, -1)
    end
    for _, kept in ipairs(counted) do
        for spelling = 5, #ARGV do
            local begin = ARGV[spelling]
            if kept:sub(1, #begin) == begin then
                if ordered then
                    redis.call('ZREM', parts, kept)
                else
                    redis.call('LREM', parts, 0, kept)
                end
            end
        end
    end
end
local count
if ordered then
    redis.call('ZADD', parts, index, part)
    count = redis.call('ZCARD', parts)
else
    count = redis.call('RPUSH', parts, part)
end
if seconds ~= '' then
    redis.call('EXPIRE', parts, seconds)
    redis.call('EXPIRE', more, seconds)
    redis.call('EXPIRE', size, seconds)
end
local whole = tonumber(redis.call('GET', size) or '')
if not whole or count ~= whole + (tonumber(redis.call('GET', more) or '') or 0) then
    return false
end
return {redis.call('GET', saved) or '', redis.call(ordered and 'ZRANGE' or 'LRANGE', parts, 0, -1)}
"#;

impl RedisStore {
    pub(super) async fn count_part(&self, part: &ChordPart<'_>) -> Result<Option<ChordHeader>, Error> {
        let data = self.settings.encode_part(part)?;
        // How the same part begins that was counted before, in each way it may be written.
        let begins = self.settings.begins(part.id)?;
        let index = part.index.map_or_else(|| "+inf".to_owned(), |index| index.to_string());
        let call = |command: &str, script: &str, lost: bool| {
            let mut call = Cmd::new();
            call.arg(command).arg(script).arg(4);
            for key in [".j", ".t", ".s", ""] {
                call.arg(self.keys.group(part.group, key));
            }
            call.arg(data.as_ref()).arg(&index).arg(u8::from(self.settings.chord_ordered));
            call.arg(self.settings.seconds().unwrap_or_default());
            if part.again || lost {
                call.arg(&begins);
            }
            call
        };
        let invalid = |what: &redis::Value| {
            let reason = format!("Redis gave {what:?} for its chord");
            Error::Invalid { id: part.group.to_owned(), reason }
        };
        let (saved, parts) = match run(&self.link, &self.part, PART, call).await? {
            redis::Value::Nil => return Ok(None),
            redis::Value::Array(answer) => match <[redis::Value; 2]>::try_from(answer) {
                Ok([redis::Value::BulkString(saved), redis::Value::Array(parts)]) => (saved, parts),
                other => return Err(invalid(&redis::Value::Array(other.map_or_else(|all| all, Vec::from)))),
            },
            other => return Err(invalid(&other)),
        };
        let parts = parts.into_iter().map(|kept| match kept {
            redis::Value::BulkString(data) => self.settings.decode_part(part.group, Bytes::from(data)),
            other => Err(invalid(&other)),
        });
        let parts = parts.collect::<Result<_, _>>()?;
        let saved = if saved.is_empty() { None } else { Some(self.decode_group(part.group, saved)?) };
        Ok(Some(ChordHeader { parts, saved }))
    }

    /// What `GroupResult.save` wrote.
    fn decode_group(&self, group: &str, data: Vec<u8>) -> Result<Value, Error> {
        let result = match self.settings.decode_value(group, Bytes::from(data))? {
            Value::Map(mut fields) => fields.remove("result"),
            _ => None,
        };
        let reason = || "it is no group of results".to_owned();
        result.ok_or_else(|| Error::Invalid { id: group.to_owned(), reason: reason() })
    }

    pub(super) async fn keep_group(&self, id: &str, results: &Value) -> Result<(), Error> {
        let group = Value::Map([("result", results.clone())].into_iter().collect());
        let data = self.settings.encode_value(id, &group)?;
        let mut set = Cmd::new();
        set.arg("SET").arg(self.keys.group(id, "")).arg(data.as_ref());
        if let Some(seconds) = self.settings.seconds() {
            set.arg("EX").arg(seconds);
        }
        self.ask(&set).await.map(drop)
    }

    pub(super) async fn read_group(&self, id: &str) -> Result<Option<Value>, Error> {
        let mut get = Cmd::new();
        get.arg("GET").arg(self.keys.group(id, ""));
        match self.ask(&get).await? {
            redis::Value::BulkString(data) => self.decode_group(id, data).map(Some),
            _ => Ok(None),
        }
    }

    pub(super) async fn size_chord(&self, group: &str, size: usize) -> Result<(), Error> {
        let mut set = Cmd::new();
        set.arg("SET").arg(self.keys.group(group, ".s")).arg(size);
        if let Some(seconds) = self.settings.seconds() {
            set.arg("EX").arg(seconds);
        }
        self.ask(&set).await.map(drop)
    }

    pub(super) async fn end_chord(&self, group: &str) -> Result<(), Error> {
        let mut delete = Cmd::new();
        delete.arg("DEL");
        for key in [".j", ".t", ".s"] {
            delete.arg(self.keys.group(group, key));
        }
        self.ask(&delete).await.map(drop)
    }
}

impl Settings {
    /// What stands for a part until all have ended.
    fn encode_part(&self, part: &ChordPart<'_>) -> Result<Bytes, Error> {
        let value =
            Value::List(vec![1.into(), part.id.into(), part.state.name().into(), part.result.clone()]);
        self.encode_value(part.id, &value)
    }

    /// How what stands for a task's part begins, up to the end of its id: as it is written here, and as Python writes it
    /// where that is something else.
    fn begins(&self, id: &str) -> Result<Vec<Vec<u8>>, Error> {
        let mut ours = self.encode_value(id, &Value::List(vec![1.into(), id.into()]))?.to_vec();
        // No list ends here.
        let end = |mut ours: Vec<u8>| {
            ours.truncate(ours.iter().rposition(|byte| *byte == b']').unwrap_or_default());
            ours.push(b',');
            ours
        };
        Ok(match self.serializer {
            Serializer::Json => vec![end(ours), format!("[1, \"{}\",", escaped(id)).into_bytes()],
            Serializer::Yaml => {
                let theirs = ["", "'"].map(|quote| format!("- 1\n- {quote}{id}{quote}\n").into_bytes());
                [end(ours)].into_iter().chain(theirs).collect()
            }
            Serializer::Msgpack => {
                // A list of four.
                ours.iter_mut().take(1).for_each(|length| *length = 0x94);
                vec![ours]
            }
        })
    }

    fn encode_value(&self, id: &str, value: &Value) -> Result<Bytes, Error> {
        match codec::encode(value, self.serializer, None) {
            Ok(body) => Ok(body.data),
            Err(error) => Err(Error::Encode { id: id.to_owned(), reason: error.to_string() }),
        }
    }

    fn decode_part(&self, group: &str, data: Bytes) -> Result<TaskMeta, Error> {
        let fail = |reason: &str| Error::Invalid { id: group.to_owned(), reason: reason.to_owned() };
        let Value::List(fields) = self.decode_value(group, data)? else {
            return Err(fail("a part of its chord is no list"));
        };
        let Ok([_, Value::String(id), Value::String(state), result]) = <[Value; 4]>::try_from(fields) else {
            return Err(fail("a part of its chord is not id, state and result"));
        };
        Ok(TaskMeta { id, state: State::from_name(&state), result, ..TaskMeta::default() })
    }

    fn decode_value(&self, id: &str, data: Bytes) -> Result<Value, Error> {
        codec::decode(&self.body(data), &self.accept)
            .map_err(|error| Error::Invalid { id: id.to_owned(), reason: error.to_string() })
    }
}

/// Text in a string of Python's JSON, which is ASCII.
fn escaped(text: &str) -> String {
    let escape = |unit: u16| match u8::try_from(unit) {
        Ok(byte @ (b'"' | b'\\')) => format!("\\{}", char::from(byte)),
        Ok(b'\n') => "\\n".to_owned(),
        Ok(b'\r') => "\\r".to_owned(),
        Ok(b'\t') => "\\t".to_owned(),
        Ok(0x08) => "\\b".to_owned(),
        Ok(0x0c) => "\\f".to_owned(),
        Ok(byte @ 0x20..=0x7e) => char::from(byte).to_string(),
        _ => format!("\\u{unit:04x}"),
    };
    text.encode_utf16().map(escape).collect()
}
