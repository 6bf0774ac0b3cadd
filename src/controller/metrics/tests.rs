use super::{super::limits::Limit, *};
use crate::metrics::Format;

fn now() -> Now {
    Now {
        connections: 3,
        limited_nodes: 2,
        nodes: Nodes { heard: 9, silent: 1 },
        waiting: 1,
        waiting_age: Duration::from_millis(1500),
        held_bytes: 4096,
        ready: true,
        certificate_ends_at: Some(1_800_000_000),
    }
}

#[test]
fn what_was_counted_stands_on_the_page() {
    let metrics = Metrics::default();
    metrics.answered(Method::SendEvents, Code::Ok, Duration::from_millis(3));
    metrics.answered(Method::SendEvents, Code::Unavailable, Duration::from_secs(60));
    metrics.refused(Refusal::Limit(Limit::Bytes));
    metrics.refused(Refusal::Room);
    metrics.events_stored.add(500);
    let page = metrics.page(&now(), Format::Text);
    for line in [
        "rodent_controller_calls_total{method=\"SendEvents\",code=\"OK\"} 1",
        "rodent_controller_calls_total{method=\"SendEvents\",code=\"UNAVAILABLE\"} 1",
        "rodent_controller_call_seconds_bucket{method=\"SendEvents\",le=\"0.002\"} 0",
        "rodent_controller_call_seconds_bucket{method=\"SendEvents\",le=\"0.005\"} 1",
        "rodent_controller_call_seconds_bucket{method=\"SendEvents\",le=\"30.0\"} 1",
        "rodent_controller_call_seconds_bucket{method=\"SendEvents\",le=\"+Inf\"} 2",
        "rodent_controller_call_seconds_sum{method=\"SendEvents\"} 60.003",
        "rodent_controller_call_seconds_count{method=\"SendEvents\"} 2",
        "rodent_controller_calls_refused_total{limit=\"bytes\"} 1",
        "rodent_controller_calls_refused_total{limit=\"room\"} 1",
        "rodent_controller_calls_refused_total{limit=\"store\"} 0",
        "rodent_controller_events_stored_total 500",
        "rodent_controller_connections 3",
        "rodent_controller_heard_nodes 9",
        "rodent_controller_silent_nodes 1",
        "rodent_controller_waiting_seconds 1.5",
        "rodent_controller_tls_certificate_end_timestamp_seconds 1800000000",
    ] {
        assert!(page.lines().any(|one| one == line), "{line}\n{page}");
    }
}

#[test]
fn every_family_of_the_table_stands_on_the_page_once_and_no_other() {
    let metrics = Metrics::default();
    metrics.answered(Method::Unknown, Code::Unimplemented, Duration::ZERO);
    let page = metrics.page(&now(), Format::Text);
    let shown: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let table: Vec<_> = families().map(|family| format!("{} {}", family.name, family.kind.name())).collect();
    let sorted = |mut all: Vec<String>| {
        all.sort();
        all
    };
    assert_eq!(sorted(shown.into_iter().map(str::to_owned).collect()), sorted(table));
}

#[test]
fn every_limit_has_its_label() {
    let limits = [
        Limit::Requests,
        Limit::Events,
        Limit::Bytes,
        Limit::Calls,
        Limit::Connections,
        Limit::Nodes,
        Limit::Places,
        Limit::Epochs,
        Limit::Stored,
        Limit::Reserve,
    ];
    let refusals = limits.map(Refusal::Limit).into_iter().chain([Refusal::Store, Refusal::Room]);
    assert_eq!(refusals.map(Refusal::name).collect::<Vec<_>>(), REFUSALS);
}
