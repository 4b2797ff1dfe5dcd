//! Kombu's JSON form of a message.
