//! What the fuzz target of cluster messages does with its input. The cluster crate's tests feed it on a stable compiler.

use celeriac_cluster::watch::message::Message;
use celeriac_protocol::EncodedBody;
use celeriac_protocol::codec::{self, Accept, Serializer};

/// A message of the cluster's exchange in JSON; returns whether it is one.
pub fn message(data: &[u8]) -> bool {
    let body = EncodedBody {
        content_type: Serializer::Json.content_type().to_owned(),
        data: data.to_vec().into(),
        ..EncodedBody::default()
    };
    let Ok(value) = codec::decode(&body, &Accept::default()) else { return false };
    let Ok(message) = Message::read(&value) else { return false };
    let again = Message::read(&message.to_value());
    assert_eq!(again.as_ref(), Ok(&message), "our own message is not understood");
    true
}
