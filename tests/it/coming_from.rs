//! `docs/coming-from.md` maps the keys and handlers of other event systems to Rodent's: every name on Rodent's side is there, and every
//! key of theirs has its row. That its configurations are valid is shown with those of all pages, in `config::documents`; here, that
//! they do what the row says.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use rodent::{
    agent::{
        self,
        config::{Config, reference},
    },
    event::Catalogue,
};

const PAGE: &str = include_str!("../../docs/coming-from.md");

/// Keys, variables, handlers and metrics of the other systems, as their documents name them.
const THEIRS: &[&str] = &[
    // Callbacks.
    "RegisterEventHandler",
    "EventHandler",
    "HandleEvent",
    "EventHandlerFunc",
    "UnregisterAllEventHandlers",
    "DatabaseEventLogger",
    "MetricsCollector",
    "WebhookNotifier",
    "UIStateManager",
    "NewAlertManager",
    "NewRVMonitor",
    "NewManufacturingIntegration",
    "MockEventHandler",
    "Type",
    "Timestamp",
    "GUID",
    "ProtocolVersion",
    "MessageType",
    "Error",
    "CertErrorCode",
    "CertErrorMsg",
    "Data",
    // The ledger bridge.
    "events.enabled",
    "events.max_retries",
    "events.retry_delay",
    "events.queue_size",
    "events.endpoints",
    "event_type",
    "timestamp",
    "data",
    "webhook_receiver.py",
    "monitoring_receiver.js",
    // The first Rodent.
    "events.profile",
    "events.buffer_size",
    "events.flush_threshold",
    "events.batch_size",
    "events.batch_timeout",
    "EmitSystemStartup",
    "EmitSystemShutdown",
    "EmitSystemConfigChange",
    "EmitSystemUser",
    "EmitStoragePool",
    "EmitStorageDataset",
    "EmitStorageTransfer",
    "EmitServiceStatus",
    "EmitNetworkInterface",
    "EmitNetworkConnection",
    "EmitSecurityAuth",
    "EmitSecurityKey",
    "EmitSecurityCertificate",
    "EmitIdentityUser",
    "EmitIdentityGroup",
    "EmitIdentityComputer",
    "EmitAccessACL",
    "EmitAccessPermission",
    "EmitSharingShare",
    "EmitSharingConnection",
    "EmitSharingFileAccess",
    "events.IsInitialized",
    "events.GetStats",
    "SendBatchStructured",
    // The mail server.
    "events.workers",
    "events.audit.enabled",
    "events.audit.retention_days",
    "events.webhooks.enabled",
    "events.webhooks.timeout",
    "events.webhooks.max_retries",
    "events.webhooks.retry_delays",
    "Bus.Subscribe",
    "Bus.Unsubscribe",
    "Bus.Publish",
    "Bus.PublishSync",
    "Bus.Start",
    "Bus.Stop",
    "Subscriber",
    "WebhookDispatcher",
    "WebhookStore",
    "AuditLogger",
    "X-ESP-Event",
    "X-ESP-Delivery",
    "X-ESP-Signature",
    "esp_messages_received_total",
    "esp_messages_sent_total",
    "esp_messages_bounced_total",
    "esp_user_logins_total{protocol, success}",
    // The events package.
    "events.bus.type",
    "events.bus.buffer_size",
    "events.bus.workers",
    "events.store.type",
    "events.store.snapshot_frequency",
    "events.store.retention_days",
    "events.processing.batch_size",
    "events.processing.timeout",
    "events.processing.retry.max_attempts",
    "events.processing.retry.backoff",
    "events.subscriptions",
    "handlers",
    "websocket_broadcast",
    "audit_logger",
    "task_processor",
    "metrics_collector",
    "EVENT_BUS_TYPE",
    "EVENT_BUS_BUFFER_SIZE",
    "EVENT_BUS_WORKERS",
    "REDIS_ADDR",
    "REDIS_EVENT_CHANNEL_PREFIX",
    "EVENT_STORE_TYPE",
    "EVENT_STORE_SNAPSHOT_FREQUENCY",
    "EVENT_STORE_RETENTION_DAYS",
    "EVENT_PROCESSING_BATCH_SIZE",
    "EVENT_PROCESSING_TIMEOUT",
    "mcp_events_published_total{event_type}",
    "mcp_events_processed_total{event_type, handler, status}",
    "mcp_event_processing_duration_seconds",
    "mcp_event_queue_depth{queue_name}",
    "HybridEventBus",
    "EventStore.Append",
    "EventStore.Query",
    "Saga",
    "CollaborationProcessManager",
    "SetupEventChoreography",
    "WebSocketEventBridge",
    "TracedEventHandler",
];

/// What every event has, as JSON names it.
const OF_EVENTS: [&str; 6] = ["id", "kind", "timestamp", "level", "payload", "metadata"];

/// The cells of each row of each table.
fn rows() -> Vec<[String; 3]> {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'));
    let cells = |row: &str| {
        let cells: Vec<_> = row.split(" | ").map(|cell| cell.trim().to_owned()).collect();
        <[String; 3]>::try_from(cells).unwrap_or_else(|cells| panic!("a row has three cells: {cells:?}"))
    };
    rows.map(cells).filter(|[there, ..]| there != "there").collect()
}

/// What stands in backticks.
fn names(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn links(cell: &str) -> Vec<&str> {
    cell.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

/// Every key of the configuration, as the page writes it.
fn keys() -> BTreeSet<String> {
    let of = |key: &str| key.replace("sinks.webhook.", "sinks.NAME.").replace("[0]", "[]");
    reference::keys().iter().map(|record| of(&record.key)).collect()
}

/// What is wrong with a command line, if anything.
fn command(words: &str) -> Result<(), String> {
    let mut rest = words.split(' ').skip(1).peekable();
    let mut command = rodent::cli::definition();
    command.build();
    while let Some(below) = rest.peek().and_then(|word| command.find_subcommand(word).cloned()) {
        command = below;
        rest.next();
    }
    if command.get_name() == "rodent" {
        return Err("no command".to_owned());
    }
    let takes_words = command.get_positionals().next().is_some();
    for word in rest {
        let is_there = match word.strip_prefix("--") {
            Some(long) => command.get_arguments().any(|argument| argument.get_long() == Some(long)),
            None => match word.strip_prefix('-').and_then(|short| short.chars().next()) {
                Some(short) => command.get_arguments().any(|argument| argument.get_short() == Some(short)),
                // A value, or what the command is about.
                None if command.has_subcommands() => false,
                None => takes_words || command.get_arguments().any(|argument| argument.get_num_args().is_some()),
            },
        };
        if !is_there {
            return Err(format!("{word} is nothing for {}", command.get_name()));
        }
    }
    // The kind that is emitted.
    let kind = words.strip_prefix("rodent emit ").and_then(|words| words.split(' ').next());
    match kind.filter(|word| !word.starts_with('-')) {
        Some(kind) if !Catalogue::compiled().kinds().iter().any(|known| known.as_str() == kind) => {
            Err(format!("no kind is called {kind}"))
        }
        _ => Ok(()),
    }
}

#[test]
fn every_name_on_our_side_is_there() {
    let (keys, mut found) = (keys(), BTreeSet::new());
    let metrics: BTreeSet<_> = agent::families().map(|family| family.name).collect();
    for [there, here, _] in rows() {
        for name in names(&here) {
            let kind = match name {
                name if name.starts_with("rodent ") => {
                    command(name).unwrap_or_else(|why| panic!("{there}: {name}: {why}"));
                    "command"
                }
                name if metrics.contains(name) => "metric",
                name if name.starts_with("RODENT_") => {
                    let key = name.trim_start_matches("RODENT_").to_lowercase().replace("__", ".");
                    let key = key.replace(".name.", ".NAME.");
                    assert!(keys.contains(&key), "{there}: {name} would set {key}");
                    "variable"
                }
                name if OF_EVENTS.contains(&name) => "field",
                name if Catalogue::compiled().kinds().iter().any(|kind| kind.as_str() == name) => "kind",
                name => {
                    assert!(keys.contains(name), "{there}: {name} is no key, command, kind or metric");
                    "key"
                }
            };
            found.insert(kind);
        }
        for link in links(&here) {
            assert!(document(link).exists(), "{there}: {link}");
        }
        assert!(here == "–" || !names(&here).is_empty() || !links(&here).is_empty(), "{there}: {here} says nothing");
    }
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["command", "field", "key", "kind", "metric", "variable"]);
}

fn document(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

#[test]
fn what_rodent_does_not_have_is_said_with_the_reason() {
    let without: Vec<_> = rows().into_iter().filter(|[_, here, _]| here == "–").collect();
    assert!(without.len() > 10, "they are found");
    for [there, _, why] in without {
        assert!(why.len() > 20, "{there}: why not?");
    }
}

#[test]
fn every_key_and_handler_of_theirs_has_its_row() {
    let rows = rows();
    let mapped: BTreeSet<_> = rows.iter().flat_map(|[there, ..]| names(there)).collect();
    let missing: Vec<_> = THEIRS.iter().filter(|name| !mapped.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_command_a_kind_or_an_option_that_is_not_there_would_be_found() {
    for wrong in
        ["rodent moon", "rodent sinks moon", "rodent emit storage.pool.eaten", "rodent emit --moon", "rodent events -Z"]
    {
        let told = command(wrong);
        assert!(told.is_err(), "{wrong}");
    }
    command("rodent emit storage.pool.created").expect("it is there");
}

/// The configuration below this heading, in force.
fn configuration(heading: &str) -> Config {
    let section = PAGE.split("\n## ").find(|section| section.starts_with(heading)).expect("the heading");
    let text = section.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a configuration");
    Config::parse("f", text).unwrap_or_else(|faults| panic!("{faults}")).config
}

#[test]
fn the_configurations_are_what_they_are_said_to_stand_for() {
    let ledger = configuration("Webhooks of a ledger bridge");
    assert_eq!(ledger.sinks.len(), 4, "three URLs and a name");
    let rodent = configuration("The first Rodent").events;
    assert_eq!((rodent.buffer_size, rodent.flush_threshold, rodent.batch_size), (20_000, 18_000, 100));
    assert_eq!(rodent.batch_timeout.as_secs(), 30);
    let mail = configuration("The event bus of a mail server");
    assert_eq!((mail.sinks.len(), mail.counters.len()), (1, 1));
    assert_eq!(mail.events.max_age.map(|age| age.as_secs()), Some(90 * 86_400));
    let package = configuration("An events package");
    let processor = package.consumers.scopes.of_consumer("transfer_processor").expect("subscribed");
    assert!(processor.takes_kind("storage.transfer.started") && !processor.takes_kind("storage.pool.created"));
    assert!(package.sinks.iter().all(|sink| sink.build().is_some()));
}
