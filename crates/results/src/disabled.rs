use async_trait::async_trait;
use celeriac_protocol::TaskMeta;

use crate::{Error, ReplyTo, ResultStore};

/// No store: results are dropped, and asking for one is an error (`celery/backends/base.py`, `DisabledBackend`).
#[derive(Debug, Clone, Copy, Default)]
pub struct DisabledStore;

#[async_trait]
impl ResultStore for DisabledStore {
    fn name(&self) -> &'static str {
        "disabled"
    }

    fn display_url(&self) -> String {
        "disabled://".to_owned()
    }

    async fn store(&self, _meta: &TaskMeta, _reply_to: Option<&ReplyTo>) -> Result<(), Error> {
        Ok(())
    }

    async fn expect(&self, _id: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn fetch(&self, _id: &str) -> Result<TaskMeta, Error> {
        Err(Error::Disabled)
    }

    async fn wait(&self, _id: &str) -> Result<TaskMeta, Error> {
        Err(Error::Disabled)
    }

    async fn forget(&self, _id: &str) -> Result<(), Error> {
        Err(Error::Disabled)
    }

    fn reply_to(&self) -> Option<String> {
        None
    }

    async fn close(&self) {}
}
