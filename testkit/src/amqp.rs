//! A small blocking AMQP 0-9-1 client: what a test or a benchmark asks a broker beside the code under test.
//!
//! It trusts its server and has no heartbeat; it is no transport.

use std::io::{BufReader, BufWriter, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::management::Queue;

const FRAME_END: u8 = 0xCE;
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_MAX: usize = 131_072;

/// A field of a header table.
#[derive(Clone, Debug)]
pub enum Field<'a> {
    /// A long string.
    Text(&'a str),
    /// A signed 32-bit integer.
    Int(i32),
    /// A boolean.
    Bool(bool),
    /// No value.
    Void,
    /// An array.
    List(Vec<Field<'a>>),
    /// A table.
    Table(Vec<(&'a str, Field<'a>)>),
}

/// One connection with one channel.
#[derive(Debug)]
pub struct AmqpProbe {
    reader: BufReader<TcpStream>,
    writer: BufWriter<TcpStream>,
    port: u16,
    vhost: String,
}

impl AmqpProbe {
    /// Connects as guest to a virtual host.
    ///
    /// # Panics
    /// When the server is not there or refuses.
    pub fn open(port: u16, vhost: &str) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("an AMQP server");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket option");
        stream.set_nodelay(true).expect("a socket option");
        let reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let mut probe = Self { reader, writer: BufWriter::new(stream), port, vhost: vhost.to_owned() };
        probe.writer.write_all(b"AMQP\0\0\x09\x01").expect("a connected server");
        probe.expect((10, 10));
        let mut start_ok = table(&[]);
        short(&mut start_ok, "PLAIN");
        long(&mut start_ok, b"\0guest\0guest");
        short(&mut start_ok, "en_US");
        probe.method(0, (10, 11), &start_ok);
        probe.expect((10, 30));
        // channel-max 1, frame-max, no heartbeat
        let mut tune_ok = vec![0, 1];
        tune_ok.extend(u32::try_from(FRAME_MAX).unwrap_or(u32::MAX).to_be_bytes());
        tune_ok.extend([0, 0]);
        probe.method(0, (10, 31), &tune_ok);
        let mut open = Vec::new();
        short(&mut open, vhost);
        open.extend([0, 0]);
        probe.method(0, (10, 40), &open);
        probe.expect((10, 41));
        probe.method(1, (20, 10), &[0]);
        probe.expect((20, 11));
        probe
    }

    /// Declares a durable classic queue.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn declare(&mut self, queue: &str) {
        let declare = declare(queue, 0b10);
        self.method(1, (50, 10), &declare);
        self.expect((50, 11));
    }

    /// A queue's exact depth by a passive declare, or `None` when there is no such queue.
    pub fn queue(&mut self, queue: &str) -> Option<Queue> {
        let declare = declare(queue, 0b1);
        self.method(1, (50, 10), &declare);
        let (method, arguments) = self.read_method();
        if method == (20, 40) {
            // The server closes the channel: a new connection is the shortest way back.
            *self = Self::open(self.port, &self.vhost.clone());
            return None;
        }
        assert_eq!(method, (50, 11), "a queue.declare-ok");
        let counts = &arguments[1 + usize::from(arguments[0])..];
        let count =
            |at: usize| u32::from_be_bytes([counts[at], counts[at + 1], counts[at + 2], counts[at + 3]]);
        Some(Queue { depth: count(0), consumers: count(4) })
    }

    /// Publishes one persistent message to the default exchange; [`flush`](Self::flush) sends it off.
    pub fn publish(&mut self, queue: &str, task: &TaskMessage<'_>) {
        let mut publish = vec![0, 0, 0];
        short(&mut publish, queue);
        publish.push(0);
        self.method_unflushed(1, (60, 40), &publish);
        // content-type, content-encoding, headers, delivery-mode, priority, correlation-id, reply-to
        let mut header = vec![0, 60, 0, 0];
        header.extend((task.body.len() as u64).to_be_bytes());
        header.extend(0b1111_1110_0000_0000_u16.to_be_bytes());
        short(&mut header, task.content_type);
        short(&mut header, "utf-8");
        header.extend(table(&task.headers));
        header.extend([2, 0]);
        short(&mut header, task.correlation_id);
        short(&mut header, task.reply_to);
        self.frame(HEADER, 1, &header);
        for part in task.body.chunks(FRAME_MAX - 8) {
            self.frame(BODY, 1, part);
        }
    }

    /// Sends what is buffered; the queue's depth shows it a moment later.
    pub fn flush(&mut self) {
        self.writer.flush().expect("a connected server");
    }

    fn method(&mut self, channel: u16, id: (u16, u16), arguments: &[u8]) {
        self.method_unflushed(channel, id, arguments);
        self.writer.flush().expect("a connected server");
    }

    fn method_unflushed(&mut self, channel: u16, id: (u16, u16), arguments: &[u8]) {
        let payload = [&id.0.to_be_bytes(), &id.1.to_be_bytes(), arguments].concat();
        self.frame(METHOD, channel, &payload);
    }

    fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let size = u32::try_from(payload.len()).expect("a small frame");
        let head = [&[kind][..], &channel.to_be_bytes(), &size.to_be_bytes()].concat();
        for part in [&head[..], payload, &[FRAME_END]] {
            self.writer.write_all(part).expect("a connected server");
        }
    }

    fn expect(&mut self, id: (u16, u16)) {
        self.writer.flush().expect("a connected server");
        let (method, arguments) = self.read_method();
        assert_eq!(method, id, "{}", String::from_utf8_lossy(&arguments));
    }

    fn read_method(&mut self) -> ((u16, u16), Vec<u8>) {
        loop {
            let mut head = [0; 7];
            self.reader.read_exact(&mut head).expect("a frame");
            let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
            let mut payload = Vec::new();
            self.reader.by_ref().take(u64::from(size) + 1).read_to_end(&mut payload).expect("a frame");
            if let ([METHOD, ..], [class, class_low, method, method_low, arguments @ .., FRAME_END]) =
                (&head[..], &payload[..])
            {
                let id =
                    (u16::from_be_bytes([*class, *class_low]), u16::from_be_bytes([*method, *method_low]));
                return (id, arguments.to_vec());
            }
        }
    }
}

/// A message to publish.
#[derive(Clone, Debug)]
pub struct TaskMessage<'a> {
    /// The property content-type.
    pub content_type: &'a str,
    /// The property headers.
    pub headers: Vec<(&'a str, Field<'a>)>,
    /// The property correlation-id.
    pub correlation_id: &'a str,
    /// The property reply-to.
    pub reply_to: &'a str,
    /// The body.
    pub body: &'a [u8],
}

fn declare(queue: &str, flags: u8) -> Vec<u8> {
    let mut declare = vec![0, 0];
    short(&mut declare, queue);
    declare.push(flags);
    declare.extend(table(&[]));
    declare
}

fn short(to: &mut Vec<u8>, text: &str) {
    to.push(u8::try_from(text.len()).expect("a short string"));
    to.extend(text.as_bytes());
}

fn long(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend(u32::try_from(bytes.len()).expect("a long string").to_be_bytes());
    to.extend(bytes);
}

fn table(fields: &[(&str, Field<'_>)]) -> Vec<u8> {
    let mut inner = Vec::new();
    for (name, value) in fields {
        short(&mut inner, name);
        field(&mut inner, value);
    }
    let mut table = Vec::new();
    long(&mut table, &inner);
    table
}

fn field(to: &mut Vec<u8>, value: &Field<'_>) {
    match value {
        Field::Text(text) => {
            to.push(b'S');
            long(to, text.as_bytes());
        }
        Field::Int(number) => {
            to.push(b'I');
            to.extend(number.to_be_bytes());
        }
        Field::Bool(flag) => to.extend([b't', u8::from(*flag)]),
        Field::Void => to.push(b'V'),
        Field::List(values) => {
            let mut inner = Vec::new();
            values.iter().for_each(|value| field(&mut inner, value));
            to.push(b'A');
            long(to, &inner);
        }
        Field::Table(fields) => {
            to.push(b'F');
            to.extend(table(fields));
        }
    }
}
