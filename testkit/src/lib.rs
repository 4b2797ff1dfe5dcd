//! Starts real brokers and Python Celery for the tests of celeriac.
