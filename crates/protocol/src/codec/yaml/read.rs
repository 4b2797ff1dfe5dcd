use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput, Tag};

use super::{NAME, scalar};
use crate::codec::DecodeError;
use crate::{Map, Value, float};

/// Reads one document, nested `max_depth` levels at most.
///
/// What anchors and aliases copy may weigh `max_size` bytes, so that a short text of aliases of aliases cannot fill
/// the memory.
pub(in crate::codec) fn read(data: &[u8], max_size: usize, max_depth: usize) -> Result<Value, DecodeError> {
    let text = std::str::from_utf8(data).map_err(|error| DecodeError::malformed(NAME, error))?;
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        copies_left: max_size,
        max_size,
        max_depth,
    };
    let mut value = None;
    loop {
        match reader.next()? {
            Event::StreamEnd => return Ok(value.unwrap_or_default()),
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
            _ if value.is_some() => return Err(DecodeError::malformed(NAME, "more than one document")),
            event => value = Some(reader.value(event, 0)?),
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Value>,
    copies_left: usize,
    max_size: usize,
    max_depth: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Event<'a>, DecodeError> {
        match self.parser.next_event() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(DecodeError::malformed(NAME, error)),
            None => Err(DecodeError::malformed(NAME, "the document is cut off")),
        }
    }

    fn value(&mut self, event: Event<'a>, depth: usize) -> Result<Value, DecodeError> {
        let (value, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, depth),
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let value = scalar::read(text, plain, tag_name(tag.as_deref())?)
                    .map_err(|reason| DecodeError::malformed(NAME, reason))?;
                (value, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                collection(tag.as_deref(), "seq")?;
                (self.list(self.deeper(depth)?)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                collection(tag.as_deref(), "map")?;
                (self.map(self.deeper(depth)?)?, anchor)
            }
            event => return Err(DecodeError::malformed(NAME, format_args!("unexpected {event:?}"))),
        };
        if anchor > 0 {
            let copy = self.copy(&value, depth)?;
            self.anchors.insert(anchor, copy);
        }
        Ok(value)
    }

    fn list(&mut self, depth: usize) -> Result<Value, DecodeError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(Value::List(items)),
                event => items.push(self.value(event, depth)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, DecodeError> {
        // Merged entries come first, so that the dict's own override them (`SafeConstructor.flatten_mapping`).
        let (mut merged, mut own) = (Vec::new(), Vec::new());
        loop {
            let event = match self.next()? {
                Event::MappingEnd => break,
                event => event,
            };
            let merge = matches!(&event, Event::Scalar(key, ScalarStyle::Plain, _, None) if key == "<<");
            let key = self.value(event, depth)?;
            let event = self.next()?;
            let value = self.value(event, depth)?;
            match (merge, value) {
                (false, value) => own.push((key_text(key)?, value)),
                (true, Value::Map(map)) => merged.extend(map),
                (true, Value::List(items)) => {
                    for item in items.into_iter().rev() {
                        let Value::Map(map) = item else { return Err(no_mapping(&item)) };
                        merged.extend(map);
                    }
                }
                (true, value) => return Err(no_mapping(&value)),
            }
        }
        Ok(Value::Map(merged.into_iter().chain(own).collect::<Map>()))
    }

    fn alias(&mut self, anchor: usize, depth: usize) -> Result<Value, DecodeError> {
        match self.anchors.remove(&anchor) {
            Some(value) => {
                let copy = self.copy(&value, depth);
                self.anchors.insert(anchor, value);
                copy
            }
            None => Err(DecodeError::malformed(NAME, "an alias refers to what it is a part of")),
        }
    }

    /// Clones a value, if the limits allow.
    fn copy(&mut self, value: &Value, depth: usize) -> Result<Value, DecodeError> {
        let (weight, height) = measure(value);
        if depth + height > self.max_depth {
            return Err(DecodeError::TooDeep { limit: self.max_depth });
        }
        self.copies_left =
            self.copies_left.checked_sub(weight).ok_or(DecodeError::TooLarge { limit: self.max_size })?;
        Ok(value.clone())
    }

    fn deeper(&self, depth: usize) -> Result<usize, DecodeError> {
        if depth == self.max_depth { Err(DecodeError::TooDeep { limit: depth }) } else { Ok(depth + 1) }
    }
}

/// About how many bytes a value takes, and how many levels it has.
fn measure(value: &Value) -> (usize, usize) {
    const NODE: usize = size_of::<Value>();
    let nested = |(weight, height): (usize, usize), (key, value): (usize, &Value)| {
        let (more, levels) = measure(value);
        (weight + key + more, height.max(levels + 1))
    };
    match value {
        Value::List(items) => items.iter().map(|item| (0, item)).fold((NODE, 1), nested),
        Value::Map(map) => map.iter().map(|(key, value)| (NODE + key.len(), value)).fold((NODE, 1), nested),
        Value::Bytes(bytes) => (NODE + bytes.len(), 0),
        Value::BigInt(text)
        | Value::String(text)
        | Value::DateTime(text)
        | Value::Date(text)
        | Value::Time(text)
        | Value::Decimal(text)
        | Value::Uuid(text) => (NODE + text.len(), 0),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => (NODE, 0),
    }
}

/// A tag of YAML's own by its last part; `None` where PyYAML decides by the content.
fn tag_name(tag: Option<&Tag>) -> Result<Option<&str>, DecodeError> {
    match tag {
        None => Ok(None),
        Some(tag) if tag.handle == "tag:yaml.org,2002:" => Ok(Some(&tag.suffix)),
        Some(tag) => match format!("{}{}", tag.handle, tag.suffix).as_str() {
            "!" => Ok(None),
            // Written in full: `!<tag:yaml.org,2002:str>`.
            full if full.starts_with("tag:yaml.org,2002:") => {
                Ok(tag.suffix.strip_prefix("tag:yaml.org,2002:").or(Some("")))
            }
            full => Err(DecodeError::malformed(NAME, format_args!("unknown tag {full:?}"))),
        },
    }
}

fn collection(tag: Option<&Tag>, expected: &str) -> Result<(), DecodeError> {
    match tag_name(tag)? {
        None => Ok(()),
        Some(name) if name == expected => Ok(()),
        Some(name) => Err(DecodeError::malformed(NAME, format_args!("unsupported tag !!{name}"))),
    }
}

/// Keys are text here, as in the JSON that `json.dumps` makes of the same dict.
fn key_text(key: Value) -> Result<Cow<'static, str>, DecodeError> {
    Ok(match key {
        Value::String(text) | Value::BigInt(text) | Value::DateTime(text) | Value::Date(text) => text.into(),
        Value::Int(number) => number.to_string().into(),
        Value::Float(number) => float::repr(number).into(),
        Value::Bool(flag) => if flag { "true" } else { "false" }.into(),
        Value::Null => "null".into(),
        key => return Err(DecodeError::malformed(NAME, format_args!("a key cannot be {}", key.type_name()))),
    })
}

fn no_mapping(value: &Value) -> DecodeError {
    DecodeError::malformed(
        NAME,
        format_args!("expected a mapping for merging, but found {}", value.type_name()),
    )
}
