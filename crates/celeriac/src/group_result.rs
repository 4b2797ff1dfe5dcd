use std::time::Duration;

use celeriac_protocol::Value;
use celeriac_results::Saved;
use futures_util::future::try_join_all;
use serde::de::DeserializeOwned;

use crate::{App, AsyncResult, ResultError};

/// The results of several calls, in their order. On Redis they are asked for together: one command for all, and one
/// subscription for those that are not ready.
#[derive(Debug)]
pub struct GroupResult<T = Value> {
    id: String,
    results: Vec<AsyncResult<T>>,
}

impl<T> GroupResult<T> {
    /// The results of these calls, under an id by which they may be saved.
    pub fn new(id: impl Into<String>, results: impl IntoIterator<Item = AsyncResult<T>>) -> Self {
        GroupResult { id: id.into(), results: results.into_iter().collect() }
    }

    /// The group's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The result of each call.
    pub fn results(&self) -> &[AsyncResult<T>] {
        &self.results
    }

    /// How many have succeeded (`GroupResult.completed_count`).
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn completed(&self) -> Result<usize, ResultError> {
        let states = try_join_all(self.results.iter().map(AsyncResult::state)).await?;
        Ok(states.iter().filter(|state| **state == crate::State::Success).count())
    }

    /// Keeps in the store which calls these are, for [`App::group_result`] and for Python's `GroupResult.restore`.
    ///
    /// # Errors
    /// When the store cannot be asked, or keeps no groups: only Redis does.
    pub async fn save(&self, app: &App) -> Result<(), ResultError> {
        let group = Saved::group(&self.id, self.results.iter().map(|result| Saved::result(result.id())));
        Ok(app.result_store().save_group(&self.id, &group).await?)
    }
}

impl<T: DeserializeOwned> GroupResult<T> {
    /// Waits for all return values.
    ///
    /// # Errors
    /// That of the first call that fails, and all else that [`AsyncResult::get`] has.
    pub async fn join(&self) -> Result<Vec<T>, ResultError> {
        try_join_all(self.results.iter().map(AsyncResult::get)).await
    }

    /// Waits at most so long.
    ///
    /// # Errors
    /// [`ResultError::Timeout`], and those of [`join`](Self::join).
    pub async fn join_timeout(&self, timeout: Duration) -> Result<Vec<T>, ResultError> {
        tokio::time::timeout(timeout, self.join()).await.unwrap_or(Err(ResultError::Timeout))
    }
}
