//! The broker as kombu resolved it, as a URL with parameters.

use std::fmt;

use celeriac_protocol::Value;

use super::{Fields, ReportError};

/// Where a broker is. Its URLs carry passwords, which `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its URL, with everything else as parameters: `heartbeat`, `connection_timeout`, those of TLS.
    pub url: String,
    /// Others to go to when this one is not there, in order.
    pub alternatives: Vec<String>,
    /// What its settings ask for and this worker does not do, a line each.
    pub unsupported: Vec<String>,
}

/// What the AMQP transport takes as a parameter, by its name in `broker_use_ssl`.
const TLS: [(&str, &str); 4] = [
    ("ca_certs", "cacertfile"),
    ("certfile", "certfile"),
    ("keyfile", "keyfile"),
    ("server_hostname", "server_name_indication"),
];

impl Broker {
    pub(super) fn read(connection: &Fields<'_>, conf: &Fields<'_>) -> Result<Self, ReportError> {
        let url = connection.text("url").ok_or_else(|| connection.wrong("url", "there is none"))?;
        let scheme = url.split(':').next().unwrap_or_default();
        let mut unsupported = Vec::new();
        let parameters = match scheme {
            "amqp" | "amqps" | "pyamqp" | "librabbitmq" => amqp(connection, conf, &mut unsupported)?,
            "redis" | "rediss" | "redis+socket" | "sentinel" => {
                redis(connection, scheme == "sentinel", &mut unsupported)?
            }
            _ => Parameters::default(),
        };
        let complete = |url: &str| parameters.complete(url);
        let others = connection.texts("urls").into_iter().skip(1);
        let mut alternatives: Vec<_> = others.map(|url| complete(&url)).collect();
        let mut url = complete(&url);
        if scheme == "sentinel" {
            // As kombu has it, all sentinels are of one master.
            for other in std::mem::take(&mut alternatives) {
                if other.starts_with("sentinel:") {
                    url = format!("{url};{other}");
                }
            }
        }
        Ok(Broker { url, alternatives, unsupported })
    }

    /// All URLs, the first first.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.url).chain(&self.alternatives).map(String::as_str)
    }
}

fn amqp(
    connection: &Fields<'_>,
    conf: &Fields<'_>,
    unsupported: &mut Vec<String>,
) -> Result<Parameters, ReportError> {
    let mut parameters = Parameters { tls: connection.truth("ssl"), ..Parameters::default() };
    // Celery's worker has the setting's heartbeat unless the URL has one of its own.
    let own = connection.seconds("heartbeat")?.filter(|heartbeat| !heartbeat.is_zero());
    let heartbeat = own.map_or_else(|| conf.seconds("broker_heartbeat"), |own| Ok(Some(own)))?;
    parameters.add("heartbeat", heartbeat.unwrap_or_default().as_secs());
    if let Some(timeout) = connection.seconds("connect_timeout")?.filter(|timeout| !timeout.is_zero()) {
        parameters.add("connection_timeout", timeout.as_millis());
    }
    match connection.text("login_method").as_deref() {
        None | Some("PLAIN") => {}
        Some(method @ ("AMQPLAIN" | "EXTERNAL")) => parameters.add("auth_mechanism", method.to_lowercase()),
        Some(method) => {
            let reason = format!("there are PLAIN, AMQPLAIN and EXTERNAL, but no {method}");
            return Err(conf.wrong("broker_login_method", reason));
        }
    }
    if connection.value("ssl").as_map().is_some() {
        let ssl = connection.part("ssl")?;
        for (name, parameter) in TLS {
            if let Some(text) = ssl.text(name) {
                parameters.add(parameter, text);
            }
        }
        // `ssl.CERT_NONE`.
        if ssl.value("cert_reqs").as_i64() == Some(0) {
            parameters.add("verify", "verify_none");
        }
        for name in ["ciphers", "ssl_version"] {
            if ssl.truth(name) {
                unsupported.push(format!("broker_use_ssl: {name} is chosen by rustls"));
            }
        }
    }
    Ok(parameters)
}

/// `broker_transport_options` that the Redis transport takes as they are (`celeriac_redis::Options`).
const REDIS: [&str; 15] = [
    "client_name",
    "fanout_patterns",
    "fanout_prefix",
    "global_keyprefix",
    "priority_steps",
    "queue_order_strategy",
    "sep",
    "socket_connect_timeout",
    "socket_timeout",
    "unacked_index_key",
    "unacked_key",
    "unacked_mutex_expire",
    "unacked_mutex_key",
    "unacked_restore_limit",
    "visibility_timeout",
];

/// Those that are nothing to it: one socket does everything, and is looked after all the time.
const REDIS_IDLE: [&str; 9] = [
    "health_check_interval",
    "max_connections",
    "polling_interval",
    "reauth_check_interval",
    "retry_on_timeout",
    "socket_keepalive",
    "socket_keepalive_options",
    "unacked_restore_interval",
    "unacked_restore_throttle",
];

/// Those of sentinels, and what they are told by `sentinel_kwargs`, which are parameters with `sentinel_` before them.
const SENTINEL: [&str; 3] = ["master_name", "min_other_sentinels", "sentinel_fanout_compat"];
const SENTINEL_KWARGS: [(&str, &str); 7] = [
    ("password", "sentinel_password"),
    ("ssl", "sentinel_ssl"),
    ("ssl_ca_certs", "sentinel_ssl_ca_certs"),
    ("ssl_cert_reqs", "sentinel_ssl_cert_reqs"),
    ("ssl_certfile", "sentinel_ssl_certfile"),
    ("ssl_keyfile", "sentinel_ssl_keyfile"),
    ("username", "sentinel_username"),
];

fn redis(
    connection: &Fields<'_>,
    has_sentinels: bool,
    unsupported: &mut Vec<String>,
) -> Result<Parameters, ReportError> {
    let mut parameters =
        Parameters { tls: connection.truth("ssl"), keeps_own: true, ..Parameters::default() };
    if let Some(options) = connection.value("options").as_map() {
        for (name, value) in options.iter() {
            let Some(text) = text(value) else { continue };
            let of_sentinels = SENTINEL.iter().filter(|_| has_sentinels);
            if let Some(name) = REDIS.iter().chain(of_sentinels).find(|known| **known == name) {
                parameters.add(name, text);
            } else if name == "sentinel_kwargs" && has_sentinels {
                sentinel_kwargs(value, &mut parameters, unsupported);
            } else if !(REDIS_IDLE.contains(&name) || name == "ack_emulation" && value.is_true()) {
                unsupported.push(format!("broker_transport_options: {name} does nothing on Redis"));
            }
        }
    }
    if has_sentinels && parameters.tls {
        parameters.add("ssl", true);
    }
    if connection.value("ssl").as_map().is_some() {
        let ssl = connection.part("ssl")?;
        for name in ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"] {
            if let Some(file) = ssl.text(name) {
                parameters.add(name, file);
            }
        }
        // `ssl.CERT_NONE`, or its name.
        let checks = ssl.value("ssl_cert_reqs");
        if checks.as_i64() == Some(0) || matches!(checks.as_str(), Some("none" | "CERT_NONE")) {
            parameters.add("ssl_cert_reqs", "none");
        }
    }
    Ok(parameters)
}

/// How to enter the sentinels themselves.
fn sentinel_kwargs(value: &Value, parameters: &mut Parameters, unsupported: &mut Vec<String>) {
    for (name, value) in value.as_map().into_iter().flat_map(|options| options.iter()) {
        let Some(text) = text(value) else { continue };
        match SENTINEL_KWARGS.iter().find(|(known, _)| *known == name) {
            // `ssl.CERT_NONE` and `ssl.CERT_REQUIRED`.
            Some((_, name)) if name.ends_with("cert_reqs") && text == "0" => parameters.add(name, "none"),
            Some((_, name)) if name.ends_with("cert_reqs") && text == "2" => parameters.add(name, "required"),
            Some((_, name)) => parameters.add(name, text),
            // One timeout is for all that is asked on the way to the master.
            None if name.starts_with("socket_") => {}
            None => unsupported
                .push(format!("broker_transport_options: sentinel_kwargs has {name}, which does nothing")),
        }
    }
}

/// An option as a parameter; `None` is none.
fn text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::List(items) => {
            let items = items.iter().filter_map(Value::as_i64).map(|item| item.to_string());
            items.collect::<Vec<_>>().join(",")
        }
        _ => String::new(),
    })
}

#[derive(Default)]
struct Parameters {
    tls: bool,
    /// What the URL says by itself stays.
    keeps_own: bool,
    pairs: Vec<(&'static str, String)>,
}

impl Parameters {
    fn add(&mut self, name: &'static str, value: impl ToString) {
        self.pairs.push((name, value.to_string()));
    }

    fn complete(&self, url: &str) -> String {
        let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
        let scheme = match scheme {
            "redis" if self.tls => "rediss",
            scheme if !self.tls || self.keeps_own => scheme,
            _ => "amqps",
        };
        // kombu has read these already.
        let is_read = !self.pairs.is_empty() && !self.keeps_own;
        let rest = if is_read { rest.split('?').next().unwrap_or(rest) } else { rest };
        let pairs = self.pairs.iter().map(|(name, value)| format!("{name}={}", escape(value)));
        let pairs = pairs.collect::<Vec<_>>().join("&");
        let mark = match (pairs.is_empty(), rest.contains('?')) {
            (true, _) => "",
            (false, true) => "&",
            (false, false) => "?",
        };
        format!("{scheme}:{rest}{mark}{pairs}")
    }
}

fn escape(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&celeriac_broker::url::sanitize(&self.url, "**"))
    }
}
