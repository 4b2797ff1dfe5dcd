//! What a child or the service is told about a task.

use super::HostError;
use super::marshal::{MarshalError, Writer};

/// The arguments of a task.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// As they came, for Python to decode; decompressed.
    Encoded {
        /// The body.
        bytes: &'a [u8],
        /// `application/json`, for example.
        content_type: &'a str,
        /// `utf-8`, for example.
        content_encoding: &'a str,
    },
    /// Decoded already, as protocol 1 has to be: a marshalled `(args, kwargs, embed)`, made with a [`Writer`].
    Decoded(&'a [u8]),
}

/// A task that was called, as Celery's tracer and Celery's request take it.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The task's name.
    pub name: &'a str,
    /// The task's id.
    pub id: &'a str,
    /// The request: a marshalled dict of exactly Celery's keys, made with a [`Writer`].
    pub request: &'a [u8],
    /// The arguments.
    pub body: Body<'a>,
}

/// A call for a child to run.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// By which the answer, the page and signals name it: positive, and of no other job of the child.
    pub token: u64,
    /// What is to run.
    pub call: Call<'a>,
}

/// Larger bodies travel beside the packet.
const INLINE: usize = 32 << 10;

impl<'a> Job<'a> {
    /// The marshalled job, and the body that does not travel in it.
    pub(super) fn frame(&self) -> Result<(Vec<u8>, Option<&'a [u8]>), HostError> {
        let mut writer = Writer::new();
        let call = &self.call;
        writer.tuple(7).uint(self.token).str(call.name).str(call.id).raw(call.request);
        let beside = match call.body {
            Body::Encoded { bytes, .. } if bytes.len() > INLINE => Some(bytes),
            _ => None,
        };
        match beside {
            Some(bytes) => {
                writer.uint(bytes.len() as u64);
                call.body.write_type(&mut writer);
            }
            None => call.body.write(&mut writer),
        }
        let frame = writer.finish().map_err(|_: MarshalError| HostError::TooLarge(self.token))?;
        Ok((frame, beside))
    }
}

impl Call<'_> {
    /// `request, body, content_type, content_encoding`.
    pub(super) fn write_message(&self, writer: &mut Writer) {
        writer.raw(self.request);
        self.body.write(writer);
    }
}

impl Body<'_> {
    fn write(&self, writer: &mut Writer) {
        match self {
            Body::Encoded { bytes, .. } => writer.bytes(bytes),
            Body::Decoded(arguments) => writer.raw(arguments),
        };
        self.write_type(writer);
    }

    fn write_type(&self, writer: &mut Writer) {
        match self {
            Body::Encoded { content_type, content_encoding, .. } => {
                writer.str(content_type).str(content_encoding)
            }
            Body::Decoded(_) => writer.none().none(),
        };
    }
}
