use std::time::Duration;

use crate::{Error, backoff};

/// How often a store is asked that cannot be reached, after it has tried by itself (`celery/backends/base.py`,
/// `store_result`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Whether who reads results waits too (`result_backend_always_retry`). Workers always do: what they do not store
    /// is lost.
    pub always: bool,
    /// `result_backend_max_retries`; `None` is without end.
    pub limit: Option<u32>,
    /// `result_backend_base_sleep_between_retries_ms`: the first pause, which doubles each time.
    pub base: Duration,
    /// `result_backend_max_sleep_between_retries_ms`: the longest pause.
    pub max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Retry { always: false, limit: None, base: Duration::from_millis(10), max: Duration::from_secs(10) }
    }
}

impl Retry {
    /// Asks until there is an answer; `what` waits meanwhile, for the log.
    ///
    /// # Errors
    /// When trying again does not help, or not any more.
    pub async fn insist<T, F>(&self, what: &str, mut ask: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut tries = 0;
        loop {
            match ask().await {
                Err(error) if error.is_recoverable() && !self.is_over(tries) => {
                    let pause = self.pause(tries);
                    tries = tries.saturating_add(1);
                    tracing::warn!("{what} waits, retry {tries} in {:.2}s: {error}", pause.as_secs_f64());
                    tokio::time::sleep(pause).await;
                }
                answer => return answer,
            }
        }
    }

    /// Whether so many retries were enough.
    pub(crate) fn is_over(&self, tries: u32) -> bool {
        self.limit.is_some_and(|limit| tries >= limit)
    }

    /// How long to wait before the next.
    pub(crate) fn pause(&self, tries: u32) -> Duration {
        backoff::jitter(self.base.saturating_mul(2u32.saturating_pow(tries)).min(self.max))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_may_help_is_tried_again_and_only_so_often() {
        let away = || Error::Unavailable { store: "redis://".to_owned(), reason: "away".to_owned() };
        let asked = Cell::new(0);
        let ask = |answers: u32, last: Result<(), Error>| {
            asked.set(asked.get() + 1);
            let answer = if asked.get() < answers { Err(away()) } else { last };
            async move { answer }
        };
        let retry = Retry { limit: Some(3), ..Retry::default() };
        assert_eq!(retry.insist("a", || ask(4, Ok(()))).await, Ok(()));
        assert_eq!(asked.replace(0), 4);
        assert_eq!(retry.insist("a", || ask(5, Ok(()))).await, Err(away()));
        assert_eq!(asked.replace(0), 4);
        assert_eq!(
            Retry::default().insist("a", || ask(200, Err(Error::Disabled))).await,
            Err(Error::Disabled)
        );
        assert_eq!(asked.get(), 200);
    }
}
