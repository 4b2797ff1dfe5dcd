//! What kombu calls transport options (`kombu/transport/redis.py`), as parameters of the URL.

use std::time::Duration;

use celeriac_broker::BrokerUrl;

/// How the keys are named and how long things may take. Every one is kombu's, with kombu's default.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Goes before every key and channel (`global_keyprefix`).
    pub global_keyprefix: String,
    /// Stands between the parts of a key (`sep`).
    pub sep: String,
    /// The lists of a queue: a message goes to that of the highest step which is not above its priority. The lowest
    /// step is served first (`priority_steps`).
    pub priority_steps: Vec<u8>,
    /// The hash of leased messages (`unacked_key`).
    pub unacked_key: String,
    /// The times of the leases (`unacked_index_key`).
    pub unacked_index_key: String,
    /// Who holds it gives abandoned messages back (`unacked_mutex_key`).
    pub unacked_mutex_key: String,
    /// For how long, at most (`unacked_mutex_expire`).
    pub unacked_mutex_expire: Duration,
    /// How many abandoned messages are given back at a time (`unacked_restore_limit`).
    pub unacked_restore_limit: Option<usize>,
    /// How long a lease may go without being renewed (`visibility_timeout`).
    pub visibility_timeout: Duration,
    /// Goes before the names of fanout exchanges; `{db}` stands for the database (`fanout_prefix`).
    pub fanout_prefix: String,
    /// Whether the routing key is part of a fanout channel (`fanout_patterns`).
    pub fanout_patterns: bool,
    /// Behind sentinels, fanout also goes by the channels of kombu before 5.4, in which `{db}` stands for itself
    /// (`sentinel_fanout_compat`).
    pub sentinel_fanout_compat: bool,
    /// Which queue is served first (`queue_order_strategy`).
    pub queue_order_strategy: Order,
    /// How long an answer may take before the connection counts as lost (`socket_timeout`).
    pub socket_timeout: Duration,
    /// How long a connection may take (`socket_connect_timeout`).
    pub socket_connect_timeout: Duration,
    /// What `CLIENT LIST` shows (`client_name`).
    pub client_name: Option<String>,
}

/// Which of several queues is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Each gets its share, another one first each time.
    #[default]
    RoundRobin,
    /// By their names; the next only when those before it are empty.
    Sorted,
    /// In the order in which they were subscribed to; the next only when those before it are empty.
    Priority,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            global_keyprefix: String::new(),
            sep: "\x06\x16".to_owned(),
            priority_steps: vec![0, 3, 6, 9],
            unacked_key: "unacked".to_owned(),
            unacked_index_key: "unacked_index".to_owned(),
            unacked_mutex_key: "unacked_mutex".to_owned(),
            unacked_mutex_expire: Duration::from_secs(300),
            unacked_restore_limit: None,
            visibility_timeout: Duration::from_secs(3600),
            fanout_prefix: "/{db}.".to_owned(),
            fanout_patterns: true,
            sentinel_fanout_compat: false,
            queue_order_strategy: Order::RoundRobin,
            socket_timeout: Duration::from_secs(30),
            socket_connect_timeout: Duration::from_secs(5),
            client_name: None,
        }
    }
}

impl Options {
    /// Reads the parameters of a URL; those with other names are for others.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn read(url: &BrokerUrl) -> Result<Self, String> {
        let mut options = Options::default();
        let pairs = url.query.iter().filter(|(_, value)| !value.is_empty());
        for (name, value) in pairs {
            let seconds = || {
                let seconds = value.parse().ok().filter(|seconds: &f64| *seconds > 0.0);
                let seconds = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                seconds.ok_or_else(|| format!("{name} is a number of seconds, not {value:?}"))
            };
            let text = || value.clone();
            match name.as_str() {
                "global_keyprefix" => options.global_keyprefix = text(),
                "sep" => options.sep = text(),
                "priority_steps" => options.priority_steps = steps(value)?,
                "unacked_key" => options.unacked_key = text(),
                "unacked_index_key" => options.unacked_index_key = text(),
                "unacked_mutex_key" => options.unacked_mutex_key = text(),
                "unacked_mutex_expire" => options.unacked_mutex_expire = seconds()?,
                "unacked_restore_limit" => {
                    let limit = value.parse().ok().filter(|limit| *limit > 0);
                    options.unacked_restore_limit =
                        Some(limit.ok_or_else(|| format!("{name} is a number above 0, not {value:?}"))?);
                }
                "visibility_timeout" => options.visibility_timeout = seconds()?,
                "fanout_prefix" => {
                    options.fanout_prefix = match flag(value) {
                        Some(true) => continue,
                        Some(false) => String::new(),
                        None => text(),
                    }
                }
                "fanout_patterns" | "sentinel_fanout_compat" => {
                    let wrong = || format!("{name} is true or false, not {value:?}");
                    let flag = flag(value).ok_or_else(wrong)?;
                    match name.as_str() {
                        "fanout_patterns" => options.fanout_patterns = flag,
                        _ => options.sentinel_fanout_compat = flag,
                    }
                }
                "queue_order_strategy" => {
                    options.queue_order_strategy = match value.as_str() {
                        "round_robin" => Order::RoundRobin,
                        "sorted" => Order::Sorted,
                        "priority" => Order::Priority,
                        _ => {
                            return Err(format!("{name} is round_robin, sorted or priority, not {value:?}"));
                        }
                    }
                }
                "socket_timeout" => options.socket_timeout = seconds()?,
                "socket_connect_timeout" => options.socket_connect_timeout = seconds()?,
                "client_name" => options.client_name = Some(text()),
                _ => {}
            }
        }
        Ok(options)
    }
}

fn flag(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Some(true),
        "false" | "0" | "no" => Some(false),
        _ => None,
    }
}

/// kombu finds a step by bisection, so they must be in order.
fn steps(value: &str) -> Result<Vec<u8>, String> {
    let steps: Option<Vec<u8>> = value.split(',').map(|step| step.trim().parse().ok()).collect();
    steps
        .filter(|steps| steps.is_sorted_by(|one, next| one < next))
        .ok_or_else(|| format!("priority_steps are rising numbers with commas between them, not {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Options, String> {
        Options::read(&BrokerUrl::parse(&format!("redis://h/0?{query}")).unwrap())
    }

    #[test]
    fn parameters_are_kombu_s_options() {
        let options = read(
            "visibility_timeout=0.5&priority_steps=0,%205&fanout_prefix=False&fanout_patterns=0&sep=:\
             &queue_order_strategy=sorted&global_keyprefix=me:&ssl_ca_certs=x&socket_timeout=2&unacked_restore_limit=7",
        )
        .unwrap();
        let expected = Options {
            visibility_timeout: Duration::from_millis(500),
            priority_steps: vec![0, 5],
            fanout_prefix: String::new(),
            fanout_patterns: false,
            sep: ":".to_owned(),
            queue_order_strategy: Order::Sorted,
            global_keyprefix: "me:".to_owned(),
            socket_timeout: Duration::from_secs(2),
            unacked_restore_limit: Some(7),
            ..Options::default()
        };
        assert_eq!(options, expected);
        assert_eq!(read("fanout_prefix=true&client_name="), Ok(Options::default()));
        assert_eq!(read("fanout_prefix=/x.").unwrap().fanout_prefix, "/x.");
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for query in [
            "visibility_timeout=soon",
            "visibility_timeout=-1",
            "visibility_timeout=1e300",
            "priority_steps=9,0",
            "priority_steps=x",
            "fanout_patterns=maybe",
            "queue_order_strategy=random",
            "unacked_restore_limit=0",
        ] {
            let name = query.split('=').next().unwrap();
            assert!(read(query).unwrap_err().contains(name), "{query}");
        }
    }
}
