//! The programs that compete.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};
use celeriac_testkit::{Python, Vhost, workspace_root};

use crate::cargo::{cargo, run};
use crate::setup::setup;

/// A worker, or what stands in for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The example `hello`.
    Celeriac,
    /// rusty-celery 0.5.5.
    Rusty,
    /// A client of amqprs that only reads and acknowledges, on one thread.
    Bare,
    /// Python Celery, two prefork children.
    Celery,
    /// The example `hello`, sending events of its tasks.
    CeleriacEvents,
    /// Python Celery, sending events of its tasks.
    CeleryEvents,
}

impl Program {
    /// All by their names.
    pub const NAMED: [(&str, Self); 6] = [
        ("celeriac", Self::Celeriac),
        ("rusty-celery", Self::Rusty),
        ("bare", Self::Bare),
        ("celery", Self::Celery),
        ("celeriac -E", Self::CeleriacEvents),
        ("celery -E", Self::CeleryEvents),
    ];

    /// The programs with these names.
    pub fn select(names: &[String]) -> Result<Vec<Self>> {
        let find = |name: &String| match Self::NAMED.iter().find(|(known, _)| known == name) {
            Some((_, program)) => Ok(*program),
            None => bail!("no contender {name}: there are {}", Self::NAMED.map(|(name, _)| name).join(", ")),
        };
        names.iter().map(find).collect()
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMED.iter().find(|(_, program)| *program == self).map_or("", |(name, _)| name)
    }

    /// Builds it in release mode, or installs it.
    pub fn build(self) -> Result<()> {
        match self {
            Self::Celeriac | Self::CeleriacEvents => {
                run(&mut cargo(["build", "--release", "--workspace", "--example", "hello"]))
            }
            Self::Rusty | Self::Bare => {
                let manifest =
                    ["--manifest-path", "benches/peers/Cargo.toml", "--target-dir", "target/peers"];
                run(cargo(["build", "--release"]).args(manifest))
            }
            Self::Celery | Self::CeleryEvents => setup().map(|_| ()),
        }
    }

    /// The command that drains the queue `celery` of the virtual host, 1,000 messages ahead.
    pub fn drain(self, vhost: &Vhost, port: u16) -> Command {
        let mut command = match self {
            Self::Rusty => Command::new(target("peers/release/rusty")),
            Self::Bare => Command::new(target("peers/release/bare")),
            _ => return self.worker(&vhost.url(), "warning"),
        };
        match self {
            Self::Bare => command.args([&port.to_string(), vhost.name()]),
            _ => command.arg(vhost.url()),
        };
        command
    }

    /// A worker of celeriac or Celery with its defaults, apart from the prefetch of 1,000.
    pub fn worker(self, url: &str, level: &str) -> Command {
        let options = ["worker", "-Q", "celery", "-n", "w1@%h", "-l", level];
        let mut command = if matches!(self, Self::Celery | Self::CeleryEvents) {
            let mut command = Python::find().command();
            command.args(["-m", "celery", "-A", "pyapp"]).args(options);
            command.args(["-c", "2", "--prefetch-multiplier", "500"]);
            command.env("BROKER", url).env("C_FORCE_ROOT", "1");
            command
        } else {
            let mut command = Command::new(target("release/examples/hello"));
            command.args(["-b", url]).args(options).args(["-c", "8", "--prefetch-multiplier", "125"]);
            command
        };
        if matches!(self, Self::CeleriacEvents | Self::CeleryEvents) {
            command.arg("-E");
        }
        command
    }
}

fn target(path: &str) -> PathBuf {
    workspace_root().join("target").join(path)
}
