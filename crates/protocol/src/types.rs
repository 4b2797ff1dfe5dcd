//! Python's types that Rust has no exact type for: what a Rust program takes and gives to send a real `datetime`,
//! `Decimal` or `bytes`.
//!
//! Each is read from its own [`Value`](crate::Value) or from text, and is plain text (or bytes) to other formats.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::time;

/// The newtype names by which [`to_value`](crate::to_value) and [`from_value`](crate::from_value) know the types.
pub(crate) mod marker {
    pub(crate) const VALUE: &str = "$celeriac::Value";
    pub(crate) const BIG_INT: &str = "$celeriac::BigInt";
    pub(crate) const DATE_TIME: &str = "$celeriac::DateTime";
    pub(crate) const DATE: &str = "$celeriac::Date";
    pub(crate) const TIME: &str = "$celeriac::Time";
    pub(crate) const DECIMAL: &str = "$celeriac::Decimal";
    pub(crate) const UUID: &str = "$celeriac::Uuid";
}

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $marker:expr, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_newtype_struct($marker, &self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_newtype_struct($marker, Text($expected)).map($name)
            }
        }
    };
}

text_type! {
    /// `datetime.datetime` in ISO 8601.
    DateTime, marker::DATE_TIME, "a datetime"
}
text_type! {
    /// `datetime.date` in ISO 8601.
    Date, marker::DATE, "a date"
}
text_type! {
    /// `datetime.time` in ISO 8601.
    Time, marker::TIME, "a time"
}
text_type! {
    /// `decimal.Decimal` as `str()` prints it.
    Decimal, marker::DECIMAL, "a Decimal"
}
text_type! {
    /// `uuid.UUID` in hexadecimal.
    Uuid, marker::UUID, "a UUID"
}

/// The text inside a newtype.
struct Text(&'static str);

impl<'de> Visitor<'de> for Text {
    type Value = String;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<String, E> {
        Ok(text)
    }
}

impl From<chrono::DateTime<chrono::Utc>> for DateTime {
    fn from(moment: chrono::DateTime<chrono::Utc>) -> Self {
        DateTime(time::iso(moment))
    }
}

/// A time without an offset, which Python calls naive.
impl From<chrono::NaiveDateTime> for DateTime {
    fn from(moment: chrono::NaiveDateTime) -> Self {
        DateTime(time::iso_naive(moment))
    }
}

impl DateTime {
    /// The moment; a time without an offset is UTC. `None` when the text is no time.
    pub fn to_utc(&self) -> Option<chrono::DateTime<chrono::Utc>> {
        time::parse(&self.0)
    }
}

impl From<chrono::NaiveDate> for Date {
    fn from(date: chrono::NaiveDate) -> Self {
        Date(date.to_string())
    }
}

impl From<chrono::NaiveTime> for Time {
    fn from(clock: chrono::NaiveTime) -> Self {
        Time(time::iso_clock(clock))
    }
}

/// `bytes`; a plain `Vec<u8>` is a list of numbers to serde.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Content;

        impl<'de> Visitor<'de> for Content {
            type Value = Vec<u8>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
                Ok(text.as_bytes().to_vec())
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Vec<u8>, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = items.next_element()? {
                    bytes.push(byte);
                }
                Ok(bytes)
            }
        }

        deserializer.deserialize_byte_buf(Content).map(Bytes)
    }
}
