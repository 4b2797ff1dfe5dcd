//! RabbitMQ's management HTTP API, and virtual hosts made through it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::poll::poll;
use crate::{AmqpProbe, RabbitMq};

/// guest:guest
const CREDENTIALS: &str = "Z3Vlc3Q6Z3Vlc3Q=";

/// A virtual host of one test's own, deleted with all its queues and users at drop.
#[derive(Debug)]
pub struct Vhost {
    name: String,
    amqp: u16,
    management: u16,
    users: Mutex<Vec<String>>,
}

/// A queue, counted by the broker itself at the moment of the question, unlike the management API's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Messages ready for delivery; those delivered and not yet acknowledged do not count.
    pub depth: u32,
    /// Consumers.
    pub consumers: u32,
}

impl Vhost {
    /// Makes one with a name never used before on this server.
    ///
    /// # Panics
    /// When the management API does not answer or refuses.
    pub fn new(server: &RabbitMq) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self::named(server, &name)
    }

    /// Makes one with this name: letters, digits, `-` and `_` only.
    ///
    /// # Panics
    /// When the management API does not answer or refuses.
    pub fn named(server: &RabbitMq, name: &str) -> Self {
        let (amqp, management) = (server.port(), server.management_port());
        let vhost = Self { name: name.to_owned(), amqp, management, users: Mutex::default() };
        request(vhost.management, "PUT", &format!("vhosts/{name}"), None);
        let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
        request(vhost.management, "PUT", &format!("permissions/{name}/guest"), Some(&all));
        vhost
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its broker URL.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/{}", self.amqp, self.name)
    }

    /// The broker URL of a new user, who may configure, write and read what these regular expressions match: of names of
    /// exchanges and queues.
    ///
    /// # Panics
    /// When the management API does not answer or refuses.
    pub fn user(&self, configure: &str, write: &str, read: &str) -> String {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let user = format!("{}-user-{}", self.name, users.len());
        let known = json!({"password": "secret", "tags": ""});
        request(self.management, "PUT", &format!("users/{user}"), Some(&known));
        let may = json!({"configure": configure, "write": write, "read": read});
        request(self.management, "PUT", &format!("permissions/{}/{user}", self.name), Some(&may));
        let url = format!("amqp://{user}:secret@127.0.0.1:{}/{}", self.amqp, self.name);
        users.push(user);
        url
    }

    /// A queue's exact depth, or `None` when there is no such queue.
    pub fn queue(&self, queue: &str) -> Option<Queue> {
        AmqpProbe::open(self.amqp, &self.name).queue(queue)
    }

    /// A small blocking AMQP client on this virtual host.
    pub fn probe(&self) -> AmqpProbe {
        AmqpProbe::open(self.amqp, &self.name)
    }

    /// Asks the server to close every connection of this virtual host, and says how many it closed.
    ///
    /// The management API learns of a new connection a moment later, so this waits for the first one to show.
    pub fn close_all_connections(&self) -> usize {
        let path = format!("vhosts/{}/connections", self.name);
        let names: Vec<String> = poll(Duration::from_secs(10), || {
            let listed = request(self.management, "GET", &path, None);
            let names: Vec<String> = listed.as_array()?.iter().filter_map(connection_name).collect();
            (!names.is_empty()).then_some(names)
        })
        .unwrap_or_default();
        for name in &names {
            let path = format!("connections/{}", percent_encoded(name));
            let _ = call(self.management, "DELETE", &path, None);
        }
        names.len()
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        let users = self.users.get_mut().unwrap_or_else(PoisonError::into_inner);
        // The server may be stopped by now.
        for user in users {
            let _ = call(self.management, "DELETE", &format!("users/{user}"), None);
        }
        let _ = call(self.management, "DELETE", &format!("vhosts/{}", self.name), None);
    }
}

fn connection_name(connection: &Value) -> Option<String> {
    connection.get("name")?.as_str().map(str::to_owned)
}

/// One request that must succeed; the answer is `Null` when it has no body.
pub(crate) fn request(port: u16, method: &str, path: &str, body: Option<&Value>) -> Value {
    match call(port, method, path, body) {
        Ok((200..=299, value)) => value,
        Ok((status, value)) => panic!("{method} /api/{path}: {status} {value}"),
        Err(error) => panic!("{method} /api/{path}: {error}"),
    }
}

/// One request: the status and the JSON of the answer.
pub(crate) fn call(port: u16, method: &str, path: &str, body: Option<&Value>) -> io::Result<(u16, Value)> {
    let (status, body) = http(port, method, &format!("api/{path}"), body)?;
    Ok((status, serde_json::from_str(&body).unwrap_or(Value::Null)))
}

/// One request: the status and the answer's body. HTTP 1.0, so that the answer ends with the connection.
pub(crate) fn http(port: u16, method: &str, path: &str, body: Option<&Value>) -> io::Result<(u16, String)> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(
        stream,
        "{method} /{path} HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: Basic {CREDENTIALS}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or(io::ErrorKind::InvalidData)?, body.to_owned()))
}

pub(crate) fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
