//! rusty-celery with a no-op task: `rusty AMQP_URL`.

// The macro of that crate.
#![allow(non_local_definitions)]

use anyhow::{Context, Result};
use celery::prelude::*;

#[celery::task(name = "tasks.noop")]
fn noop(_number: u64) -> TaskResult<()> {
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::args().nth(1).context("the broker's URL")?;
    let app = celery::app!(
        broker = AMQPBroker { url },
        tasks = [noop],
        task_routes = ["*" => "celery"],
        prefetch_count = 1000,
    )
    .await?;
    app.consume_from(&["celery"]).await?;
    Ok(())
}
