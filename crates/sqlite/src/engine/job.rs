use celeriac_broker::Error;
use tokio::sync::oneshot;

use crate::fault::Fault;
use crate::store::Tx;

/// Something to do inside a transaction. It may be run again, when the transaction that it was in fails.
pub(crate) trait Job: Send {
    /// # Errors
    /// When the database fails; a refusal is kept for the caller.
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), rusqlite::Error>;

    /// Tells the caller how it ended.
    fn finish(self: Box<Self>, committed: Result<(), Error>);
}

/// A closure with somebody who waits for its result.
pub(super) struct Call<T, F> {
    pub run: F,
    pub result: Option<Result<T, Error>>,
    pub reply: Option<oneshot::Sender<Result<T, Error>>>,
}

impl<T, F> Job for Call<T, F>
where
    T: Send,
    F: FnMut(&mut Tx<'_>) -> Result<T, Fault> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), rusqlite::Error> {
        self.result = Some(match (self.run)(tx) {
            Ok(value) => Ok(value),
            Err(Fault::Refused(error)) => Err(error),
            Err(Fault::Database(error)) => return Err(error),
        });
        Ok(())
    }

    fn finish(self: Box<Self>, committed: Result<(), Error>) {
        let Call { result, reply, .. } = *self;
        let result =
            committed.and_then(|()| result.unwrap_or_else(|| Err(Error::Lost("not run".to_owned()))));
        if let Some(reply) = reply {
            let _ = reply.send(result);
        }
    }
}
