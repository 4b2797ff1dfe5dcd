//! What Redis sends by itself: messages of fanout exchanges, and which keys others have changed.

use std::sync::Weak;

use bytes::Bytes;
use celeriac_broker::Error;
use redis::{Msg, PushInfo, PushKind, Value};
use tokio::sync::mpsc;

use crate::hub::Hub;
use crate::keys::Channel;

/// Hands on what comes, for as long as there is somebody to have it.
pub(crate) async fn run(mut pushes: mpsc::UnboundedReceiver<PushInfo>, hub: Weak<Hub>) {
    while let Some(PushInfo { kind, data }) = pushes.recv().await {
        let Some(hub) = hub.upgrade() else { return };
        let mut data = data.into_iter();
        match kind {
            PushKind::Invalidate => match data.next() {
                Some(Value::Array(keys)) => {
                    let keys: Vec<_> = keys.into_iter().filter_map(bytes).collect();
                    hub.changed(Some(&keys));
                }
                // All, as after FLUSHDB.
                _ => hub.changed(None),
            },
            PushKind::Message => {
                if let (Some(channel), Some(payload)) =
                    (data.next().and_then(text), data.next().and_then(bytes))
                {
                    hub.heard(&Channel::Exact(channel), &payload.into());
                }
            }
            PushKind::PMessage => {
                if let (Some(pattern), Some(payload)) =
                    (data.next().and_then(text), data.nth(1).and_then(bytes))
                {
                    hub.heard(&Channel::Pattern(pattern), &payload.into());
                }
            }
            PushKind::Disconnection => hub.lose(Error::Lost("Redis closed the connection".to_owned())),
            _ => {}
        }
    }
}

/// Hands on what comes by a socket that has nothing else.
pub(crate) fn hear(hub: &Hub, message: &Msg) {
    let channel = match message.get_pattern::<Option<String>>() {
        Ok(Some(pattern)) => Some(Channel::Pattern(pattern)),
        _ => message.get_channel().ok().map(Channel::Exact),
    };
    if let Some(channel) = channel {
        hub.heard(&channel, &Bytes::copy_from_slice(message.get_payload_bytes()));
    }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

fn text(value: Value) -> Option<String> {
    String::from_utf8(bytes(value)?).ok()
}
