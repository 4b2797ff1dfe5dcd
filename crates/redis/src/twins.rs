//! Messages that come by two channels.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use celeriac_broker::Envelope;

use crate::keys::Channel;

/// How many are remembered (`kombu/transport/redis.py`, `_fanout_compat_dedup_size`).
const MOST: usize = 1000;

/// Which messages have come already, by their delivery tags.
#[derive(Debug, Default)]
pub(crate) struct Twins {
    seen: HashSet<(Channel, String)>,
    order: VecDeque<(Channel, String)>,
}

impl Twins {
    /// Whether a message comes for the first time. One without a tag always does.
    pub fn is_new(&mut self, channel: Channel, payload: &Bytes) -> bool {
        let Ok(Envelope { delivery_tag, .. }) = Envelope::decode(payload.clone()) else { return true };
        let one = (channel, delivery_tag);
        if one.1.is_empty() {
            return true;
        }
        if !self.seen.insert(one.clone()) {
            return false;
        }
        self.order.push_back(one);
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_come_is_known_for_a_while() {
        let mut twins = Twins::default();
        let mut is_new = |channel: &str, tag: usize| {
            let envelope = Envelope { delivery_tag: tag.to_string(), ..Envelope::default() };
            twins.is_new(Channel::Exact(channel.to_owned()), &envelope.encode().unwrap().into())
        };
        assert!(is_new("a", 0) && !is_new("a", 0) && is_new("b", 0));
        assert!((1..=MOST).all(|tag| is_new("a", tag)));
        assert!(is_new("a", 0) && !is_new("a", MOST));
        assert!(twins.is_new(Channel::Exact("a".to_owned()), &Bytes::from_static(b"rubbish")));
        assert!(twins.is_new(Channel::Exact("a".to_owned()), &Bytes::from_static(b"rubbish")));
    }
}
