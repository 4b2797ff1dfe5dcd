//! Messages that are no task of ours: what is said of them.

use celeriac_protocol::{Message, TaskError as MessageError, TaskMessage};

use crate::observer::Observer;
use crate::request::Origin;

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

/// Celery sends no signal of a body that it cannot decode (`celery/worker/consumer/consumer.py`).
pub(super) async fn tell_rejected(
    observer: &dyn Observer,
    message: Message,
    origin: &Origin,
    error: &MessageError,
) {
    match error {
        MessageError::Unknown(_) => observer.rejected(message, origin, None).await,
        MessageError::Invalid(reason) => observer.rejected(message, origin, Some(reason.clone())).await,
        MessageError::Decode(_) => {}
    }
}

pub(crate) fn tell_unregistered(message: &TaskMessage) {
    tracing::error!(
        "Received unregistered task of type '{}'.\n\
         The message has been ignored and discarded. Did you remember to register the task with the app?\n\
         The contents of the message headers: {}\nThe contents of the message body was: {}",
        message.headers.task,
        shown(format!("{:?}", message.headers).as_bytes()),
        shown(&message.body.data),
    );
}

fn shown(body: &[u8]) -> String {
    let head = &body[..body.len().min(LOGGED_BODY)];
    let text = String::from_utf8_lossy(head).escape_debug().to_string();
    if head.len() == body.len() { text } else { format!("{text}... ({} bytes)", body.len()) }
}
