//! A plain worker with one task that does nothing: `celeriac-chatter -b URL worker ...`, as any program of celeriac.
//!
//! `celeriac-chatter ask URL N` asks all workers what they know of the cluster and prints a line for each answer, of at
//! most N: name, digest of the roster, members, term, lead, watchers, with tabs between.
//! A worker logs the like of itself for each SIGUSR2, which costs the broker nothing.
//! `celeriac-chatter elect URL ID` has all workers stand for an election whose winner sends the task.

mod witness;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use celeriac::control::Reply;
use celeriac::{App, ConfigError, Map, Signature, Value};

/// What the examples have, for the same memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long to wait for one more answer.
const PATIENCE: Duration = Duration::from_secs(3);

#[celeriac::task(name = "tasks.noop")]
async fn noop() {}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["ask", url, most] => ask(url, most),
        ["elect", url, id] => elect(url, id),
        _ => match app(None) {
            Ok(app) => return celeriac::cli::main(app),
            Err(error) => Err(error.into()),
        },
    };
    if let Err(error) = done {
        eprintln!("{error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn app(url: Option<&str>) -> Result<App, ConfigError> {
    let app = App::builder("chatter").task(noop).worker(|worker| worker.step(witness::Witness::default()));
    url.into_iter().fold(app, |app, url| app.broker(url)).build()
}

#[tokio::main(flavor = "current_thread")]
async fn ask(url: &str, most: &str) -> Result<()> {
    let app = app(Some(url))?;
    let control = app.control().reply().limit(most.parse().context("N")?).timeout(PATIENCE);
    for reply in control.broadcast("cluster", Map::new()).await? {
        println!("{}", line(&reply)?);
    }
    app.close().await;
    Ok(())
}

fn line(Reply { node, value }: &Reply) -> Result<String> {
    let Value::Map(answer) = value else { bail!("{node} answers {value:?}") };
    let text = |key| match answer.get(key) {
        Some(Value::String(text)) => text.to_string(),
        Some(Value::Int(number)) => number.to_string(),
        Some(Value::List(items)) => {
            let names = items.iter().filter_map(|item| match item {
                Value::String(name) => Some(name.to_string()),
                _ => None,
            });
            names.collect::<Vec<_>>().join(",")
        }
        _ => String::new(),
    };
    Ok(format!("{node}\t{}", ["digest", "members", "term", "lead", "watchers"].map(text).join("\t")))
}

#[tokio::main(flavor = "current_thread")]
async fn elect(url: &str, id: &str) -> Result<()> {
    let app = app(Some(url))?;
    app.control().election(id, "task", Some(Signature::new("tasks.noop", Vec::new()).into_value())).await?;
    app.close().await;
    Ok(())
}
