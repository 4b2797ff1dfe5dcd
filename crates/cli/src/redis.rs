//! `celeriac redis doctor`: what is wrong in a Redis that is used as a broker.

use std::process::ExitCode;

use anyhow::{Context, Result};
use celeriac_protocol::codec::{self, Serializer};
use celeriac_protocol::{Map, Value};
use celeriac_redis::RedisTransport;
use celeriac_redis::doctor::{Doctor, Life, Report};
use clap::Subcommand;

use crate::table::{clean, say, table};

const DEFAULT: &str = "redis://127.0.0.1:6379/0";

/// What is done to it.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show queues, who holds messages, and what is wrong; exits with 1 when something is.
    Doctor {
        /// Mend what can be mended for certain.
        #[arg(long, conflicts_with = "dry_run")]
        fix: bool,
        /// Only look, as by default.
        #[arg(long)]
        dry_run: bool,
        /// As JSON, in one line.
        #[arg(short, long)]
        json: bool,
        /// The broker's URL, with its transport options as parameters; CELERY_BROKER_URL by default.
        #[arg(short, long, value_name = "URL")]
        broker: Option<String>,
    },
}

/// Runs a command.
pub fn run(command: &Command, broker: Option<String>) -> Result<ExitCode> {
    let Command::Doctor { fix, json, broker: own, .. } = command;
    let from_environment = || std::env::var("CELERY_BROKER_URL").ok().filter(|url| !url.is_empty());
    let url = own.clone().or(broker).or_else(from_environment).unwrap_or_else(|| DEFAULT.to_owned());
    let transport: RedisTransport = url.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the async runtime")?.block_on(async {
        celeriac_redis::serve_here();
        let doctor = Doctor::open(&transport).await?;
        let report = doctor.examine().await?;
        let done = if *fix { doctor.mend(&report).await? } else { Vec::new() };
        doctor.close().await;
        match json {
            true => say(&as_json(&report, &done)?),
            false => show(&report, *fix, &done),
        }
        Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

fn show(report: &Report, fix: bool, done: &[String]) {
    let server = &report.server;
    let mebibytes = server.used_memory >> 20;
    say(&format!("Redis {}, {mebibytes} MiB used, {}", server.version, server.policy));
    let steps: Vec<String> = report
        .queues
        .first()
        .map(|queue| queue.lengths.iter().map(|(step, _)| format!("Priority {step}")).collect())
        .unwrap_or_default();
    let head = [vec!["Queue".to_owned()], steps, vec!["Consumers".to_owned()]].concat();
    let rows = report.queues.iter().map(|queue| {
        let length = |length: &Option<u64>| length.map_or("no list".to_owned(), |length| length.to_string());
        let lengths = queue.lengths.iter().map(|(_, found)| length(found)).collect();
        [vec![queue.name.clone()], lengths, vec![queue.consumers.to_string()]].concat()
    });
    table(&head, rows.collect());
    let head = ["Held by", "State", "Messages", "Oldest"].map(str::to_owned);
    let rows = report.holders.iter().map(|holder| {
        let owner = holder.owner.clone().unwrap_or_else(|| "Python's workers".to_owned());
        let oldest = format!("{} s", holder.oldest.as_secs());
        vec![owner, life(holder.life).to_owned(), holder.held.to_string(), oldest]
    });
    table(&head, rows.collect());
    let head = ["Exchange", "Bindings", "Python's transient"].map(str::to_owned);
    let rows = report
        .bindings
        .iter()
        .map(|(exchange, count, transient)| vec![exchange.clone(), count.to_string(), transient.to_string()]);
    table(&head, rows.collect());
    if report.is_partial {
        say("\nThere is more than is shown.");
    }
    if report.findings.is_empty() {
        return say("\nNothing is wrong.");
    }
    say("");
    for finding in &report.findings {
        let hint = if finding.remedy.is_some() && !fix { " (--fix mends it)" } else { "" };
        say(&format!("- {}{hint}", clean(&finding.text)));
    }
    if fix {
        say("\nMended:");
        done.iter().for_each(|line| say(&format!("- {}", clean(line))));
    }
}

fn life(life: Life) -> &'static str {
    match life {
        Life::Alive => "alive",
        Life::Dead => "dead",
        Life::Unknown => "unknown",
    }
}

fn as_json(report: &Report, done: &[String]) -> Result<String> {
    let map = |pairs: Vec<(&str, Value)>| {
        Value::Map(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map>())
    };
    let server = &report.server;
    let queues = report.queues.iter().map(|queue| {
        let lengths = queue
            .lengths
            .iter()
            .map(|(step, length)| (step.to_string(), length.map_or(Value::Null, Value::from)));
        map(vec![
            ("name", queue.name.clone().into()),
            ("lengths", Value::Map(lengths.collect::<Map>())),
            ("consumers", queue.consumers.into()),
        ])
    });
    let holders = report.holders.iter().map(|holder| {
        map(vec![
            ("owner", holder.owner.clone().map_or(Value::Null, Value::from)),
            ("state", life(holder.life).into()),
            ("held", holder.held.into()),
            ("oldest", holder.oldest.as_secs().into()),
        ])
    });
    let bindings = report.bindings.iter().map(|(exchange, count, transient)| {
        map(vec![
            ("exchange", exchange.clone().into()),
            ("bindings", (*count).into()),
            ("transient", (*transient).into()),
        ])
    });
    let findings = report.findings.iter().map(|finding| {
        map(vec![("text", finding.text.clone().into()), ("mendable", finding.remedy.is_some().into())])
    });
    let all = map(vec![
        (
            "server",
            map(vec![
                ("version", server.version.clone().into()),
                ("used_memory", server.used_memory.into()),
                ("maxmemory_policy", server.policy.clone().into()),
                ("aof", server.has_aof.into()),
            ]),
        ),
        ("alone", report.alone.into()),
        ("partial", report.is_partial.into()),
        ("queues", Value::List(queues.collect())),
        ("holders", Value::List(holders.collect())),
        ("bindings", Value::List(bindings.collect())),
        ("findings", Value::List(findings.collect())),
        ("mended", Value::List(done.iter().cloned().map(Value::from).collect())),
    ]);
    let body = codec::encode(&all, Serializer::Json, None)?;
    Ok(String::from_utf8(body.data.to_vec())?)
}
