//! What a program sees of celeriac.

mod client;
mod tasks;
mod ui;
