//! Messages that are no task of ours: what is said of them.

use celeriac_protocol::TaskError as MessageError;
use celeriac_protocol::result::Exception;
use celeriac_protocol::{Map, TaskMessage, TaskMeta, repr};

use crate::consumer::Consumer;
use crate::request::{self, Origin};

/// How much of a body that makes no sense is logged.
const LOGGED_BODY: usize = 1024;

pub(super) fn tell_invalid(error: &MessageError, origin: &Origin, body: &[u8]) {
    let body = shown(body);
    let queue = &origin.queue;
    match error {
        MessageError::Unknown(reason) => tracing::warn!(
            "Received and deleted unknown message from {queue}. Wrong destination?!? {reason}\n\
             The contents of the message body was: {body}"
        ),
        error => tracing::error!(
            "Received invalid task message from {queue}: {error}\n\
             The message has been ignored and discarded. Please ensure your message conforms to the task \
             message protocol.\nThe contents of the message body was: {body}"
        ),
    }
}

pub(super) fn tell_unregistered(message: &TaskMessage, body: &[u8]) {
    tracing::error!(
        "Received unregistered task of type '{}'.\n\
         The message has been ignored and discarded. Did you remember to register the task with the app?\n\
         The contents of the message headers: {}\nThe contents of the message body was: {}",
        message.headers.task,
        shown(format!("{:?}", message.headers).as_bytes()),
        shown(body),
    );
}

fn shown(body: &[u8]) -> String {
    let head = &body[..body.len().min(LOGGED_BODY)];
    let text = String::from_utf8_lossy(head).escape_debug().to_string();
    if head.len() == body.len() { text } else { format!("{text}... ({} bytes)", body.len()) }
}

/// Tells monitors and the result store of a task that is not known here (`celery/worker/consumer/consumer.py`,
/// `on_unknown_task`).
pub(super) async fn fail_unregistered(consumer: &Consumer, message: &TaskMessage) {
    let name = repr::value(&message.headers.task.as_str().into());
    let told = [
        ("uuid", message.headers.id.as_str().into()),
        ("exception", format!("NotRegistered({name})").into()),
    ];
    consumer.events().send("task-failed", Map::from_iter(told));
    if message.headers.ignore_result {
        return;
    }
    let exception = Exception::new("NotRegistered", "celery.exceptions", name);
    let meta = TaskMeta::failure(&message.headers.id, exception, None);
    consumer
        .tracer
        .store(meta, &message.headers, &request::reply_to(&message.headers, &message.properties))
        .await;
}
