//! What a program adds to its workers: steps, commands of remote control, and what is called when other workers come
//! and go.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use celeriac::worker::{Arguments, BrokerError, Consumer, Step, async_trait};
//! use celeriac::{App, Map, Value};
//!
//! /// Says that it runs, beside everything else.
//! struct Greeter;
//!
//! #[async_trait]
//! impl Step for Greeter {
//!     fn label(&self) -> &'static str {
//!         "Greeter"
//!     }
//!
//!     fn requires(&self) -> &'static [&'static str] {
//!         &["Events"]
//!     }
//!
//!     async fn start(&mut self, consumer: &Arc<Consumer>) -> Result<(), BrokerError> {
//!         let fields = Map::from_iter([("text", Value::from("hello"))]);
//!         consumer.events().send("custom-greeting", fields);
//!         Ok(())
//!     }
//!
//!     async fn stop(&mut self) {}
//! }
//!
//! let app = App::builder("hello").worker(|worker| {
//!     worker
//!         .step(Greeter)
//!         .on_node_join(|member| println!("{} is there", member.hostname))
//!         .control_command("sum", |_consumer: Arc<Consumer>, mut arguments: Arguments| async move {
//!             let terms = [arguments.take("x"), arguments.take("y")];
//!             Ok(Value::from(terms.iter().filter_map(Value::as_i64).sum::<i64>()))
//!         })
//! });
//! ```

pub use async_trait::async_trait;
pub use celeriac_broker::Error as BrokerError;
pub use celeriac_cluster::state::Worker as Member;
pub use celeriac_worker::control::{Arguments, CommandError, Handler};
pub use celeriac_worker::{Cluster, Consumer, Counters, Dispatcher, GraphError, Include, Step};
