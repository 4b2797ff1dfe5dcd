use chrono::{DateTime, Utc};

use super::{TaskError, invalid};
use crate::{Map, Value, time};

/// The envelope of a task: everything that Celery tells about a call besides its arguments.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TaskHeaders {
    /// The sender's language, `py` in all that Celery sends.
    pub lang: String,
    /// The task's name.
    pub task: String,
    /// The task's id, a UUID as text by custom.
    pub id: String,
    /// A name to show instead of the task's.
    pub shadow: Option<String>,
    /// Not to be run before.
    pub eta: Option<DateTime<Utc>>,
    /// Not to be run after.
    pub expires: Option<DateTime<Utc>>,
    /// The group that this task is a part of.
    pub group: Option<String>,
    /// Its place in that group.
    pub group_index: Option<i64>,
    /// How often it was retried.
    pub retries: u32,
    /// Hard time limit in seconds.
    pub time_limit: Option<f64>,
    /// Soft time limit in seconds.
    pub soft_time_limit: Option<f64>,
    /// Whether the hard and the soft limit are whole and came as floats: Python shows these as `1.0`, an integer as `1`.
    pub float_limits: [bool; 2],
    /// The first task of the workflow.
    pub root_id: Option<String>,
    /// The task that sent this one.
    pub parent_id: Option<String>,
    /// The positional arguments as Python would print them, for people only.
    pub argsrepr: Option<String>,
    /// The keyword arguments likewise.
    pub kwargsrepr: Option<String>,
    /// The process that sent it, `gen123@host`.
    pub origin: Option<String>,
    /// The caller wants no result stored.
    pub ignore_result: bool,
    /// The caller did not say so, nor the opposite: Celery 5.7 has the task decide then, else the caller.
    pub ignore_result_unsaid: bool,
    /// How often `Task.replace` was nested.
    pub replaced_task_nesting: u32,
    /// The names of the stamps; Celery sends `None` and an empty list for none.
    pub stamped_headers: Option<Vec<String>>,
    /// The stamps.
    pub stamps: Map,
    /// Every other header, untouched: the caller's own.
    pub other: Map,
}

impl TaskHeaders {
    /// The envelope of a first call.
    pub fn new(task: impl Into<String>, id: impl Into<String>) -> Self {
        let id = id.into();
        TaskHeaders {
            lang: "py".to_owned(),
            task: task.into(),
            root_id: Some(id.clone()),
            id,
            ..TaskHeaders::default()
        }
    }

    /// The name to show: the shadow, if there is one.
    pub fn name(&self) -> &str {
        self.shadow.as_deref().unwrap_or(&self.task)
    }

    /// Reads the headers of protocol 2.
    ///
    /// # Errors
    /// When a field that is needed is absent or a field has the wrong type.
    pub fn from_map(map: Map) -> Result<Self, TaskError> {
        let mut headers = TaskHeaders { ignore_result_unsaid: true, ..TaskHeaders::default() };
        let mut other = Vec::new();
        for (key, value) in map {
            match key.as_ref() {
                "lang" => headers.lang = text("lang", value)?.unwrap_or_default(),
                "task" => headers.task = text("task", value)?.unwrap_or_default(),
                "id" => headers.id = text("id", value)?.unwrap_or_default(),
                "shadow" => headers.shadow = text("shadow", value)?.filter(|shadow| !shadow.is_empty()),
                "eta" => headers.eta = moment("eta", value)?,
                "expires" => headers.expires = moment("expires", value)?,
                "group" => headers.group = text("group", value)?,
                "group_index" => headers.group_index = integer("group_index", value)?,
                "retries" => headers.retries = count("retries", value)?,
                "timelimit" => {
                    headers.float_limits = floats(&value);
                    (headers.time_limit, headers.soft_time_limit) = limits(value)?;
                }
                "root_id" => headers.root_id = text("root_id", value)?,
                "parent_id" => headers.parent_id = text("parent_id", value)?,
                "argsrepr" => headers.argsrepr = text("argsrepr", value)?,
                "kwargsrepr" => headers.kwargsrepr = text("kwargsrepr", value)?,
                "origin" => headers.origin = text("origin", value)?,
                "ignore_result" => {
                    (headers.ignore_result, headers.ignore_result_unsaid) = match value {
                        Value::Null => (false, true),
                        Value::Bool(flag) => (flag, false),
                        value => return Err(invalid("ignore_result", "bool", &value)),
                    }
                }
                "replaced_task_nesting" => {
                    headers.replaced_task_nesting = count("replaced_task_nesting", value)?;
                }
                "stamped_headers" => headers.stamped_headers = names(value)?,
                "stamps" => {
                    headers.stamps = match value {
                        Value::Null => Map::new(),
                        Value::Map(stamps) => stamps,
                        value => return Err(invalid("stamps", "dict", &value)),
                    }
                }
                _ => other.push((key, value)),
            }
        }
        headers.other = other.into_iter().collect();
        if headers.task.is_empty() {
            return Err(TaskError::Invalid("the task's name is empty".to_owned()));
        }
        if headers.id.is_empty() {
            return Err(TaskError::Invalid(format!("task {} has no id", headers.task)));
        }
        Ok(headers)
    }

    /// The headers of protocol 2, in Celery's order.
    pub fn into_map(self) -> Map {
        let iso = |time: Option<DateTime<Utc>>| Value::from(time.map(time::iso));
        let names = |names: Vec<String>| Value::List(names.into_iter().map(Value::from).collect());
        let [hard, soft] = self.float_limits;
        let entries = [
            ("lang", Value::from(self.lang)),
            ("task", self.task.into()),
            ("id", self.id.into()),
            ("shadow", self.shadow.into()),
            ("eta", iso(self.eta)),
            ("expires", iso(self.expires)),
            ("group", self.group.into()),
            ("group_index", self.group_index.into()),
            ("retries", self.retries.into()),
            ("timelimit", Value::List(vec![limit(self.time_limit, hard), limit(self.soft_time_limit, soft)])),
            ("root_id", self.root_id.into()),
            ("parent_id", self.parent_id.into()),
            ("argsrepr", self.argsrepr.into()),
            ("kwargsrepr", self.kwargsrepr.into()),
            ("origin", self.origin.into()),
            ("ignore_result", (!self.ignore_result_unsaid).then_some(self.ignore_result).into()),
            ("replaced_task_nesting", self.replaced_task_nesting.into()),
            ("stamped_headers", self.stamped_headers.map(names).into()),
            ("stamps", self.stamps.into()),
        ];
        entries.into_iter().map(|(key, value)| (key.into(), value)).chain(self.other).collect()
    }
}

fn text(field: &str, value: Value) -> Result<Option<String>, TaskError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) | Value::Uuid(text) => Ok(Some(text)),
        value => Err(invalid(field, "str", &value)),
    }
}

fn integer(field: &str, value: Value) -> Result<Option<i64>, TaskError> {
    match value {
        Value::Null => Ok(None),
        Value::Int(number) => Ok(Some(number)),
        value => Err(invalid(field, "int", &value)),
    }
}

fn count(field: &str, value: Value) -> Result<u32, TaskError> {
    let number = integer(field, value)?.unwrap_or(0);
    u32::try_from(number).map_err(|_| TaskError::Invalid(format!("{field} is out of range: {number}")))
}

fn moment(field: &str, value: Value) -> Result<Option<DateTime<Utc>>, TaskError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) | Value::DateTime(text) => time::parse(&text)
            .map(Some)
            .ok_or_else(|| TaskError::Invalid(format!("invalid {field} value {text:?}"))),
        value => Err(invalid(field, "an ISO 8601 time", &value)),
    }
}

fn limits(value: Value) -> Result<(Option<f64>, Option<f64>), TaskError> {
    let seconds = |value: &Value| match value {
        Value::Null => Ok(None),
        value => match value.as_f64() {
            Some(seconds) if seconds.is_finite() && seconds >= 0.0 => Ok((seconds > 0.0).then_some(seconds)),
            Some(seconds) => Err(TaskError::Invalid(format!("timelimit is out of range: {seconds}"))),
            None => Err(invalid("timelimit", "two numbers", value)),
        },
    };
    match value.as_list() {
        None if value.is_null() => Ok((None, None)),
        Some([]) => Ok((None, None)),
        Some([hard, soft]) => Ok((seconds(hard)?, seconds(soft)?)),
        _ => Err(invalid("timelimit", "[hard, soft]", &value)),
    }
}

fn floats(limits: &Value) -> [bool; 2] {
    let is_float = |limit: &Value| matches!(limit, Value::Float(limit) if limit.fract() == 0.0);
    match limits.as_list() {
        Some([hard, soft]) => [is_float(hard), is_float(soft)],
        _ => [false; 2],
    }
}

/// Whole seconds travel as an integer, as Celery's users write them, unless they came as a float.
fn limit(seconds: Option<f64>, is_float: bool) -> Value {
    match seconds {
        None => Value::Null,
        Some(seconds) if !is_float && seconds.fract() == 0.0 && seconds < 1e15 => Value::Int(seconds as i64),
        Some(seconds) => Value::Float(seconds),
    }
}

fn names(value: Value) -> Result<Option<Vec<String>>, TaskError> {
    match value {
        Value::Null => Ok(None),
        Value::List(items) => items
            .into_iter()
            .map(|item| match item {
                Value::String(name) => Ok(name),
                item => Err(invalid("stamped_headers", "a list of str", &item)),
            })
            .collect::<Result<_, _>>()
            .map(Some),
        value => Err(invalid("stamped_headers", "list", &value)),
    }
}
