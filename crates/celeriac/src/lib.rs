//! The Celery worker, rewritten in Rust: tasks, a client and a worker for Rust programs.
