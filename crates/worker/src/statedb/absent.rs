//! Built without the feature `statedb`.

use crate::consumer::Consumer;
use crate::error::WorkerError;

/// There is none.
pub(crate) enum StateDb {}

impl StateDb {
    pub(crate) async fn open(consumer: &Consumer) -> Result<Option<Self>, WorkerError> {
        match &consumer.settings.statedb {
            None => Ok(None),
            Some(path) => Err(WorkerError::StateDb {
                path: path.clone(),
                reason: "this program was built without the feature `statedb`".to_owned(),
            }),
        }
    }

    pub(crate) async fn close(self) {}
}
