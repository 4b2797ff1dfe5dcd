//! The broker of an app, for commands of ours that need nothing else of it.

use std::env;
use std::path::Path;

use anyhow::Context;
use celeriac_python::host::{Started, Zygote, find_python};
use celeriac_python::report::Report;

use super::error::Stop;
use super::parse::parse;
use super::worker::message;

/// Its URL, with the transport options as parameters, as a worker of that command line would have it. The app is imported
/// for that, and nothing else is done with it.
///
/// # Errors
/// When the command line makes no sense, or the app cannot be loaded.
pub fn of(globals: &[String]) -> Result<String, Stop> {
    let given = parse(globals).map_err(Stop::Usage)?;
    let python = env::current_dir()
        .context("the current folder")?
        .join(find_python(given.text("executable").map(Path::new))?);
    if let Some(folder) = given.text("workdir") {
        env::set_current_dir(folder).with_context(|| folder.to_owned())?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the async runtime")?.block_on(async {
        let Started { zygote, report, .. } = Zygote::start(&python, &message(&given, globals), &[]).await?;
        zygote.stop().await;
        let report = Report::read(&report).map_err(anyhow::Error::from)?;
        Ok(report.read.url)
    })
}
