//! How the database thread sleeps: until this process asks something of it, or another one writes to the file.
//!
//! On Linux that is one `poll` on an eventfd and on inotify of the write-ahead log, to which every commit is
//! appended: an idle thread costs nothing, and foreign messages are seen at once. Elsewhere it looks at the file's
//! version every 5 to 250 ms, and only while somebody waits for messages.

#[cfg(target_os = "linux")]
mod inotify;
#[cfg(any(not(target_os = "linux"), test))]
mod polling;

#[cfg(target_os = "linux")]
pub(crate) use inotify::{Bell, Ear};
#[cfg(not(target_os = "linux"))]
pub(crate) use polling::{Bell, Ear};

#[cfg(test)]
mod tests;
