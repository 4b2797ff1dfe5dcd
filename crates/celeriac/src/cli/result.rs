//! `result ID` (`celery/bin/result.py`).

use celeriac_protocol::codec::{self, Serializer};
use celeriac_protocol::{Value, repr};

use super::args::TaskResult;
use super::console::Console;
use super::error::Error;
use crate::{App, ResultError};

/// Waits for a result and prints it; with `--traceback`, prints what there is of one now.
pub(super) async fn run(app: &App, console: Console, options: &TaskResult) -> Result<(), Error> {
    let result = app.result::<Value>(&options.id);
    if options.traceback {
        let meta = result.meta().await?;
        console.say(meta.traceback.as_deref().unwrap_or_default().trim_end());
        return Ok(());
    }
    match result.get().await {
        Ok(value) => console.say(&shown(&value)),
        Err(error) => {
            if let ResultError::Task { traceback: Some(traceback), .. } = &error {
                eprintln!("{}", traceback.trim_end());
            }
            return Err(error.into());
        }
    }
    Ok(())
}

/// As Python's `str`, but lists and dicts in JSON, which other programs read too.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) | Value::DateTime(text) | Value::Date(text) | Value::Time(text) => text.clone(),
        Value::Decimal(text) | Value::Uuid(text) => text.clone(),
        Value::List(_) | Value::Map(_) => match codec::encode(value, Serializer::Json, None) {
            Ok(body) => String::from_utf8_lossy(&body.data).into_owned(),
            Err(error) => error.to_string(),
        },
        scalar => repr::value(scalar),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_for_people_and_for_programs() {
        assert_eq!(shown(&Value::from("héllo")), "héllo");
        assert_eq!(shown(&Value::Bool(true)), "True");
        assert_eq!(shown(&Value::Null), "");
        assert_eq!(shown(&Value::List(vec![Value::from(1), Value::from("a")])), r#"[1,"a"]"#);
    }
}
