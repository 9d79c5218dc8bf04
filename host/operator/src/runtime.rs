//! What a controller needs around its work: queues, pauses, the lease, health, HTTP, metrics, Events, the API server's errors.
//!
//! Knows no Task's rules: nothing here decides what becomes of an object, and nothing here imports another folder.

pub(crate) mod answer_limit;
pub(crate) mod api_error;
pub(crate) mod backoff;
pub(crate) mod cluster_domain;
pub(crate) mod config_maps;
pub(crate) mod connection;
pub(crate) mod event_recorder;
pub(crate) mod health;
pub(crate) mod http;
pub(crate) mod keyed_queue;
pub(crate) mod lease;
pub(crate) mod list_watch;
mod merged_watch;
pub(crate) mod metrics;
pub(crate) mod shared_reads;
pub(crate) mod side_by_side;
#[cfg(test)]
pub(crate) mod test_client;
