//! Starts real brokers and Python Celery for the tests of celeriac.
//!
//! Every server listens on a private port of 127.0.0.1, keeps its files in a temporary folder, and dies with the
//! process that started it, even when that is killed. Linux only: `setpriv` of util-linux ties the lives together.
//!
//! The calls block and panic with a full message when they cannot do their work: a test has no better answer.

mod amqp;
mod artifact;
mod celery;
mod flower;
mod management;
mod marked;
mod metrics;
mod poll;
mod port;
mod process;
mod python;
mod rabbitmq;
mod redis;
mod redis_cluster;
mod sentinels;
mod shared;
mod temp;
mod tls;

pub use amqp::{AmqpProbe, Field, TaskMessage};
pub use artifact::{BUILT, cargo, cargo_bin, example_bin, workspace_root};
pub use celery::{CeleryWorker, PYAPP};
pub use flower::Flower;
pub use management::{Queue, Vhost};
pub use marked::Marked;
pub use metrics::Totals;
pub use poll::eventually;
pub use port::free_port;
pub use process::{Process, Signal};
pub use python::Python;
pub use rabbitmq::RabbitMq;
pub use redis::Redis;
pub use redis_cluster::RedisCluster;
pub use sentinels::Sentinels;
pub use shared::{AMQP_MANAGEMENT, AMQP_URL, REDIS_URL, rabbitmq, redis, redis_cluster};
pub use temp::TempDir;
pub use tls::Tls;
