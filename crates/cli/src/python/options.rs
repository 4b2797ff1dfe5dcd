//! The options of `worker`, with the names of Celery 5.7 (`celery/bin/celery.py`, `celery/bin/worker.py`), and ours.

use Takes::{Autoscale, Count, Flag, Level, List, Number, OneOf, Text, Whole};
use To::{App, Parent};

/// Celery's pools, of which some do not run here, and ours.
const POOLS: &[&str] =
    &["prefork", "eventlet", "gevent", "solo", "processes", "threads", "custom", "spawn", "asyncio"];

/// What stands behind an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Nothing.
    Flag,
    /// Any text.
    Text,
    /// A whole number.
    Whole,
    /// A whole number, or `auto`.
    Count,
    /// A number.
    Number,
    /// Words with commas.
    List,
    /// The name of a log level.
    Level,
    /// One or two whole numbers with a comma.
    Autoscale,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

/// Who is told of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// The app's process, and by it this one.
    App,
    /// This process alone.
    Parent,
}

/// An option.
#[derive(Debug)]
pub struct Opt {
    /// Its letter.
    pub short: Option<char>,
    /// Its long names, without the dashes.
    pub long: &'static [&'static str],
    /// Celery's name of the parameter, which its variable of the environment has too.
    pub key: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// Who is told.
    pub to: To,
    /// What it is for.
    pub help: &'static str,
}

/// Options with a headline.
pub struct Group {
    /// The headline.
    pub title: &'static str,
    /// What the names of their variables start with; `None` where they have none or Python reads them.
    pub environment: Option<&'static str>,
    /// The options.
    pub options: &'static [Opt],
}

const fn opt(
    short: Option<char>,
    long: &'static [&'static str],
    key: &'static str,
    takes: Takes,
    to: To,
    help: &'static str,
) -> Opt {
    Opt { short, long, key, takes, to, help }
}

const WORKER: Option<&str> = Some("CELERY_WORKER_");

/// All of them.
#[rustfmt::skip]
pub const GROUPS: &[Group] = &[
    Group { title: "Global Options", environment: None, options: &[
        opt(Some('A'), &["app"], "app", Text, App, "The Celery app: a module, or module:name."),
        opt(Some('b'), &["broker"], "broker", Text, App, "The broker's URL."),
        opt(None, &["result-backend"], "result_backend", Text, App, "The result backend's URL."),
        opt(None, &["loader"], "loader", Text, App, "The class that loads the app."),
        opt(None, &["config"], "config", Text, App, "The module with the settings."),
        opt(None, &["skip-checks"], "skip_checks", Flag, App, "Skip Django's checks."),
    ] },
    Group { title: "Console Options", environment: Some("CELERY_"), options: &[
        opt(None, &["workdir"], "workdir", Text, Parent, "Change to this folder first."),
        opt(Some('C'), &["no-color"], "no_color", Flag, App, "No colours."),
        opt(Some('q'), &["quiet"], "quiet", Flag, App, "No banner."),
        opt(None, &["version"], "version", Flag, Parent, "Show the version."),
        opt(None, &["help"], "help", Flag, Parent, "Show this text."),
    ] },
    Group { title: "Worker Options", environment: WORKER, options: &[
        opt(Some('n'), &["hostname"], "hostname", Text, App,
            "The worker's name, such as w1@%h. Expands %h (host), %n (name), %d (domain)."),
        opt(Some('D'), &["detach"], "detach", Flag, Parent, "Run in the background."),
        opt(Some('S'), &["statedb"], "statedb", Text, App, "Keep revokes in this file, which is Celery's, and more in FILE.celeriac."),
        opt(Some('l'), &["loglevel"], "loglevel", Level, App, "DEBUG, INFO, WARNING (the default), ERROR, CRITICAL or FATAL."),
        opt(Some('O'), &["optimization"], "optimization", OneOf(&["default", "fair"]), App,
            "Accepted: a task always goes to a process that is free."),
        opt(None, &["prefetch-multiplier"], "prefetch_multiplier", Whole, App, "Deliveries held for each task that may run."),
        opt(None, &["disable-prefetch"], "disable_prefetch", Flag, App, "Take a message only when a process is free (Redis)."),
    ] },
    Group { title: "Pool Options", environment: WORKER, options: &[
        opt(Some('c'), &["concurrency"], "concurrency", Count, App,
            "How many tasks run at once; the number of CPUs by default. auto: of those that the cgroup may use (Celery 5.7)."),
        opt(Some('P'), &["pool"], "pool", OneOf(POOLS), App, "prefork (the default), spawn, threads, solo or asyncio."),
        opt(None, &["pool-start-method"], "pool_start_method", OneOf(&["fork", "spawn"]), App,
            "spawn: the pool prefork is the pool spawn."),
        opt(Some('E'), &["task-events", "events"], "task_events", Flag, App, "Send events of tasks."),
        opt(None, &["time-limit"], "time_limit", Number, App, "Seconds after which a task is killed."),
        opt(None, &["soft-time-limit"], "soft_time_limit", Number, App, "Seconds after which a task is told to end."),
        opt(None, &["max-tasks-per-child"], "max_tasks_per_child", Whole, App, "A process is replaced after so many tasks."),
        opt(None, &["max-memory-per-child"], "max_memory_per_child", Whole, App, "A process is replaced when it has more KiB."),
    ] },
    Group { title: "Queue Options", environment: WORKER, options: &[
        opt(None, &["purge", "discard"], "purge", Flag, Parent, "Erase all waiting messages before the start."),
        opt(Some('Q'), &["queues"], "queues", List, App, "The queues to consume, with commas."),
        opt(Some('X'), &["exclude-queues"], "exclude_queues", List, App, "Queues not to consume, with commas."),
        opt(Some('I'), &["include"], "include", List, App, "Further modules to import, with commas."),
    ] },
    Group { title: "Features", environment: WORKER, options: &[
        opt(None, &["without-gossip"], "without_gossip", Flag, App, "Do not listen to other workers."),
        opt(None, &["without-mingle"], "without_mingle", Flag, App, "Do not ask other workers at the start."),
        opt(None, &["without-heartbeat"], "without_heartbeat", Flag, App, "Send no heartbeats."),
        opt(None, &["heartbeat-interval"], "heartbeat_interval", Whole, App, "Seconds between heartbeats, 2 by default."),
        opt(None, &["autoscale"], "autoscale", Autoscale, App, "The most and the fewest processes: 10,3."),
    ] },
    Group { title: "Embedded Beat Options", environment: WORKER, options: &[
        opt(Some('B'), &["beat"], "beat", Flag, App, "Run the app's periodic tasks, too; in one worker only."),
        opt(Some('s'), &["schedule-filename", "schedule"], "schedule_filename", Text, App, "The file of the schedule."),
        opt(None, &["scheduler"], "scheduler", Text, App, "The scheduler's class."),
    ] },
    Group { title: "Daemonization Options", environment: WORKER, options: &[
        opt(Some('f'), &["logfile"], "logfile", Text, App, "Log to this file, not to standard error."),
        opt(None, &["pidfile"], "pidfile", Text, App, "Keep the process id in this file."),
        opt(None, &["uid"], "uid", Text, App, "Become this user, when started by root."),
        opt(None, &["gid"], "gid", Text, App, "Become this group, when started by root."),
        opt(None, &["umask"], "umask", Text, App, "The umask of new files, octal when it starts with 0."),
        opt(None, &["executable", "python"], "executable", Text, Parent,
            "The Python to run; else that beside this command, of VIRTUAL_ENV, or python3."),
    ] },
    Group { title: "celeriac's own", environment: Some("CELERIAC_"), options: &[
        opt(None, &["gossip"], "gossip", OneOf(&["watch", "classic", "stream"]), Parent, "How to listen to other workers: watch (the default), classic or stream."),
        opt(None, &["ignore-unsupported"], "ignore_unsupported", Flag, Parent,
            "Start even if the app has what does not run here."),
    ] },
];

/// The option of a long name, with its group.
pub fn long(name: &str) -> Option<&'static Opt> {
    all().find(|option| option.long.contains(&name))
}

/// The option of a letter.
pub fn short(letter: char) -> Option<&'static Opt> {
    all().find(|option| option.short == Some(letter))
}

/// Every option.
pub fn all() -> impl Iterator<Item = &'static Opt> {
    GROUPS.iter().flat_map(|group| group.options)
}

/// What `--help` shows.
pub fn help() -> String {
    let mut text = "Usage: celeriac [-A APP] worker [OPTIONS] [SETTING=VALUE]...\n\n  Run the tasks of a Python Celery app.\n".to_owned();
    for Group { title, options, .. } in GROUPS {
        text += &format!("\n{title}:\n");
        for option in *options {
            text += &format!("  {:<42} {}\n", option.usage(), option.help);
        }
    }
    text + "\nEach worker option XYZ may come from the environment too, by CELERY_WORKER_XYZ. Options of the app's own are passed to it.\n"
}

impl Opt {
    /// `'-c' / '--concurrency'`, for errors.
    pub fn names(&self) -> String {
        let short = self.short.map(|letter| format!("'-{letter}'"));
        let long = self.long.iter().map(|name| format!("'--{name}'"));
        short.into_iter().chain(long).collect::<Vec<_>>().join(" / ")
    }

    fn usage(&self) -> String {
        let value = match self.takes {
            Flag => "",
            Text => " TEXT",
            Whole | Count => " INTEGER",
            Number => " SECONDS",
            List => " A,B,...",
            Level => " LEVEL",
            Autoscale => " MAX,MIN",
            OneOf(_) => " WORD",
        };
        let short = self.short.map(|letter| format!("-{letter}"));
        let long = self.long.iter().map(|name| format!("--{name}"));
        short.into_iter().chain(long).collect::<Vec<_>>().join(", ") + value
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use celeriac_testkit::Python;

    use super::*;

    /// Every option of Celery's: its parameter, its names, whether it takes a value.
    const CELERYS: &str = "
from celery.bin.celery import celery
from celery.bin.worker import worker
for option in celery.params + worker.params:
    print(option.name, *sorted(option.opts), not option.is_flag)
";

    #[test]
    fn every_option_of_celery_is_there() {
        let known: BTreeSet<_> = all()
            .flat_map(|option| {
                let short = option.short.map(|letter| format!("-{letter}"));
                let long = option.long.iter().map(|name| format!("--{name}"));
                short.into_iter().chain(long).map(|name| (option.key, name, option.takes != Flag))
            })
            .collect();
        let celerys = Python::find().run(CELERYS, &[], &[]);
        assert!(celerys.lines().count() > 40, "{celerys}");
        for line in celerys.lines() {
            let words: Vec<_> = line.split(' ').collect();
            let (Some((key, names)), true) = (words[..words.len() - 1].split_first(), words.len() > 2) else {
                panic!("{line}")
            };
            for name in names {
                let wanted = (*key, (*name).to_owned(), words[words.len() - 1] == "True");
                assert!(known.contains(&wanted), "{line}");
            }
        }
    }

    #[test]
    fn no_name_is_taken_twice() {
        let shorts: Vec<_> = all().filter_map(|option| option.short).collect();
        let longs: Vec<_> = all().flat_map(|option| option.long).collect();
        assert_eq!(shorts.iter().collect::<BTreeSet<_>>().len(), shorts.len());
        assert_eq!(longs.iter().collect::<BTreeSet<_>>().len(), longs.len());
    }

    #[test]
    fn help_shows_every_option() {
        let help = help();
        for option in all() {
            assert!(help.contains(&format!("--{}", option.long[0])), "{}", option.key);
        }
    }
}
