//! A Redis with a replica and sentinels, which make the replica the master when the master is gone.

use std::process::Command;
use std::time::Duration;

use crate::{Process, Redis, TempDir, eventually, free_port};

const COUNT: usize = 3;
const DEADLINE: Duration = Duration::from_secs(60);

/// Two servers and three sentinels, which take the master for dead after half a second.
#[derive(Debug)]
pub struct Sentinels {
    servers: [Redis; 2],
    sentinels: Vec<(u16, Process, TempDir)>,
}

impl Sentinels {
    /// What the sentinels call the master.
    pub const MASTER: &str = "mymaster";

    /// Starts them, and waits until they all know each other.
    ///
    /// # Panics
    /// When Redis is not installed or does not start.
    pub fn start() -> Self {
        let first = Redis::start();
        let of = first.port().to_string();
        let second = Redis::start_with(&["--replicaof", "127.0.0.1", &of]);
        let sentinels: Vec<_> = (0..COUNT).map(|_| sentinel(first.port())).collect();
        let started = Self { servers: [first, second], sentinels };
        eventually(DEADLINE, "the sentinels know everybody", || {
            let knows = |port: &u16| {
                let fields = started.ask(*port, "MASTER");
                let is = |name, value| fields.get(name).is_some_and(|found| found == value);
                is("num-other-sentinels", "2") && is("num-slaves", "1") && is("flags", "master")
            };
            started.sentinels.iter().all(|(port, ..)| knows(port)).then_some(())
        });
        started
    }

    /// Their addresses as kombu takes them, with the database of the first, and parameters.
    pub fn url(&self, database: u32, query: &str) -> String {
        let urls: Vec<_> = self
            .sentinels
            .iter()
            .map(|(port, ..)| format!("sentinel://127.0.0.1:{port}/{database}"))
            .collect();
        format!("{}{query}", urls.join(";"))
    }

    /// The server that is the master at the start.
    pub fn first(&self) -> &Redis {
        &self.servers[0]
    }

    /// The one that takes over.
    pub fn second(&self) -> &Redis {
        &self.servers[1]
    }

    /// Waits until the replica has all that the master has written so far.
    ///
    /// # Panics
    /// When it does not come to that.
    pub fn wait_until_replicated(&self) {
        let offset = |server: &Redis, name: &str| -> u64 {
            let info = server.cli(&["INFO", "replication"]);
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim_start_matches(':').trim().parse().ok()).unwrap_or(0)
        };
        let written = offset(self.first(), "master_repl_offset");
        eventually(DEADLINE, "the replica has everything", || {
            (offset(self.second(), "slave_repl_offset") >= written).then_some(())
        });
    }

    /// Kills the master, and waits until all sentinels name the other one, and none thinks that it is down, too.
    ///
    /// # Panics
    /// When they do not.
    pub fn fail_over(&self) {
        self.first().kill();
        let port = self.second().port().to_string();
        eventually(DEADLINE, "the replica is the master", || {
            let named = |sentinel: &u16| {
                let fields = self.ask(*sentinel, "MASTER");
                fields.get("port") == Some(&port)
                    && fields.get("flags").is_some_and(|flags| flags == "master")
            };
            let all = self.sentinels.iter().all(|(sentinel, ..)| named(sentinel));
            (all && self.second().cli(&["ROLE"]).starts_with("master")).then_some(())
        });
    }

    fn ask(&self, port: u16, what: &str) -> std::collections::HashMap<String, String> {
        let output = Command::new("redis-cli")
            .args(["-p", &port.to_string(), "SENTINEL", what, Self::MASTER])
            .output()
            .expect("redis-cli (run `cargo xtask setup`)");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    }
}

fn sentinel(master: u16) -> (u16, Process, TempDir) {
    let (port, dir, name) = (free_port(), TempDir::new(), Sentinels::MASTER);
    let config = format!(
        "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {name} 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds {name} 500\nsentinel failover-timeout {name} 10000\n",
        dir.path().display()
    );
    let config = dir.write("sentinel.conf", config);
    let mut command = Command::new("redis-server");
    command.arg(config).arg("--sentinel");
    (port, Process::start(&command), dir)
}
