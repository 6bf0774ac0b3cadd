//! The table of the agent's metrics: what `/metrics` shows, `docs/metrics.md` explains and alert rules may name.

use crate::metrics::{Family, PROCESS};

macro_rules! families {
    ($($name:ident = $family:expr;)*) => {
        $(pub(super) static $name: Family = $family;)*

        /// The agent's own, in the order of the page.
        static OWN: &[&Family] = &[$(&$name),*];
    };
}

families! {
    BUILD = Family::info("rodent_build_info", &["version"], "The version that runs.");
    READY = Family::gauge("rodent_ready", &[], "1 when the agent takes events, as /readyz says.");
    PART_RESTARTS = Family::counter("rodent_part_restarts_total", &["part"], "Times that a part of the agent started again after it had ended by a fault.");
    CONDITION = Family::gauge("rodent_condition", &["part", "id", "level"], "1 for each thing that is not as it should be, as rodent status tells it; no sample for what is.");
    PROBLEM = Family::gauge("rodent_problem", &["state", "subject", "level", "acknowledged"], "1 for each thing of the machine that is wrong, as rodent problems tells it; the worst 200.");
    PROBLEMS = Family::gauge("rodent_problems", &["level"], "Things of the machine that are wrong, all of them.");
    CLOCK = Family::gauge("rodent_clock_synchronised", &[], "1 when something keeps the clock of the machine in step.");
    CONFIG_SUCCESSFUL = Family::gauge("rodent_config_last_reload_successful", &[], "0 when the configuration was read again and refused; what was in force goes on.");
    CONFIG_APPLIED = Family::gauge("rodent_config_last_reload_success_timestamp_seconds", &[], "When the configuration was read that is in force, Unix time.");
    CONFIG_WAITING = Family::gauge("rodent_config_restart_needed_keys", &[], "Keys whose new values wait for a restart.");
    JOURNAL_LINES = Family::counter("rodent_journal_missing_lines_total", &[], "Lines of the agent that the journal, or else standard error, did not take.");

    ACCEPTED = Family::counter("rodent_pipeline_accepted_events_total", &["category", "level"], "Events that were taken into the log.");
    PUBLISHED = Family::counter("rodent_pipeline_published_events_total", &["kind"], "Events that were taken into the log, by kind; a kind of which there was none since the start has no sample.");
    FILTERED = Family::counter("rodent_pipeline_filtered_events_total", &["category"], "Events that the configured levels and categories left out.");
    REFUSED = Family::counter("rodent_pipeline_refused_emissions_total", &[], "Emissions that held no acceptable event: too long, without a payload, not to be read.");

    STORED_EVENTS = Family::gauge("rodent_log_stored_events", &["lane"], "Events in the log, those that the controller has among them.");
    STORED_BYTES = Family::gauge("rodent_log_stored_bytes", &["lane"], "Bytes that they take, compressed.");
    GENERATIONS = Family::gauge("rodent_log_generations", &["lane"], "Generations that they are kept in.");
    WAITING_EVENTS = Family::gauge("rodent_log_waiting_events", &["lane"], "Accepted events that would be lost if the power failed now.");
    WAITING_BYTES = Family::gauge("rodent_log_waiting_bytes", &["lane"], "Bytes of them.");
    WAITING_SECONDS = Family::gauge("rodent_log_waiting_seconds", &["lane"], "For how long the oldest of them has waited for the disk.");
    LOST_EVENTS = Family::counter("rodent_log_lost_events_total", &["lane", "cause"], "Events that were lost before every consumer had them, where it is known how many.");
    LOSSES = Family::counter("rodent_log_losses_total", &["lane", "cause"], "Loss records that were made, also where nobody knows of how many events.");
    DEGRADED = Family::gauge("rodent_log_degraded", &[], "1 when accepted events are not made durable, or the disk does not answer.");
    DISK_BYTES = Family::gauge("rodent_log_disk_bytes", &[], "What the log takes on the disk.");
    DISK_LIMIT = Family::gauge("rodent_log_disk_limit_bytes", &[], "What it may take: max_disk.");
    BALLAST = Family::gauge("rodent_log_ballast_bytes", &[], "Set aside within it, and given up when the disk is full.");
    QUARANTINED = Family::gauge("rodent_log_quarantined_bytes", &[], "Damaged parts of the log that were put aside.");
    COMMIT_SECONDS = Family::histogram("rodent_log_commit_seconds", &[], "How long the disk took to make a group of events durable.");
    WRITER_SECONDS = Family::gauge("rodent_log_writer_stalled_seconds", &[], "For how long the disk has kept the log's writer waiting; 0 below half a minute.");
    LAG_EVENTS = Family::gauge("rodent_log_cursor_lag_events", &["cursor", "lane"], "Stored events that a consumer has yet to take.");
    LAG_SECONDS = Family::gauge("rodent_log_cursor_lag_seconds", &["cursor", "lane"], "Age of the oldest of them; 0 when there is none.");

    CONSUMER_STATE = Family::gauge("rodent_consumer_state", &["consumer", "state"], "1 for the state of a consumer of the log, the uplink, a sink or a program's: off, connecting, connected, waiting, held, unattached, paused.");
    DELIVERED_EVENTS = Family::counter("rodent_consumer_delivered_events_total", &["consumer", "lane"], "Events that were taken.");
    DELIVERED_BATCHES = Family::counter("rodent_consumer_delivered_batches_total", &["consumer", "lane"], "Batches that were taken.");
    SENT_BATCHES = Family::counter("rodent_consumer_sent_batches_total", &["consumer", "lane"], "Batches that were sent, one that was sent again once more.");
    SENT_BYTES = Family::counter("rodent_consumer_sent_bytes_total", &["consumer", "lane"], "Bytes of them, compressed.");
    FAILED_BATCHES = Family::counter("rodent_consumer_failed_batches_total", &["consumer", "lane"], "Batches that were sent and not taken, or could not be put together.");
    REFUSED_EVENTS = Family::counter("rodent_consumer_refused_events_total", &["consumer", "lane"], "Events that were refused and became dead letters.");
    FAILED_ATTEMPTS = Family::counter("rodent_consumer_failed_attempts_total", &["consumer", "reason"], "Attempts to connect or deliver that did not succeed.");
    RETRIED_BATCHES = Family::counter("rodent_consumer_retried_batches_total", &["consumer"], "Batches that were sent again.");
    DELIVERY_SECONDS = Family::histogram("rodent_consumer_delivery_seconds", &["consumer"], "How long it took from sending a batch until it was taken or not.");
    IN_FLIGHT = Family::gauge("rodent_consumer_in_flight_batches", &["consumer", "lane"], "Batches that are on their way.");
    WINDOW = Family::gauge("rodent_consumer_window_batches", &["consumer"], "Batches of a lane that may be on their way at once; 0 without a connection.");
    BACKOFF = Family::gauge("rodent_consumer_backoff_seconds", &["consumer"], "Time until the next attempt; 0 when none is waited for.");
    ACKNOWLEDGED = Family::gauge("rodent_consumer_last_acknowledgement_timestamp_seconds", &["consumer", "lane"], "When a batch was last taken, Unix time; 0 when it has not since the start.");
    TOKEN_END = Family::gauge("rodent_uplink_token_expiry_timestamp_seconds", &[], "When the node's token expires, Unix time; absent when it does not say.");
    CERTIFICATE_END = Family::gauge("rodent_uplink_certificate_expiry_timestamp_seconds", &[], "When the node's own certificate expires, Unix time; absent when it has none.");
    DEAD_LETTERS = Family::gauge("rodent_dead_letters", &["consumer"], "Events that a consumer refuses, kept until somebody decides.");
    DEAD_LETTERS_BYTES = Family::gauge("rodent_dead_letters_bytes", &["consumer"], "What they take on the disk.");

    COLLECTOR_STATE = Family::gauge("rodent_collector_state", &["collector", "state"], "1 for the state of a collector: running, absent, failed, off.");
    COLLECTOR_RESTARTS = Family::counter("rodent_collector_restarts_total", &["collector"], "Times that a collector started again after it had failed.");
    COLLECTOR_EVENTS = Family::counter("rodent_collector_emitted_events_total", &["collector"], "Events of a collector that were taken into the log.");

    SOCKET_CONNECTIONS = Family::gauge("rodent_socket_connections", &[], "Open connections of programs on this machine.");
    SOCKET_ACCEPTED = Family::counter("rodent_socket_accepted_connections_total", &[], "Connections of programs on this machine.");
    SOCKET_CALLS = Family::counter("rodent_socket_calls_total", &[], "Calls of programs on this machine.");
    SOCKET_REFUSED = Family::counter("rodent_socket_refused_calls_total", &[], "Calls of those who may not use the socket.");
}

/// Every metric of the agent.
pub fn families() -> impl Iterator<Item = &'static Family> {
    OWN.iter().copied().chain(PROCESS)
}
