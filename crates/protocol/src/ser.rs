use std::borrow::Cow;

use serde::ser::{self, Serialize};

use crate::types::marker;
use crate::{Map, Value, ValueError};

/// Writes a Rust value as Celery's data.
///
/// Enums are written as `serde_json` does: `"Unit"`, `{"Variant": content}`. Keys that are numbers or booleans become
/// text.
///
/// # Errors
/// When Celery's data model cannot hold it, such as a map whose keys are lists.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, ValueError> {
    value.serialize(ToValue)
}

/// Every kind of value passes through [`to_value`] unchanged; other formats see dates and big numbers as text.
impl Serialize for Value {
    fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(flag) => serializer.serialize_bool(*flag),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::BigInt(digits) => serializer.serialize_newtype_struct(marker::BIG_INT, digits),
            Value::Float(number) => serializer.serialize_f64(*number),
            Value::String(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Value::List(items) => serializer.collect_seq(items),
            Value::Map(map) => map.serialize(serializer),
            Value::DateTime(text) => serializer.serialize_newtype_struct(marker::DATE_TIME, text),
            Value::Date(text) => serializer.serialize_newtype_struct(marker::DATE, text),
            Value::Time(text) => serializer.serialize_newtype_struct(marker::TIME, text),
            Value::Decimal(text) => serializer.serialize_newtype_struct(marker::DECIMAL, text),
            Value::Uuid(text) => serializer.serialize_newtype_struct(marker::UUID, text),
        }
    }
}

impl Serialize for Map {
    fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

struct ToValue;

macro_rules! numbers {
    ($($method:ident $type:ty,)*) => {
        $(fn $method(self, number: $type) -> Result<Value, ValueError> {
            Ok(i64::try_from(number).map_or_else(|_| Value::BigInt(number.to_string()), Value::Int))
        })*
    };
}

impl ser::Serializer for ToValue {
    type Ok = Value;
    type Error = ValueError;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Items;
    type SerializeMap = Entries;
    type SerializeStruct = Entries;
    type SerializeStructVariant = Entries;

    numbers! {
        serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64, serialize_i128 i128,
        serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64, serialize_u128 u128,
    }

    fn serialize_bool(self, flag: bool) -> Result<Value, ValueError> {
        Ok(Value::Bool(flag))
    }

    fn serialize_f32(self, number: f32) -> Result<Value, ValueError> {
        Ok(Value::Float(number.into()))
    }

    fn serialize_f64(self, number: f64) -> Result<Value, ValueError> {
        Ok(Value::Float(number))
    }

    fn serialize_char(self, char: char) -> Result<Value, ValueError> {
        Ok(Value::String(char.into()))
    }

    fn serialize_str(self, text: &str) -> Result<Value, ValueError> {
        Ok(Value::String(text.to_owned()))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Value, ValueError> {
        Ok(Value::Bytes(bytes.to_vec()))
    }

    fn serialize_none(self) -> Result<Value, ValueError> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, ValueError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, ValueError> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Value, ValueError> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Value, ValueError> {
        Ok(Value::String(variant.to_owned()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Value, ValueError> {
        let kind = match name {
            marker::BIG_INT => Value::BigInt,
            marker::DATE_TIME => Value::DateTime,
            marker::DATE => Value::Date,
            marker::TIME => Value::Time,
            marker::DECIMAL => Value::Decimal,
            marker::UUID => Value::Uuid,
            _ => return value.serialize(self),
        };
        match value.serialize(self)? {
            Value::String(text) => Ok(kind(text)),
            value => Ok(value),
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, ValueError> {
        Ok(tagged(variant, value.serialize(self)?))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Items, ValueError> {
        Ok(Items { variant: None, items: Vec::with_capacity(length.unwrap_or(0)) })
    }

    fn serialize_tuple(self, length: usize) -> Result<Items, ValueError> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_struct(self, _name: &'static str, length: usize) -> Result<Items, ValueError> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Items, ValueError> {
        Ok(Items { variant: Some(variant), items: Vec::with_capacity(length) })
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Entries, ValueError> {
        Ok(Entries { variant: None, key: None, entries: Vec::with_capacity(length.unwrap_or(0)) })
    }

    fn serialize_struct(self, _name: &'static str, length: usize) -> Result<Entries, ValueError> {
        self.serialize_map(Some(length))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Entries, ValueError> {
        Ok(Entries { variant: Some(variant), key: None, entries: Vec::with_capacity(length) })
    }
}

fn tagged(variant: &'static str, value: Value) -> Value {
    Value::Map(Map::from_iter([(variant, value)]))
}

/// A list that is being written; a variant's name is put around it.
struct Items {
    variant: Option<&'static str>,
    items: Vec<Value>,
}

impl Items {
    fn push<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), ValueError> {
        self.items.push(to_value(item)?);
        Ok(())
    }

    fn finish(self) -> Result<Value, ValueError> {
        let list = Value::List(self.items);
        Ok(match self.variant {
            Some(variant) => tagged(variant, list),
            None => list,
        })
    }
}

macro_rules! items {
    ($($trait:ident $method:ident,)*) => {
        $(impl ser::$trait for Items {
            type Ok = Value;
            type Error = ValueError;

            fn $method<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), ValueError> {
                self.push(item)
            }

            fn end(self) -> Result<Value, ValueError> {
                self.finish()
            }
        })*
    };
}

items! {
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field,
}

/// A dict that is being written.
struct Entries {
    variant: Option<&'static str>,
    key: Option<Cow<'static, str>>,
    entries: Vec<(Cow<'static, str>, Value)>,
}

impl Entries {
    fn finish(self) -> Result<Value, ValueError> {
        let map = Value::Map(self.entries.into_iter().collect());
        Ok(match self.variant {
            Some(variant) => tagged(variant, map),
            None => map,
        })
    }
}

impl ser::SerializeMap for Entries {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ValueError> {
        self.key = Some(match to_value(key)? {
            Value::Int(number) => number.to_string().into(),
            Value::Bool(flag) => if flag { "true" } else { "false" }.into(),
            Value::String(text)
            | Value::BigInt(text)
            | Value::DateTime(text)
            | Value::Date(text)
            | Value::Time(text)
            | Value::Decimal(text)
            | Value::Uuid(text) => text.into(),
            key => return Err(ValueError(format!("a key must be str, not {}", key.type_name()))),
        });
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        let key = self.key.take().ok_or_else(|| ValueError("a value without a key".to_owned()))?;
        self.entries.push((key, to_value(value)?));
        Ok(())
    }

    fn end(self) -> Result<Value, ValueError> {
        self.finish()
    }
}

macro_rules! fields {
    ($($trait:ident,)*) => {
        $(impl ser::$trait for Entries {
            type Ok = Value;
            type Error = ValueError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), ValueError> {
                self.entries.push((key.into(), to_value(value)?));
                Ok(())
            }

            fn end(self) -> Result<Value, ValueError> {
                self.finish()
            }
        })*
    };
}

fields! {
    SerializeStruct,
    SerializeStructVariant,
}
