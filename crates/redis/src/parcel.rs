use celeriac_broker::{Envelope, Error};
use celeriac_protocol::Message;
use uuid::Uuid;

/// A message as it lies in a list.
pub(crate) struct Parcel {
    pub payload: Vec<u8>,
    pub priority: Option<u8>,
}

impl Parcel {
    /// # Errors
    /// [`Error::NotAccepted`] when a header cannot be written as JSON.
    pub fn new(exchange: &str, routing_key: &str, message: Message) -> Result<Self, Error> {
        let priority = message.properties.priority;
        let envelope = Envelope {
            message,
            exchange: exchange.to_owned(),
            routing_key: routing_key.to_owned(),
            redelivered: false,
            delivery_tag: Uuid::new_v4().to_string(),
        };
        let payload = envelope.encode().map_err(|error| Error::NotAccepted(error.to_string()))?;
        Ok(Parcel { payload, priority })
    }
}
