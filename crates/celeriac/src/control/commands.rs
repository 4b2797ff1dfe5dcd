//! Celery's commands that change something, under Celery's names.

use std::time::Duration;

use celeriac_broker::{Connection, Error};
use celeriac_protocol::{Map, Value};

use super::{Control, Reply};
use crate::ControlError;

type Replies = Result<Vec<Reply>, ControlError>;

/// Celery's name for the signal that ends a process politely (`billiard.common.TERM_SIGNAME`).
const TERM: &str = "SIGTERM";

/// How [`Control::add_consumer`] has workers declare the queue; what is `None` follows from the queue's name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AddConsumer {
    /// The exchange.
    pub exchange: Option<String>,
    /// Its type, `direct` by default.
    pub exchange_type: Option<String>,
    /// The routing key.
    pub routing_key: Option<String>,
    /// What kombu's `Queue.from_dict` takes besides.
    pub options: Map,
}

/// Each sends a command, and has the replies if they are wanted; see [`Control::broadcast`] for errors.
#[allow(clippy::missing_errors_doc, reason = "the line above")]
impl Control {
    /// Has workers skip these tasks when they come to them; those that run go on.
    pub async fn revoke(&self, ids: impl IntoIterator<Item = impl Into<String>>) -> Replies {
        self.revoke_with(ids, false, TERM).await
    }

    /// The same, and ends those that run.
    ///
    /// A Python worker sends the signal, such as `SIGTERM` or `SIGKILL`, to the task's process. A worker of ours
    /// drops an async task at its next await. It cannot stop a blocking one: that is told as revoked and its slot is
    /// free, but its thread runs on until the code returns. The signal is only reported.
    pub async fn terminate(&self, ids: impl IntoIterator<Item = impl Into<String>>, signal: &str) -> Replies {
        self.revoke_with(ids, true, signal).await
    }

    /// Has workers skip tasks with any of these stamps: `{"header": [stamp, ...]}`. With a signal, those that run
    /// are ended as by [`terminate`](Self::terminate).
    pub async fn revoke_by_stamped_headers(&self, headers: Map, terminate: Option<&str>) -> Replies {
        let arguments = [
            ("headers", headers.into()),
            ("terminate", terminate.is_some().into()),
            ("signal", terminate.unwrap_or(TERM).into()),
        ];
        self.call("revoke_by_stamped_headers", arguments).await
    }

    /// Limits how often a task may start: a number a second, or a text such as `100/m`; 0 for no limit.
    pub async fn rate_limit(&self, task: &str, rate_limit: impl Into<Value>) -> Replies {
        let arguments = [("task_name", task.into()), ("rate_limit", rate_limit.into())];
        self.call("rate_limit", arguments).await
    }

    /// Sets a task's time limits; `None` is no limit.
    pub async fn time_limit(&self, task: &str, soft: Option<Duration>, hard: Option<Duration>) -> Replies {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64()).into();
        let arguments = [("task_name", task.into()), ("hard", seconds(hard)), ("soft", seconds(soft))];
        self.call("time_limit", arguments).await
    }

    /// Has workers consume from one more queue.
    pub async fn add_consumer(&self, queue: &str, consumer: AddConsumer) -> Replies {
        let AddConsumer { exchange, exchange_type, routing_key, options } = consumer;
        let arguments: [(&'static str, Value); 4] = [
            ("queue", queue.into()),
            ("exchange", exchange.into()),
            ("exchange_type", exchange_type.unwrap_or_else(|| "direct".to_owned()).into()),
            ("routing_key", routing_key.into()),
        ];
        let arguments = arguments.map(|(name, value)| (name.into(), value)).into_iter().chain(options);
        self.broadcast("add_consumer", arguments.collect()).await
    }

    /// Has workers consume no longer from a queue.
    pub async fn cancel_consumer(&self, queue: &str) -> Replies {
        self.call("cancel_consumer", [("queue", queue.into())]).await
    }

    /// Has workers run `n` more tasks at a time.
    pub async fn pool_grow(&self, n: u32) -> Replies {
        self.call("pool_grow", [("n", n.into())]).await
    }

    /// Has workers run `n` fewer tasks at a time.
    pub async fn pool_shrink(&self, n: u32) -> Replies {
        self.call("pool_shrink", [("n", n.into())]).await
    }

    /// Restarts the pools; Python workers may load modules again, if `worker_pool_restarts` lets them.
    pub async fn pool_restart(&self, modules: Option<Vec<String>>, reload: bool) -> Replies {
        let modules = modules.map(texts);
        let arguments = [("modules", modules.into()), ("reload", reload.into()), ("reloader", Value::Null)];
        self.call("pool_restart", arguments).await
    }

    /// Changes the bounds of autoscaling.
    pub async fn autoscale(&self, max: u32, min: u32) -> Replies {
        self.call("autoscale", [("max", max.into()), ("min", min.into())]).await
    }

    /// Has workers send events of tasks.
    pub async fn enable_events(&self) -> Replies {
        self.call("enable_events", []).await
    }

    /// Has workers send no more events of tasks.
    pub async fn disable_events(&self) -> Replies {
        self.call("disable_events", []).await
    }

    /// Has workers send a heartbeat now.
    pub async fn heartbeat(&self) -> Replies {
        self.call("heartbeat", []).await
    }

    /// Holds an election among the workers, one of which runs the action. All are meant, and nobody answers.
    pub async fn election(&self, id: &str, topic: &str, action: Option<Value>) -> Result<(), ControlError> {
        let everybody = Control::new(self.app.clone()).timeout(self.options.timeout);
        let arguments = [("id", id.into()), ("topic", topic.into()), ("action", action.into())];
        everybody.call("election", arguments).await.map(drop)
    }

    /// Ends workers, warmly. One that ends does not answer.
    pub async fn shutdown(&self) -> Replies {
        self.call("shutdown", []).await
    }

    /// Asks for a sign of life, and waits for it.
    pub async fn ping(&self) -> Replies {
        self.clone().reply().call("ping", []).await
    }

    /// Deletes what waits in the queues that the app consumes, by the broker alone, and says how much it was.
    pub async fn purge(&self) -> Result<u64, ControlError> {
        let connection = self.app.producer().line().connection().await?;
        let purged = purge(&*connection, self.app.settings().consumed()).await;
        self.app.producer().line().notice(&connection, &purged).await;
        Ok(purged?)
    }

    async fn revoke_with(
        &self,
        ids: impl IntoIterator<Item = impl Into<String>>,
        terminate: bool,
        signal: &str,
    ) -> Replies {
        let arguments =
            [("task_id", texts(ids).into()), ("terminate", terminate.into()), ("signal", signal.into())];
        self.call("revoke", arguments).await
    }

    async fn call<const N: usize>(&self, method: &str, arguments: [(&'static str, Value); N]) -> Replies {
        self.broadcast(method, arguments.into_iter().collect()).await
    }
}

pub(super) fn texts(items: impl IntoIterator<Item = impl Into<String>>) -> Vec<Value> {
    items.into_iter().map(|item| Value::String(item.into())).collect()
}

/// Deletes what waits in the queues, and says how much it was; a queue that does not exist has nothing.
pub async fn purge(
    connection: &dyn Connection,
    queues: impl IntoIterator<Item = impl AsRef<str>>,
) -> Result<u64, Error> {
    let mut count = 0;
    for queue in queues {
        count += match connection.purge(queue.as_ref()).await {
            Err(Error::NotFound(_)) => 0,
            purged => purged?,
        };
    }
    Ok(count)
}
