//! The Python processes: how they start, what is said to them, and how they end.
//!
//! [`Zygote::start`] runs a Python interpreter that imports the app and reports what it found. [`Zygote::fork`] gives a
//! [`Child`], which takes [`Job`]s and sends [`Message`]s; [`Zygote::service`] gives the [`Service`]. Whatever happens to
//! one of them comes by [`Events`]. Linux only: it takes descriptors of processes and of memory.

mod call;
mod child;
mod error;
mod find;
mod link;
pub mod marshal;
mod message;
mod package;
mod page;
mod process;
mod ready;
mod service;
mod zygote;

pub use call::{Body, Call, Job};
pub use child::{Cancel, Child};
pub use error::{HostError, StartError};
pub use find::find_python;
pub use message::{Answer, Bye, Message, State};
pub use page::Running;
pub use rustix::process::Signal;
pub use service::{About, Action, Lost, Service};
pub use zygote::{Event, Events, Started, Zygote};
