//! The worker of celeriac: steps, requests, executors, shutdown.
