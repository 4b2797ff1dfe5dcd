//! Child processes that cannot outlive the test.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, kill_process, kill_process_group};

use crate::TempDir;
use crate::poll::poll;

pub use rustix::process::Signal;

/// A child process in a process group of its own, killed with its group at drop.
///
/// What it prints goes to files. When this very process dies, the kernel kills the child too (`PR_SET_PDEATHSIG`).
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Mutex<Child>,
    pid: u32,
    dir: TempDir,
}

impl Process {
    /// Starts the command with its environment and working folder; standard input is empty.
    ///
    /// # Panics
    /// When the program does not exist.
    pub fn start(command: &Command) -> Self {
        let dir = TempDir::new();
        let file = |name: &str| File::create(dir.path().join(name)).expect("a file in a fresh folder");
        let mut wrapped = tied(command);
        wrapped.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr")).process_group(0);
        let name = command.get_program().to_string_lossy().into_owned();
        let child =
            spawn(wrapped).unwrap_or_else(|error| panic!("setpriv (of util-linux) for {name}: {error}"));
        Self { name, pid: child.id(), child: Mutex::new(child), dir }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// What it wrote to standard output so far.
    pub fn stdout(&self) -> String {
        self.read("stdout")
    }

    /// What it wrote to standard error so far.
    pub fn stderr(&self) -> String {
        self.read("stderr")
    }

    /// Standard output, then standard error.
    pub fn log(&self) -> String {
        self.stdout() + &self.stderr()
    }

    /// The first line, from the start of its output, that contains `text`.
    ///
    /// # Panics
    /// At the deadline, or when the process ends without such a line.
    pub fn wait_for_line(&self, text: &str, deadline: Duration) -> String {
        let mut scans = ["stdout", "stderr"].map(|name| Scan::open(self.dir.path().join(name)));
        let found = poll(deadline, || {
            let ended = self.exit_status().is_some();
            match scans.iter_mut().find_map(|scan| scan.find(text)) {
                Some(line) => Some(Some(line)),
                None => ended.then_some(None),
            }
        });
        match found {
            Some(Some(line)) => line,
            Some(None) => panic!("{} ended without the line {text:?}:\n{}", self.name, self.log()),
            None => panic!("{} has no line {text:?} after {deadline:?}:\n{}", self.name, self.log()),
        }
    }

    /// Sends a signal to the process alone; does nothing when it has ended.
    pub fn signal(&self, signal: Signal) {
        let mut child = self.child();
        if let (Ok(None), Some(pid)) = (child.try_wait(), pid(self.pid)) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Kills it and all of its process group, and waits for its end.
    pub fn kill(&self) {
        let mut child = self.child();
        // Until it is reaped its id belongs to it, and so does the group's.
        if let (Ok(None), Some(pid)) = (child.try_wait(), pid(self.pid)) {
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = child.wait();
        }
    }

    /// How it ended, or `None` while it runs.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.child().try_wait().expect("the status of an own child")
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// At the deadline.
    pub fn wait(&self, deadline: Duration) -> ExitStatus {
        poll(deadline, || self.exit_status())
            .unwrap_or_else(|| panic!("{} still runs after {deadline:?}:\n{}", self.name, self.log()))
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.dir.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads a growing file line by line.
struct Scan {
    file: BufReader<File>,
    line: Vec<u8>,
}

impl Scan {
    fn open(path: PathBuf) -> Self {
        Self { file: BufReader::new(File::open(path).expect("the output of an own child")), line: Vec::new() }
    }

    fn find(&mut self, text: &str) -> Option<String> {
        while self.file.read_until(b'\n', &mut self.line).is_ok_and(|read| read > 0)
            && self.line.ends_with(b"\n")
        {
            let line = String::from_utf8_lossy(&self.line).trim_end().to_owned();
            self.line.clear();
            if line.contains(text) {
                return Some(line);
            }
        }
        None
    }
}

fn pid(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw)
}

/// The command, run so that the kernel kills it when the thread that started it ends.
fn tied(command: &Command) -> Command {
    let mut wrapped = Command::new("setpriv");
    wrapped
        .args(["--pdeathsig", "KILL", "--"].map(OsStr::new))
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        wrapped.current_dir(dir);
    }
    wrapped
}

/// Spawns from one thread that lives as long as the process: the signal at the parent's death goes by thread.
fn spawn(command: Command) -> std::io::Result<Child> {
    type Order = (Command, mpsc::Sender<std::io::Result<Child>>);
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in inbox {
                let _ = reply.send(command.spawn());
            }
        });
        orders
    });
    let (reply, answer) = mpsc::channel();
    spawner.send((command, reply)).expect("the spawner lives as long as the process");
    answer.recv().expect("the spawner answers")
}
