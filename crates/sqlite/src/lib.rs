//! The embedded broker of celeriac: one SQLite file, no server.
