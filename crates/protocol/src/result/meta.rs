use super::{Exception, State};
use crate::codec::{self, Accept, DecodeError, EncodeError, Serializer};
use crate::{EncodedBody, Map, Value};

/// What a store keeps about one task.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TaskMeta {
    /// The task's id.
    pub id: String,
    /// Its state.
    pub state: State,
    /// Its return value; for the exception states the dict of an [`Exception`].
    pub result: Value,
    /// The traceback of an error.
    pub traceback: Option<String>,
    /// The tasks that it sent, as `AsyncResult.as_tuple` writes them.
    pub children: Vec<Value>,
    /// When it was stored, as ISO 8601 text; set by the caller, for the ready states only.
    pub date_done: Option<String>,
    /// The group that it is in.
    pub group_id: Option<String>,
    /// The task that sent it.
    pub parent_id: Option<String>,
    /// What `result_extended` adds.
    pub extended: Option<Extended>,
    /// Every other key, untouched: `stamped_headers` and the stamps, mostly.
    pub other: Map,
}

/// What `result_extended` adds to a result.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Extended {
    /// The task's name.
    pub name: Option<String>,
    /// Its positional arguments.
    pub args: Value,
    /// Its keyword arguments.
    pub kwargs: Value,
    /// The worker that ran it.
    pub worker: Option<String>,
    /// How often it was retried.
    pub retries: Option<u32>,
    /// The routing key that it came by.
    pub queue: Option<String>,
}

/// Why a stored result cannot be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MetaError {
    /// The bytes could not be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// They are no dict of a result.
    #[error("{0}")]
    Shape(String),
}

impl TaskMeta {
    /// A task that the store does not know.
    pub fn pending(id: impl Into<String>) -> Self {
        TaskMeta { id: id.into(), ..TaskMeta::default() }
    }

    /// A task that runs; `result` is what `track_started` stores.
    pub fn started(id: impl Into<String>, pid: u32, hostname: impl Into<String>) -> Self {
        let mut result = Map::with_capacity(2);
        result.insert("pid", pid);
        result.insert("hostname", hostname.into());
        TaskMeta { id: id.into(), state: State::Started, result: result.into(), ..TaskMeta::default() }
    }

    /// A task that returned a value.
    pub fn success(id: impl Into<String>, value: impl Into<Value>) -> Self {
        TaskMeta { id: id.into(), state: State::Success, result: value.into(), ..TaskMeta::default() }
    }

    /// A task that raised an error.
    pub fn failure(id: impl Into<String>, exception: Exception, traceback: Option<String>) -> Self {
        Self::raised(id, State::Failure, exception, traceback)
    }

    /// A task that will be run again because of an error.
    pub fn retry(id: impl Into<String>, exception: Exception, traceback: Option<String>) -> Self {
        Self::raised(id, State::Retry, exception, traceback)
    }

    /// A task that was revoked, or expired; `reason` is `revoked`, `expired` or `terminated` in Celery.
    pub fn revoked(id: impl Into<String>, reason: impl Into<String>) -> Self {
        let exception = Exception::new("TaskRevokedError", "celery.exceptions", reason);
        Self::raised(id, State::Revoked, exception, None)
    }

    fn raised(id: impl Into<String>, state: State, exception: Exception, traceback: Option<String>) -> Self {
        TaskMeta { id: id.into(), state, result: exception.into_value(), traceback, ..TaskMeta::default() }
    }

    /// The error of an exception state that carries one.
    pub fn exception(&self) -> Option<Exception> {
        (self.state.is_exception() && !self.result.is_null()).then(|| Exception::from_value(&self.result))
    }

    /// The dict that stores keep, its keys in Celery's order.
    pub fn to_value(&self) -> Value {
        let mut fields = vec![
            ("status".into(), self.state.name().into()),
            ("result".into(), self.result.clone()),
            ("traceback".into(), self.traceback.clone().into()),
            ("children".into(), self.children.clone().into()),
            ("date_done".into(), self.date_done.clone().into()),
        ];
        let optional = [("group_id", &self.group_id), ("parent_id", &self.parent_id)];
        for (key, value) in optional.into_iter().filter(|(_, value)| value.is_some()) {
            fields.push((key.into(), value.clone().into()));
        }
        if let Some(extended) = &self.extended {
            fields.extend([
                ("name".into(), extended.name.clone().into()),
                ("args".into(), extended.args.clone()),
                ("kwargs".into(), extended.kwargs.clone()),
                ("worker".into(), extended.worker.clone().into()),
                ("retries".into(), extended.retries.into()),
                ("queue".into(), extended.queue.clone().into()),
            ]);
        }
        fields.extend(self.other.clone());
        fields.push(("task_id".into(), self.id.clone().into()));
        fields.into_iter().collect::<Map>().into()
    }

    /// The dict that a reply of the rpc store holds, its keys in Celery's order (`celery/backends/rpc.py`,
    /// `_to_result`). It tells less: no date, no group, nothing extended.
    pub fn to_reply(&self) -> Value {
        let mut fields = Map::with_capacity(5);
        fields.insert("task_id", self.id.clone());
        fields.insert("status", self.state.name());
        fields.insert("result", self.result.clone());
        fields.insert("traceback", self.traceback.clone());
        fields.insert("children", self.children.clone());
        fields.into()
    }

    /// Reads the dict that a store keeps.
    ///
    /// # Errors
    /// When it is no dict, or has no status.
    pub fn from_value(value: Value) -> Result<Self, MetaError> {
        let Value::Map(fields) = value else {
            return Err(MetaError::Shape(format!("it must be a dict, not {}", value.type_name())));
        };
        let mut meta = TaskMeta::default();
        let mut status = None;
        let mut extended = Extended::default();
        let mut is_extended = false;
        let mut other = Vec::new();
        for (key, value) in fields {
            is_extended |=
                matches!(key.as_ref(), "name" | "args" | "kwargs" | "worker" | "retries" | "queue");
            match key.as_ref() {
                "task_id" => meta.id = text("task_id", value)?.unwrap_or_default(),
                "status" => status = text("status", value)?,
                "result" => meta.result = value,
                "traceback" => meta.traceback = text("traceback", value)?,
                "children" => meta.children = list("children", value)?,
                "date_done" => meta.date_done = text("date_done", value)?,
                "group_id" => meta.group_id = text("group_id", value)?,
                "parent_id" => meta.parent_id = text("parent_id", value)?,
                "name" => extended.name = text("name", value)?,
                "args" => extended.args = value,
                "kwargs" => extended.kwargs = value,
                "worker" => extended.worker = text("worker", value)?,
                "retries" => extended.retries = value.as_i64().and_then(|count| u32::try_from(count).ok()),
                "queue" => extended.queue = text("queue", value)?,
                _ => other.push((key, value)),
            }
        }
        let status = status.ok_or_else(|| MetaError::Shape("it has no status".to_owned()))?;
        meta.state = State::from_name(&status);
        meta.extended = is_extended.then_some(extended);
        meta.other = other.into_iter().collect();
        Ok(meta)
    }

    /// The bytes that stores keep.
    ///
    /// # Errors
    /// When the serializer cannot hold a value.
    pub fn encode(&self, serializer: Serializer) -> Result<EncodedBody, EncodeError> {
        codec::encode(&self.to_value(), serializer, None)
    }

    /// Reads the bytes that a store keeps.
    ///
    /// # Errors
    /// When they cannot be decoded, or are no dict of a result.
    pub fn decode(body: &EncodedBody, accept: &Accept) -> Result<Self, MetaError> {
        Self::from_value(codec::decode(body, accept)?)
    }
}

fn text(field: &str, value: Value) -> Result<Option<String>, MetaError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) | Value::Uuid(text) | Value::DateTime(text) => Ok(Some(text)),
        value => Err(MetaError::Shape(format!("{field} must be str, not {}", value.type_name()))),
    }
}

fn list(field: &str, value: Value) -> Result<Vec<Value>, MetaError> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::List(items) => Ok(items),
        value => Err(MetaError::Shape(format!("{field} must be list, not {}", value.type_name()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_in_celerys_order() {
        let meta = TaskMeta {
            group_id: Some("g".to_owned()),
            parent_id: Some("p".to_owned()),
            extended: Some(Extended { name: Some("t".to_owned()), ..Extended::default() }),
            other: [("stamped_headers", Value::List(vec!["s".into()]))].into_iter().collect(),
            ..TaskMeta::success("i", 5)
        };
        let Value::Map(fields) = meta.to_value() else { panic!("no dict") };
        let keys: Vec<_> = fields.iter().map(|(key, _)| key).collect();
        let expected = "status result traceback children date_done group_id parent_id name args kwargs worker \
                        retries queue stamped_headers task_id";
        assert_eq!(keys.join(" "), expected);
        assert_eq!(TaskMeta::from_value(Value::Map(fields)).unwrap(), meta);
    }

    #[test]
    fn absent_options_write_no_keys() {
        let Value::Map(fields) = TaskMeta::success("i", 5).to_value() else { panic!("no dict") };
        let keys: Vec<_> = fields.iter().map(|(key, _)| key).collect();
        assert_eq!(keys.join(" "), "status result traceback children date_done task_id");
        let Value::Map(fields) = TaskMeta::success("i", 5).to_reply() else { panic!("no dict") };
        let keys: Vec<_> = fields.iter().map(|(key, _)| key).collect();
        assert_eq!(keys.join(" "), "task_id status result traceback children");
    }

    #[test]
    fn errors_are_read_whatever_their_shape() {
        let meta = TaskMeta::revoked("i", "terminated");
        let exception = meta.exception().unwrap();
        assert_eq!(exception.kind, "TaskRevokedError");
        assert_eq!(exception.module.as_deref(), Some("celery.exceptions"));
        assert_eq!(exception.to_string(), "TaskRevokedError: terminated");

        assert_eq!(TaskMeta::success("i", 5).exception(), None);
        let odd = TaskMeta { state: State::Failure, result: "boom".into(), ..TaskMeta::default() };
        assert_eq!(odd.exception().unwrap().to_string(), "Exception: boom");
    }

    #[test]
    fn what_is_no_result_is_told() {
        for value in [Value::Null, Value::List(vec![]), Value::Map(Map::new())] {
            assert!(matches!(TaskMeta::from_value(value), Err(MetaError::Shape(_))));
        }
        let odd = [("status", Value::from("SUCCESS")), ("traceback", 5.into())];
        let error = TaskMeta::from_value(odd.into_iter().collect::<Map>().into()).unwrap_err();
        assert_eq!(error.to_string(), "traceback must be str, not int");
    }
}
