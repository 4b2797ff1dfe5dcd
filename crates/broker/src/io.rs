//! The runtime that serves all connections of one kind in a process.

use std::future::Future;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle};

use crate::Error;

/// A runtime of a thread of its own, or the program's, for a transport to keep in a `static`: what holds up the program's own
/// threads holds up no connection. It is made when it is first needed.
#[derive(Debug)]
pub struct Io {
    name: &'static str,
    stack: Option<usize>,
    handle: OnceLock<Result<Handle, String>>,
}

impl Io {
    /// For a thread of this name, with a stack of so many bytes, or the usual one.
    pub const fn new(name: &'static str, stack: Option<usize>) -> Self {
        Io { name, stack, handle: OnceLock::new() }
    }

    /// Has the current runtime do it, unless something does already. What was open when it ends is lost.
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn serve_here(&self) {
        let _ = self.handle.set(Ok(Handle::current()));
    }

    /// What futures are spawned on.
    ///
    /// # Errors
    /// [`Error::Lost`] when the system gives no thread.
    pub fn handle(&self) -> Result<&Handle, Error> {
        let handle = self.handle.get_or_init(|| self.start()).as_ref();
        handle.map_err(|reason| Error::Lost(format!("no thread {}: {reason}", self.name)))
    }

    /// Runs a future there and waits for it. It goes on when the caller stops waiting. A panic in it spreads no further.
    ///
    /// # Errors
    /// The future's, and [`Error::Lost`] when it panicked or there is no thread.
    pub async fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.handle()?.spawn(future).await.unwrap_or_else(|error| Err(Error::Lost(error.to_string())))
    }

    fn start(&self) -> Result<Handle, String> {
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        let handle = runtime.handle().clone();
        let thread = std::thread::Builder::new().name(self.name.to_owned());
        let thread = match self.stack {
            Some(bytes) => thread.stack_size(bytes),
            None => thread,
        };
        let served = thread.spawn(move || runtime.block_on(std::future::pending::<()>()));
        served.map(|_| handle).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_is_done_by_one_thread_that_outlives_a_panic() {
        static IO: Io = Io::new("served", Some(1 << 20));
        let name = || async { Ok(std::thread::current().name().map(str::to_owned)) };
        assert_eq!(IO.run(name()).await.unwrap().as_deref(), Some("served"));
        let panicked: Result<(), _> = IO.run(async { panic!("in the library") }).await;
        assert!(matches!(panicked, Err(Error::Lost(_))), "{panicked:?}");
        assert_eq!(IO.run(name()).await.unwrap().as_deref(), Some("served"));
    }

    #[tokio::test]
    async fn the_program_s_own_runtime_may_do_it() {
        static IO: Io = Io::new("nobody", None);
        IO.serve_here();
        let own = std::thread::current().id();
        assert_eq!(IO.run(async { Ok(std::thread::current().id()) }).await.unwrap(), own);
    }
}
