//! What the fuzz target of kombu's envelope does with its input. The broker crate's tests feed it on a stable compiler.

use celeriac_broker::Envelope;

/// What a list of Redis or a row of SQLite holds; returns whether it is an envelope.
pub fn read(data: &[u8]) -> bool {
    let Ok(envelope) = Envelope::decode(data.to_vec().into()) else { return false };
    if let Ok(written) = envelope.clone().encode() {
        let again = Envelope::decode(written.into());
        assert_eq!(again.map(|again| again.message.body), Ok(envelope.message.body), "not what we wrote");
    }
    true
}
