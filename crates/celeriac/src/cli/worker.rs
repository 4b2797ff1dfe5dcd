//! `worker` (`celery/bin/worker.py`, `celery/apps/worker.py`).

use std::path::Path;
use std::process::ExitCode;

use super::args::{self, Global};
use super::banner::Banner;
use super::console::{Console, plural};
use super::error::Error;
use super::format::Format;
use super::level::Level;
use super::pidfile::Pidfile;
use super::process::{Signals, restart, say, start_log};
use super::signals::Ending;
use super::{node, overrides, runtime, unsupported};
use crate::{App, Config, Settings, control};

/// Runs a worker until a signal ends it.
pub(super) fn run(
    app: &App,
    mut config: Config,
    options: args::Worker,
    global: &Global,
) -> Result<ExitCode, Error> {
    unsupported::refuse(&options)?;
    overrides::worker(&mut config, &options)?;
    let app = app.with_config(config)?;
    let settings = overrides::node(app.settings().clone(), &options)?;

    if let Some(mask) = options.daemon.umask {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
    }
    let file = |name: &Option<String>| {
        name.as_deref()
            .map(|name| node::file_name(name, &settings.hostname))
            .transpose()
            .map_err(Error::Usage)
    };
    let pidfile =
        file(&options.daemon.pidfile)?.map(|path| Pidfile::acquire(Path::new(&path))).transpose()?;
    let colours = global.no_color.then_some(false);
    start_log(options.node.loglevel, Format::default(), file(&options.daemon.logfile)?, colours)?;

    let console = Console::new(global.no_color, global.quiet);
    let ending = runtime::on_one_thread(|| serve(&app, settings, &options, console))??;
    if ending.restart {
        say("Restarting worker");
        drop(pidfile);
        return Err(restart());
    }
    Ok(ExitCode::from(ending.code))
}

/// Everything from the first signal handler to the last.
async fn serve(
    app: &App,
    settings: Settings,
    options: &args::Worker,
    console: Console,
) -> Result<Ending, Error> {
    let signals = Signals::listen()?;
    if options.queue.purge {
        let connection = app.transport().connect().await?;
        let erased = control::purge(&*connection, settings.consumed()).await;
        connection.close().await;
        match erased? {
            0 => {}
            erased => console
                .say(&format!("purge: Erased {erased} {} from the queue.\n", plural(erased, "message"))),
        }
    }
    if !console.quiet {
        show_banner(app, &settings, options.node.loglevel, console);
    }
    for note in unsupported::notes(options) {
        tracing::warn!("{note}");
    }
    let worker = app.worker_with(settings).tasks_apart();
    let (shutdown, counters) = (worker.shutdown_handle(), worker.counters());
    let work = async {
        let ended = worker.run().await;
        app.close().await;
        ended
    };
    Ok(signals.supervise(work, &shutdown, &counters, |_| {}).await)
}

fn show_banner(app: &App, settings: &Settings, level: Level, console: Console) {
    let banner = Banner {
        hostname: &settings.hostname,
        app: app.name(),
        transport: app.transport().display_url(),
        results: app.result_store().display_url(),
        concurrency: settings.concurrency,
        autoscale: settings.autoscale.map(|bounds| (bounds.max, bounds.min)),
        task_events: settings.task_events,
        queues: settings.consumed().iter().map(|name| settings.queues.queue(Some(name)).queue).collect(),
        tasks: if level <= Level::Info { app.registry().names() } else { Vec::new() },
    };
    console.say(&if console.colours { banner.coloured() } else { banner.text() });
}
