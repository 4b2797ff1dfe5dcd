//! A RabbitMQ server with its management plugin, or with counters alone.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::management::{http, request};
use crate::{Process, Signal, TempDir, Tls, Totals, Vhost, eventually, free_port};

/// Debian's wrapper would switch users and lower limits; this script does neither.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const START_DEADLINE: Duration = Duration::from_secs(180);

/// A server of our own, or the address of one that `cargo xtask test` started.
#[derive(Debug)]
pub struct RabbitMq {
    port: u16,
    management: u16,
    plugin: Plugin,
    tls: Option<(u16, Tls)>,
    node: Option<Node>,
}

/// What watches the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plugin {
    /// The management plugin, each second.
    Management,
    /// Its API alone, without its statistics.
    Api,
    /// Counters alone.
    Counters,
}

/// What it takes to start the server again. The order is the order of dropping.
#[derive(Debug)]
struct Node {
    server: Mutex<Process>,
    // In the foreground and of this node alone: the VM would leave a daemon behind.
    _epmd: Process,
    command: Command,
    _dir: TempDir,
}

impl RabbitMq {
    /// Starts a server and waits until it serves AMQP and HTTP: about 5 s.
    ///
    /// # Panics
    /// When RabbitMQ is not installed or does not start.
    pub fn start() -> Self {
        Self::launch(None, Plugin::Management)
    }

    /// Like [`start`](Self::start), without statistics of connections and queues, as a server runs that has no plugins:
    /// for benchmarks.
    pub fn start_plain() -> Self {
        Self::launch(None, Plugin::Api)
    }

    /// Like [`start`](Self::start), without the management plugin: its statistics weigh on thousands of channels.
    /// [`totals`](Self::totals) is all there is to ask; there is no virtual host but the default one.
    pub fn start_counted() -> Self {
        Self::launch(None, Plugin::Counters)
    }

    /// Like [`start`](Self::start), with a TLS listener beside the plain one. Who shows a certificate of its authority
    /// there may log in by it (`EXTERNAL`) as the user that it names.
    pub fn start_with_tls() -> Self {
        Self::launch(Some((free_port(), Tls::generate())), Plugin::Management)
    }

    /// The server that listens on these ports of 127.0.0.1; it cannot be stopped through this handle.
    pub(crate) fn at(port: u16, management: u16) -> Self {
        Self { port, management, plugin: Plugin::Management, tls: None, node: None }
    }

    /// The AMQP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The management API's port.
    pub fn management_port(&self) -> u16 {
        self.management
    }

    /// The broker URL of the default virtual host.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}//", self.port)
    }

    /// The `amqps` URL of the default virtual host, and the certificates; `None` without TLS.
    pub fn tls(&self) -> Option<(String, &Tls)> {
        let (port, tls) = self.tls.as_ref()?;
        Some((format!("amqps://guest:guest@localhost:{port}//"), tls))
    }

    /// A virtual host of the caller's own.
    pub fn vhost(&self) -> Vhost {
        Vhost::new(self)
    }

    /// GET of the management API; `path` is what follows `/api/`.
    pub fn management(&self, path: &str) -> Value {
        request(self.management, "GET", path, None)
    }

    /// PUT of the management API.
    pub fn put(&self, path: &str, body: &Value) -> Value {
        request(self.management, "PUT", path, Some(body))
    }

    /// POST of the management API.
    pub fn post(&self, path: &str, body: &Value) -> Value {
        request(self.management, "POST", path, Some(body))
    }

    /// DELETE of the management API.
    pub fn delete(&self, path: &str) {
        request(self.management, "DELETE", path, None);
    }

    /// What has passed through the server, and what it holds.
    ///
    /// # Panics
    /// On a server that was not made by [`start_counted`](Self::start_counted).
    pub fn totals(&self) -> Totals {
        match http(self.management, "GET", "metrics", None) {
            Ok((200, text)) => Totals::read(&text),
            other => panic!("GET /metrics: {other:?}"),
        }
    }

    /// The Erlang VM's process id.
    ///
    /// # Panics
    /// On a shared server.
    pub fn id(&self) -> u32 {
        self.server().id()
    }

    /// Stops the server in order and waits for its end.
    ///
    /// # Panics
    /// On a shared server, and when it does not end within a minute.
    pub fn stop(&self) {
        let server = self.server();
        server.signal(Signal::TERM);
        server.wait(Duration::from_secs(60));
    }

    /// SIGKILLs the Erlang VM.
    ///
    /// # Panics
    /// On a shared server.
    pub fn kill(&self) {
        self.server().kill();
    }

    /// Starts a stopped or killed server again, on the same ports and data; stops it first when it runs.
    ///
    /// # Panics
    /// On a shared server, and when it does not start.
    pub fn restart(&self) {
        self.stop();
        *self.server() = Process::start(&self.node().command);
        self.wait_until_ready();
    }

    fn launch(tls: Option<(u16, Tls)>, plugin: Plugin) -> Self {
        let (port, management, epmd_port) = (free_port(), free_port(), free_port());
        let mut epmd = Command::new("epmd");
        epmd.args(["-address", "127.0.0.1", "-port", &epmd_port.to_string()]);
        let epmd = Process::start(&epmd);
        eventually(START_DEADLINE, "epmd listens", || {
            assert!(
                epmd.exit_status().is_none(),
                "RabbitMQ's epmd: {} (run `cargo xtask setup`)",
                epmd.log()
            );
            TcpStream::connect((Ipv4Addr::LOCALHOST, epmd_port)).ok()
        });
        let dir = TempDir::new();
        let name = match plugin {
            Plugin::Counters => "rabbitmq_prometheus",
            Plugin::Management | Plugin::Api => "rabbitmq_management",
        };
        let login = if tls.is_some() { ",rabbitmq_auth_mechanism_ssl" } else { "" };
        dir.write("plugins", format!("[{name}{login}]."));
        dir.write("rabbitmq.conf", configuration(management, plugin, tls.as_ref()));
        let command = command(port, epmd_port, &dir);
        let server = Mutex::new(Process::start(&command));
        let node = Some(Node { server, _epmd: epmd, command, _dir: dir });
        let started = Self { port, management, plugin, tls, node };
        started.wait_until_ready();
        started
    }

    fn node(&self) -> &Node {
        self.node.as_ref().expect("a test that stops or kills a broker starts its own")
    }

    fn server(&self) -> MutexGuard<'_, Process> {
        self.node().server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until_ready(&self) {
        eventually(START_DEADLINE, "RabbitMQ is ready", || {
            let server = self.server();
            assert!(
                server.exit_status().is_none(),
                "RabbitMQ ended (is it installed? `cargo xtask setup`):\n{}",
                server.log()
            );
            let path = if self.plugin == Plugin::Counters { "metrics" } else { "api/overview" };
            let served = greets(self.port) && http(self.management, "GET", path, None).is_ok_and(ok);
            served.then_some(())
        });
    }
}

fn command(port: u16, epmd_port: u16, dir: &TempDir) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 65536 2>/dev/null || ulimit -n \"$(ulimit -Hn)\"; exec \"$0\"", SERVER]);
    let path = |name: &str| dir.path().join(name);
    command
        .env("HOME", dir.path())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("ERL_EPMD_PORT", epmd_port.to_string())
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
        .env("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf"))
        .env("RABBITMQ_DIST_PORT", free_port().to_string())
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("plugins"))
        .env("RABBITMQ_LOG_BASE", path("log"))
        .env("RABBITMQ_LOGS", "-")
        .env("RABBITMQ_MNESIA_BASE", path("mnesia"))
        .env("RABBITMQ_NODENAME", "celeriac@localhost")
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", port.to_string())
        .env("RABBITMQ_SERVER_START_ARGS", "+S 2:2 -kernel inet_dist_use_interface {127,0,0,1}")
        // The script becomes the VM instead of guarding it, so that our child is the VM.
        .env("RUNNING_UNDER_SYSTEMD", "true")
        .env_remove("NOTIFY_SOCKET")
        .current_dir(dir.path());
    command
}

fn configuration(management: u16, plugin: Plugin, tls: Option<&(u16, Tls)>) -> String {
    let http = if plugin == Plugin::Counters { "prometheus" } else { "management" };
    let mut text = format!("{http}.tcp.ip = 127.0.0.1\n{http}.tcp.port = {management}\n");
    text += match plugin {
        Plugin::Management => "collect_statistics_interval = 1000\nlog.console.level = info\n",
        Plugin::Api | Plugin::Counters => {
            "management_agent.disable_metrics_collector = true\nlog.console.level = warning\n"
        }
    };
    if let Some((port, tls)) = tls {
        text += &format!(
            "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.cacertfile = {}\nssl_options.certfile = {}\n\
             ssl_options.keyfile = {}\nssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = false\n\
             ssl_cert_login_from = common_name\nauth_mechanisms.1 = PLAIN\nauth_mechanisms.2 = AMQPLAIN\n\
             auth_mechanisms.3 = EXTERNAL\n",
            tls.authority().display(),
            tls.certificate().display(),
            tls.key().display()
        );
    }
    text
}

/// Whether the server opens an AMQP connection.
fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut first = [0];
    stream.write_all(b"AMQP\0\0\x09\x01").is_ok() && stream.read_exact(&mut first).is_ok() && first == [1]
}

fn ok((status, _): (u16, String)) -> bool {
    status == 200
}
