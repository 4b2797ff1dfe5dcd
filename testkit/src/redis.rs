//! A Redis server.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{Process, Signal, TempDir, eventually, free_port};

const DATABASES: u32 = 1000;
/// Databases that [`Redis::fresh_url`] leaves to those who choose one by its number.
const CHOSEN: u32 = 16;

/// A server of our own, or the address of one that `cargo xtask test` started.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    node: Option<Node>,
}

#[derive(Debug)]
struct Node {
    server: Mutex<Process>,
    dir: TempDir,
    /// What it is told beyond the usual.
    extra: Vec<String>,
}

impl Redis {
    /// Starts a server that keeps its data over [`restart`](Self::restart) and [`kill`](Self::kill).
    ///
    /// # Panics
    /// When Redis is not installed or does not start.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with more options of the command line, such as `--tls-port`.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_with(options: &[&str]) -> Self {
        let (port, dir) = (free_port(), TempDir::new());
        let extra: Vec<_> = options.iter().map(|option| (*option).to_owned()).collect();
        let server = Mutex::new(Process::start(&command(port, &dir, &extra)));
        let started = Self { port, node: Some(Node { server, dir, extra }) };
        started.wait_until_ready();
        started
    }

    /// Starts one that takes a second to load its data whenever it is started again, and answers `LOADING` meanwhile.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_slow_to_load() -> Self {
        let delay = ["--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024"];
        let server = Self::start_with(&[&delay[..], &["--rdbcompression", "no"]].concat());
        for number in 0..100 {
            server.cli(&["SET", &format!("celeriac:test:{number}"), &"x".repeat(1000)]);
        }
        // Between the keys of a snapshot it answers, between the lines of a log seldom.
        server.cli(&["BGREWRITEAOF"]);
        eventually(Duration::from_secs(60), "its data is a snapshot", || {
            let info = server.cli(&["INFO", "persistence"]);
            let is = |what: &str| info.contains(what);
            (is("aof_rewrite_in_progress:0") && is("aof_rewrite_scheduled:0")).then_some(())
        });
        server
    }

    /// Its socket in the file system.
    ///
    /// # Panics
    /// On a shared server.
    pub fn socket(&self) -> PathBuf {
        socket(&self.node().dir)
    }

    /// The server on this port of 127.0.0.1; it cannot be stopped through this handle.
    pub(crate) fn at(port: u16) -> Self {
        Self { port, node: None }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database, 0 to 999.
    pub fn url(&self, database: u32) -> String {
        format!("redis://127.0.0.1:{}/{database}", self.port)
    }

    /// The URL of a database that no test on this server had before; publish/subscribe knows no databases.
    pub fn fresh_url(&self) -> String {
        let used: u32 = self.cli(&["INCR", "celeriac:test:databases"]).trim().parse().expect("a number");
        assert!(used < DATABASES - CHOSEN, "all {DATABASES} databases are used");
        self.url(used + CHOSEN)
    }

    /// What `redis-cli` prints for these arguments.
    ///
    /// # Panics
    /// When it fails.
    pub fn cli(&self, args: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        let output = command.args(["-p", &self.port.to_string()]).args(args).output();
        let output = output.unwrap_or_else(|error| panic!("redis-cli (run `cargo xtask setup`): {error}"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// What it answers to a line sent as it is, an error too; empty when it does not let anybody in.
    pub fn answers(&self, line: &str) -> String {
        let mut answer = String::new();
        if let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
            let _ = stream.write_all(format!("{line}\r\nQUIT\r\n").as_bytes());
            let _ = stream.read_to_string(&mut answer);
        }
        answer
    }

    /// The server's process id.
    ///
    /// # Panics
    /// On a shared server.
    pub fn id(&self) -> u32 {
        self.server().id()
    }

    /// Stops it in order.
    ///
    /// # Panics
    /// On a shared server.
    pub fn stop(&self) {
        let server = self.server();
        server.signal(Signal::TERM);
        server.wait(Duration::from_secs(30));
    }

    /// SIGKILLs it.
    ///
    /// # Panics
    /// On a shared server.
    pub fn kill(&self) {
        self.server().kill();
    }

    /// Starts a stopped or killed server again, on the same port and data; stops it first when it runs.
    ///
    /// # Panics
    /// On a shared server, and when it does not start.
    pub fn restart(&self) {
        self.stop();
        let Node { dir, extra, .. } = self.node();
        *self.server() = Process::start(&command(self.port, dir, extra));
        self.wait_until_ready();
    }

    fn node(&self) -> &Node {
        self.node.as_ref().expect("a test that stops or kills a broker starts its own")
    }

    fn server(&self) -> MutexGuard<'_, Process> {
        self.node().server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until_ready(&self) {
        eventually(Duration::from_secs(60), "Redis is ready", || {
            let server = self.server();
            let ended = server.exit_status().is_some();
            assert!(!ended, "Redis ended (is it installed? `cargo xtask setup`):\n{}", server.log());
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
            // While it loads its data it answers an error.
            (self.cli(&["PING"]).trim() == "PONG").then_some(())
        });
    }
}

fn socket(dir: &TempDir) -> PathBuf {
    dir.path().join("redis.sock")
}

fn command(port: u16, dir: &TempDir, extra: &[String]) -> Command {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "yes"]);
    command.args(["--databases", &DATABASES.to_string(), "--dir"]).arg(dir.path());
    command.arg("--unixsocket").arg(socket(dir)).args(extra);
    command
}
