//! Installs what the tests need and is not there yet.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use celeriac_testkit::workspace_root;

use crate::cargo::{output, run, succeeds};

/// Debian packages, each with a program that tells whether it is there.
const PACKAGES: [(&str, &str); 5] = [
    ("rabbitmq-server", "/usr/lib/rabbitmq/bin/rabbitmq-server"),
    ("redis-server", "redis-server"),
    ("redis-tools", "redis-cli"),
    ("openssl", "openssl"),
    ("util-linux", "setpriv"),
];

/// Installs the packages; a policy keeps their services from being started, so no system server is left running.
const INSTALL: &str = r#"set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' > $policy
    chmod +x $policy
fi
export DEBIAN_FRONTEND=noninteractive
options='-qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300'
apt-get $options update >&2
apt-get $options install -y --no-install-recommends "$@" >&2
"#;

/// Tells an interpreter of Python 3.9 or newer that can make a venv.
const USABLE: &str = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))";

/// Installs what is missing and returns the Python interpreter that has Celery.
///
/// # Errors
/// Names the packages to install when it may not install them itself.
pub fn setup() -> Result<PathBuf> {
    let given = env::var_os("CELERIAC_TEST_PYTHON").map(PathBuf::from);
    let mut missing: Vec<&str> =
        PACKAGES.iter().filter(|(_, program)| !installed(program)).map(|(package, _)| *package).collect();
    let mut python = interpreter();
    if given.is_none() && python.is_none() {
        missing.push("python3-venv");
    }
    if !missing.is_empty() {
        install(&missing)?;
        python = interpreter();
    }
    match given {
        Some(given) => Ok(given),
        None => venv(&python.context("no Python 3.9 or newer with venv")?),
    }
}

/// The interpreter of the venv that draws plots.
///
/// # Errors
/// When there is no Python, or its packages do not install.
pub fn plotter() -> Result<PathBuf> {
    let requirements = fs::read_to_string(workspace_root().join("benches/plot/requirements.txt"))?;
    let python = interpreter().context("no Python 3.9 or newer with venv: run `cargo xtask setup`")?;
    made(&python, &workspace_root().join("target/venv-plot"), &requirements)
}

fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if !rustix::process::geteuid().is_root() || !installed("apt-get") {
        bail!("the tests need more; as root: apt-get install --no-install-recommends {list}");
    }
    eprintln!("installing {list}");
    run(Command::new("sh").args(["-c", INSTALL, "install"]).args(packages))
}

/// The venv's interpreter; the venv is made anew when its requirements or its Python changed.
fn venv(python: &Path) -> Result<PathBuf> {
    let root = workspace_root();
    let pinned = fs::read_to_string(root.join("testkit/requirements.txt"))?;
    let (dir, requirements) = match env::var("CELERIAC_TEST_CELERY") {
        Ok(version) => (root.join("target").join(format!("venv-{version}")), with_celery(&pinned, &version)),
        Err(_) => (root.join(".venv"), pinned),
    };
    made(python, &dir, &requirements)
}

/// The interpreter of a venv with these requirements.
fn made(python: &Path, dir: &Path, requirements: &str) -> Result<PathBuf> {
    let own = dir.join("bin/python");
    let version = output(Command::new(python).args(["-c", "import sys; print(sys.version)"]))?;
    let stamp = dir.join("stamp");
    let wanted = format!("{version}{requirements}");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) && own.exists() {
        return Ok(own);
    }
    run(Command::new(python).args(["-m", "venv", "--clear"]).arg(dir))?;
    let list = dir.join("requirements.txt");
    fs::write(&list, requirements)?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "-r"];
    run(Command::new(&own).args(pip).arg(&list))?;
    fs::write(stamp, wanted)?;
    Ok(own)
}

/// The requirements with another Celery, and everything else as new as that allows: of the kombu and billiard that an
/// older one brings with it, those of its time.
fn with_celery(requirements: &str, version: &str) -> String {
    let pinned = requirements.lines().filter(|line| !line.contains(';'));
    let pinned: Vec<_> = pinned.filter_map(|line| line.split_once("==")).collect();
    let own = pinned.iter().find(|(name, _)| name.starts_with("celery")).map(|(_, version)| minor(version));
    let is_older = own.is_some_and(|own| minor(version) < own);
    let mut list: String = pinned
        .iter()
        .map(|(name, _)| match *name {
            name if name.starts_with("celery") => format!("{name}=={version}\n"),
            "kombu" if is_older => format!("kombu~={}.{}.0\n", minor(version).0, minor(version).1),
            name => format!("{name}\n"),
        })
        .collect();
    if is_older {
        // An extra of Celery's since 5.5.
        list += "billiard~=4.2.0\npydantic\n";
    } else {
        // Celery's extra is a library that its kombu does not look for.
        list += "backports.zstd; python_version < '3.14'\n";
    }
    list
}

/// The first two numbers of a version: kombu has had the same ones as the Celery of its time since 5.0.
fn minor(version: &str) -> (u32, u32) {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or_default());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}

fn interpreter() -> Option<PathBuf> {
    let newer = (9..20).rev().map(|minor| format!("python3.{minor}"));
    let names = ["python3".to_owned()].into_iter().chain(newer).chain(["/usr/bin/python3".to_owned()]);
    names.filter_map(|name| on_path(&name)).find(|python| succeeds(Command::new(python).args(["-c", USABLE])))
}

fn installed(program: &str) -> bool {
    on_path(program).is_some()
}

/// Where the program is; Debian keeps servers in the sbin folders, which not every user's PATH has.
fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_celery_has_the_kombu_of_its_time() {
        let pinned = "# Ours.\ncelery[redis]==5.6.2\nkombu==5.7.0\nflask==3.1.3\nvine==5.1.0; python_version >= '3.11'\n";
        let list =
            |version: &str| with_celery(pinned, version).lines().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            list("5.7.0"),
            ["celery[redis]==5.7.0", "kombu", "flask", "backports.zstd; python_version < '3.14'"]
        );
        assert_eq!(
            list("5.3.6"),
            ["celery[redis]==5.3.6", "kombu~=5.3.0", "flask", "billiard~=4.2.0", "pydantic"]
        );
    }
}
