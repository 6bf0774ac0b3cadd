use std::collections::HashSet;

use super::{super::limits::Limit, *};

fn now() -> Now {
    Now {
        connections: 3,
        nodes: 2,
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
    let page = metrics.page(&now());
    for line in [
        "rodent_controller_calls_total{method=\"SendEvents\",code=\"OK\"} 1",
        "rodent_controller_calls_total{method=\"SendEvents\",code=\"UNAVAILABLE\"} 1",
        "rodent_controller_call_seconds_bucket{method=\"SendEvents\",le=\"0.002\"} 0",
        "rodent_controller_call_seconds_bucket{method=\"SendEvents\",le=\"0.005\"} 1",
        "rodent_controller_call_seconds_bucket{method=\"SendEvents\",le=\"30\"} 1",
        "rodent_controller_call_seconds_bucket{method=\"SendEvents\",le=\"+Inf\"} 2",
        "rodent_controller_call_seconds_sum{method=\"SendEvents\"} 60.003",
        "rodent_controller_call_seconds_count{method=\"SendEvents\"} 2",
        "rodent_controller_calls_refused_total{limit=\"bytes\"} 1",
        "rodent_controller_calls_refused_total{limit=\"room\"} 1",
        "rodent_controller_calls_refused_total{limit=\"store\"} 0",
        "rodent_controller_events_stored_total 500",
        "rodent_controller_connections 3",
        "rodent_controller_waiting_seconds 1.5",
        "rodent_controller_tls_certificate_end_timestamp_seconds 1800000000",
    ] {
        assert!(page.lines().any(|one| one == line), "{line}\n{page}");
    }
}

#[test]
fn every_sample_belongs_to_a_family_that_was_introduced_once() {
    let metrics = Metrics::default();
    metrics.answered(Method::Unknown, Code::Unimplemented, Duration::ZERO);
    let page = metrics.page(&now());
    let (mut families, mut samples) = (HashSet::new(), HashSet::new());
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(["counter", "gauge", "histogram"].contains(&kind) && families.insert(name), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        } else if !line.starts_with("# HELP ") {
            let (sample, value) = line.rsplit_once(' ').expect("a value");
            value.parse::<f64>().expect(line);
            assert!(samples.insert(sample), "twice: {line}");
            let name = sample.split('{').next().expect("a name");
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(families.contains(base) || families.contains(name), "{line}");
        }
    }
    assert!(families.len() > 20);
}

#[test]
fn every_limit_has_its_label() {
    let limits = [Limit::Requests, Limit::Events, Limit::Bytes, Limit::Calls, Limit::Connections, Limit::Nodes];
    let refusals = limits.map(Refusal::Limit).into_iter().chain([Refusal::Store, Refusal::Room]);
    assert_eq!(refusals.map(Refusal::name).collect::<Vec<_>>(), REFUSALS);
}
