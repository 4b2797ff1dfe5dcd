//! Every setting of Celery 5.6.2 and 5.7.0 (`celery/app/defaults.py`) and who honours it. `docs/settings.md` is made from it.

use By::{App, Celeriac, Clients, Nobody};

/// Who honours a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The worker, in Rust.
    Celeriac,
    /// The app's own Celery, in the Python processes.
    App,
    /// Whoever sends tasks: clients, beat, and tasks that call others; it means nothing to a worker.
    Clients,
    /// It has no effect here.
    Nobody,
}

/// Settings that are alike.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Their names.
    pub names: &'static [&'static str],
    /// Who honours them.
    pub by: By,
    /// How, or why not.
    pub how: &'static str,
}

const fn row(by: By, names: &'static [&'static str], how: &'static str) -> Row {
    Row { names, by, how }
}

/// All of them.
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    row(Celeriac, &["accept_content"], "what is not accepted is refused before it is read"),
    row(App, &["result_accept_content", "enable_utc", "timezone", "imports", "include"], ""),

    row(Celeriac, &["broker_url", "broker_read_url", "broker_write_url", "broker_transport", "broker_host",
                    "broker_port", "broker_user", "broker_password", "broker_vhost"],
        "RabbitMQ, Redis, SQLite files and memory; tasks publish by the app's own Celery"),
    row(Celeriac, &["broker_use_ssl"], "TLS 1.2 and newer; the host's name is always verified, unless nothing is"),
    row(Celeriac, &["broker_heartbeat", "broker_connection_timeout", "broker_connection_retry_on_startup",
                    "broker_connection_max_retries", "worker_cancel_long_running_tasks_on_connection_loss"], ""),
    row(Nobody, &["broker_connection_retry", "broker_channel_error_retry"],
        "a broker that is lost is always sought again, as long as `broker_connection_max_retries` allows; \
         the first is the default of `broker_connection_retry_on_startup`"),
    row(Nobody, &["broker_heartbeat_checkrate"], "heartbeats are answered as they come; tasks run in other processes"),
    row(Nobody, &["broker_failover_strategy"], "several URLs are tried in their order"),
    row(Celeriac, &["broker_login_method"], "PLAIN, AMQPLAIN and EXTERNAL"),
    row(Celeriac, &["broker_transport_options"], "on Redis, see redis.md; tasks publish by the app's own Celery, with all of them"),
    row(App, &["broker_pool_limit", "broker_pool_acquire_timeout"], "the worker itself has one connection that consumes and one that publishes"),
    row(Nobody, &["broker_native_delayed_delivery_queue_type"],
        "tasks that wait for their time wait in the worker, which raises its prefetch count for them"),

    row(Celeriac, &["control_exchange", "control_queue_ttl", "control_queue_expires", "control_queue_exclusive",
                    "control_queue_durable", "worker_enable_remote_control"], ""),
    row(Celeriac, &["event_exchange", "event_queue_prefix", "event_queue_ttl", "event_queue_expires",
                    "event_queue_exclusive", "event_queue_durable", "event_serializer",
                    "worker_send_task_events"], ""),

    row(App, &["result_backend", "result_backend_transport_options", "result_cache_max", "result_compression",
               "result_exchange", "result_exchange_type", "result_expires", "result_persistent",
               "result_serializer", "result_chord_retry_interval", "result_chord_join_timeout",
               "result_backend_max_sleep_between_retries_ms", "result_backend_max_retries",
               "result_backend_base_sleep_between_retries_ms", "result_backend_always_retry", "result_extended",
               "result_chord_expires", "result_failure_expires"],
        "every result backend that Celery has"),
    row(App, &["cache_backend", "cache_backend_options"], ""),
    row(App, &["cassandra_entry_ttl", "cassandra_keyspace", "cassandra_port", "cassandra_read_consistency",
               "cassandra_servers", "cassandra_bundle_path", "cassandra_table", "cassandra_write_consistency",
               "cassandra_auth_provider", "cassandra_auth_kwargs", "cassandra_options"], ""),
    row(App, &["s3_access_key_id", "s3_secret_access_key", "s3_bucket", "s3_base_path", "s3_endpoint_url",
               "s3_region"], ""),
    row(App, &["azureblockblob_container_name", "azureblockblob_retry_initial_backoff_sec",
               "azureblockblob_retry_increment_base", "azureblockblob_retry_max_attempts",
               "azureblockblob_base_path", "azureblockblob_connection_timeout",
               "azureblockblob_read_timeout"], ""),
    row(App, &["gcs_bucket", "gcs_project", "gcs_base_path", "gcs_ttl"], ""),
    row(App, &["couchbase_backend_settings", "arangodb_backend_settings", "mongodb_backend_settings"], ""),
    row(App, &["cosmosdbsql_database_name", "cosmosdbsql_collection_name", "cosmosdbsql_consistency_level",
               "cosmosdbsql_max_retry_attempts", "cosmosdbsql_max_retry_wait_time"], ""),
    row(App, &["redis_backend_use_ssl", "redis_db", "redis_host", "redis_max_connections", "redis_username",
               "redis_password", "redis_port", "redis_socket_timeout", "redis_socket_connect_timeout",
               "redis_retry_on_timeout", "redis_socket_keepalive"], ""),
    row(App, &["elasticsearch_retry_on_timeout", "elasticsearch_max_retries", "elasticsearch_timeout",
               "elasticsearch_save_meta_as_text"], ""),
    row(App, &["database_url", "database_engine_options", "database_short_lived_sessions",
               "database_table_schemas", "database_table_names", "database_create_tables_at_setup",
               "database_engine_callback"], ""),
    row(App, &["security_certificate", "security_cert_store", "security_key", "security_key_password",
               "security_digest"], ""),

    row(Celeriac, &["task_acks_late", "task_acks_on_failure_or_timeout", "task_acks_on_failure",
                    "task_acks_on_timeout", "task_reject_on_worker_lost", "task_retry_on_worker_lost",
                    "task_time_limit", "task_soft_time_limit", "task_default_rate_limit"], ""),
    row(App, &["task_annotations", "task_ignore_result", "task_store_errors_even_if_ignored",
               "task_track_started", "task_remote_tracebacks", "task_allow_error_cb_on_chord_header",
               "task_inherit_parent_priority"], ""),
    row(Celeriac, &["task_queues", "task_default_queue", "task_default_exchange", "task_default_exchange_type",
                    "task_default_routing_key", "task_default_queue_type", "task_create_missing_queues",
                    "task_create_missing_queue_type", "task_create_missing_queue_exchange_type",
                    "task_queue_max_priority", "worker_direct"],
        "direct, topic and fanout exchanges; classic, quorum and stream queues"),
    row(Clients, &["task_always_eager", "task_eager_propagates", "task_store_eager_result", "task_compression",
                   "task_default_delivery_mode", "task_default_priority", "task_protocol", "task_publish_retry",
                   "task_publish_retry_policy", "task_routes", "task_send_sent_event", "task_repr_maxlevels"], ""),
    row(Celeriac, &["task_serializer"], "of remote control; of tasks it is the client's"),

    row(Celeriac, &["worker_pool_start_method"], "`spawn`: the pool `prefork` is the pool `spawn`"),
    row(Celeriac, &["worker_concurrency", "worker_pool", "worker_max_tasks_per_child",
                    "worker_max_memory_per_child", "worker_proc_alive_timeout", "worker_eta_task_limit",
                    "worker_disable_rate_limits", "worker_pool_restarts", "worker_soft_shutdown_timeout"], ""),
    row(Celeriac, &["worker_prefetch_multiplier"],
        "where it is not set, 16 short tasks are prefetched for each process of a pool of processes, see \
         [the host](host.md#prefetching)"),
    row(Celeriac, &["worker_log_format", "worker_log_color"],
        "in the worker's own lines too: `%` formats of the fields that Python's log records have; colours on terminals"),
    row(Celeriac, &["worker_log_datefmt"], "the worker's lines go through the app's logging then"),
    row(App, &["worker_task_log_format", "worker_task_log_datefmt", "worker_redirect_stdouts",
               "worker_redirect_stdouts_level"], ""),
    row(Celeriac, &["worker_hijack_root_logger"],
        "where the app's own logging stays, the worker's lines go through it, too"),
    row(Celeriac, &["worker_state_db"], "a file of celeriac's own, which is written at each change"),
    row(Nobody, &["worker_agent", "worker_autoscaler", "worker_consumer"],
        "classes for Celery's own worker; another than the default is told at the start"),
    row(Nobody, &["worker_timer", "worker_timer_precision", "worker_pool_putlocks"],
        "parts of Celery's own worker that have no counterpart"),
    row(Nobody, &["worker_lost_wait"], "a process that ends is noticed at once, by the system"),
    row(Celeriac, &["worker_disable_prefetch"], "for Redis, as in Celery"),
    row(Nobody, &["worker_enable_prefetch_count_reduction"],
        "the prefetch count is not reduced after a lost connection"),
    row(Nobody, &["worker_detect_quorum_queues"], "a quorum queue always has a prefetch count of its own"),
    row(Nobody, &["worker_enable_soft_shutdown_on_idle"], "an idle worker ends at once"),
    row(App, &["worker_deduplicate_successful_tasks"], ""),

    row(Clients, &["beat_max_loop_interval", "beat_schedule", "beat_scheduler", "beat_schedule_filename",
                   "beat_sync_every", "beat_cron_starting_deadline", "beat_enable_remote_control",
                   "beat_remote_control_max_tick_age"],
        "the app's own beat, by `-B` in a process of the worker's, or by `celeriac beat`"),
];

/// Those that are new in Celery 5.7.
pub const NEW_IN_5_7: &[&str] = &[
    "beat_enable_remote_control",
    "beat_remote_control_max_tick_age",
    "broker_pool_acquire_timeout",
    "database_engine_callback",
    "result_chord_expires",
    "result_failure_expires",
    "task_acks_on_failure",
    "task_acks_on_timeout",
    "task_repr_maxlevels",
    "task_retry_on_worker_lost",
    "worker_log_datefmt",
    "worker_pool_start_method",
    "worker_task_log_datefmt",
];

/// The page of them, for `docs/settings.md`.
pub fn page() -> String {
    let mut page = "\
# Celery's settings

`celeriac -A proj worker` takes its settings from `app.conf`, as Celery does, with the names of Celery 5.6.2 and
5.7.0. Each is honoured by one of these:

- **celeriac**: the worker itself, in Rust;
- **the app**: the app's own Celery, in the Python processes that run its tasks;
- **clients**: whoever sends tasks, which a task may do too; it says nothing of a worker;
- **nobody**: it has no effect here.

| settings | honoured by | |
|---|---|---|
"
    .to_owned();
    for Row { names, by, how } in TABLE {
        let by = match by {
            Celeriac => "celeriac",
            App => "the app",
            Clients => "clients",
            Nobody => "nobody",
        };
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        page += &format!("| {} | {by} | {how} |\n", names.join(", "));
    }
    let newer: Vec<_> = NEW_IN_5_7.iter().map(|name| format!("`{name}`")).collect();
    page + &format!("\nNew in Celery 5.7: {}.\n", newer.join(", "))
}
