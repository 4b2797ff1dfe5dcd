//! Sends calls to the embedded broker and waits for their results:
//! `celeriac-load send|wait|both FILE COUNT [BEFORE]`, where FILE is broker and result store and holds BEFORE results.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use celeriac::{App, TaskCall};
use futures_util::{StreamExt, TryStreamExt, stream};
use rusqlite::{Connection, OpenFlags};

/// Calls that wait for the broker at a time: one program with many users.
const IN_FLIGHT: usize = 512;
const POLL: Duration = Duration::from_millis(10);
const DEADLINE: Duration = Duration::from_secs(180);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [what, file, count, before @ ..] = args.as_slice() else {
        bail!("celeriac-load send|wait|both FILE COUNT [BEFORE]")
    };
    let count: u32 = count.parse().context("COUNT")?;
    let before: u32 = before.first().map_or(Ok(0), |before| before.parse()).context("BEFORE")?;
    let begun = Instant::now();
    if what != "wait" {
        send(file, count).await?;
        println!("sent {}", begun.elapsed().as_secs_f64());
    }
    if what != "send" {
        wait(file, before + count).await?;
        println!("stored {}", begun.elapsed().as_secs_f64());
    }
    Ok(())
}

async fn send(file: &str, count: u32) -> Result<()> {
    let url = format!("sqlite:{file}");
    let app = App::builder("load").broker(&url).result_backend(&url).build()?;
    let calls = stream::iter(0..count).map(|number| app.send(TaskCall::<()>::new("tasks.noop").arg(&number)));
    calls.buffer_unordered(IN_FLIGHT).try_for_each(|_| async { Ok(()) }).await?;
    app.close().await;
    Ok(())
}

/// Counts rows beside the result store, so that the client's own reading costs the workers nothing.
async fn wait(file: &str, results: u32) -> Result<()> {
    let begun = Instant::now();
    let database = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    loop {
        // Rows are never replaced here, so the last number is their count; the first result makes the table.
        let last = "SELECT coalesce(max(seq), 0) FROM celeriac_result";
        let stored: u32 = database.query_row(last, (), |row| row.get(0)).unwrap_or(0);
        if stored >= results {
            break;
        }
        ensure!(begun.elapsed() < DEADLINE, "{stored} of {results} results are stored");
        tokio::time::sleep(POLL).await;
    }
    let succeeded = "SELECT count(*) FROM celeriac_result WHERE state = 'SUCCESS'";
    let succeeded: u32 = database.query_row(succeeded, (), |row| row.get(0))?;
    ensure!(succeeded == results, "{succeeded} of {results} tasks succeeded");
    Ok(())
}
