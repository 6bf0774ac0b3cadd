//! Pages of running programs in several states, as `promtool check metrics` and a Prometheus judge them.

use std::{
    fs,
    io::Write,
    net::SocketAddr,
    process::{Command, Stdio},
};

use rodent::agent;
use serde_json::Value;

use super::site::{Answer, PATIENCE, Site, get, page, sample};
use crate::{
    address::own_address,
    process::{Process, wait},
};

/// Fails unless promtool finds nothing to remark.
fn check(page: &str) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = command.spawn().expect("promtool is there (tests/e2e/install.sh installs it)");
    promtool.stdin.take().expect("piped").write_all(page.as_bytes()).expect("it reads");
    let output = promtool.wait_with_output().expect("it ends");
    let told = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
    assert!(output.status.success() && told.is_empty(), "{told}\n{page}");
}

/// Both formats of a page, and that they tell the same families.
fn check_both(address: SocketAddr) -> String {
    let text = page(address);
    check(&text);
    let Answer { head, body, .. } =
        get(address, "/metrics", "application/openmetrics-text; version=1.0.0").expect("a page");
    assert!(head.contains("application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(body.ends_with("\n# EOF\n"), "{body}");
    let families = |page: &str| page.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(families(&body), families(&text));
    text
}

fn ready(address: SocketAddr) {
    wait("it is ready", PATIENCE, || (get(address, "/readyz", "*/*")?.status == 200).then_some(()));
}

#[test]
fn the_pages_are_clean_from_the_start_through_an_outage_and_a_kill() {
    let site = Site::new();
    let (mut controller, serving, http) = site.controller();
    check_both(http);
    site.configure(Some(serving), "{listen: '127.0.0.1:0'}");
    let agent = site.agent();
    let address = site.listening(0);
    ready(address);
    check_both(address);

    site.run(&["emit", "storage.pool.created", "pool_name=tank"]);
    site.run(&["emit", "storage.pool.faulted", "pool_name=tank", "--level", "error"]);
    let delivered = "rodent_consumer_delivered_events_total{consumer=\"uplink\",lane=\"urgent\"}";
    let page = wait("the urgent event is delivered", PATIENCE, || {
        Some(page(address)).filter(|page| sample(page, delivered).is_some_and(|events| events > 0.0))
    });
    for (name, least) in [
        ("rodent_pipeline_accepted_events_total{category=\"storage\",level=\"error\"}", 1.0),
        ("rodent_pipeline_accepted_events_total{category=\"storage\",level=\"info\"}", 1.0),
        ("rodent_consumer_state{consumer=\"uplink\",state=\"connected\"}", 1.0),
        ("rodent_consumer_sent_bytes_total{consumer=\"uplink\",lane=\"urgent\"}", 1.0),
        ("rodent_consumer_last_acknowledgement_timestamp_seconds{consumer=\"uplink\",lane=\"urgent\"}", 1.6e9),
        ("rodent_uplink_token_expiry_timestamp_seconds", 1.6e9),
        ("rodent_log_commit_seconds_count", 1.0),
        ("rodent_socket_calls_total", 2.0),
        ("rodent_collector_state{collector=\"system\",state=\"running\"}", 1.0),
        ("rodent_ready", 1.0),
    ] {
        assert!(sample(&page, name).is_some_and(|value| value >= least), "{name} is not {least}\n{page}");
    }
    let told = check_both(http);
    assert_eq!(sample(&told, "rodent_controller_heard_nodes"), Some(1.0), "{told}");

    assert!(controller.terminate(PATIENCE));
    site.run(&["emit", "storage.pool.faulted", "pool_name=tank", "--level", "error"]);
    let late = "rodent_log_cursor_lag_seconds{cursor=\"uplink\",lane=\"urgent\"}";
    wait("the outage is seen", PATIENCE, || {
        let page = check_both(address);
        let failed =
            sample(&page, "rodent_consumer_failed_attempts_total{consumer=\"uplink\",reason=\"unreachable\"}")?;
        let lag = sample(&page, "rodent_log_cursor_lag_events{cursor=\"uplink\",lane=\"urgent\"}")?;
        (failed >= 1.0 && lag >= 1.0 && sample(&page, late)? > 0.0).then_some(())
    });
    assert_eq!(get(address, "/readyz", "*/*").expect("an answer").status, 200, "it takes events all the same");

    drop(agent);
    let _agent = site.agent();
    let address = site.listening(1);
    ready(address);
    let told = check_both(address);
    let lost = "rodent_log_losses_total{lane=\"routine\",cause=\"unclean_stop\"}";
    assert_eq!(sample(&told, lost), Some(1.0), "{told}");
}

#[test]
fn every_metric_of_the_agent_is_on_its_page() {
    let site = Site::new();
    let (_controller, serving, _) = site.controller();
    site.configure(Some(serving), "{listen: '127.0.0.1:0'}");
    let _agent = site.agent();
    let address = site.listening(0);
    ready(address);
    site.run(&["emit", "storage.pool.created", "pool_name=tank"]);
    // Tells when the token expires only when it has read it.
    let page = wait("the page is whole", PATIENCE, || {
        Some(page(address)).filter(|page| sample(page, "rodent_uplink_token_expiry_timestamp_seconds").is_some())
    });
    let only_with_tls = ["rodent_uplink_certificate_expiry_timestamp_seconds"];
    for family in agent::families().filter(|family| !only_with_tls.contains(&family.name)) {
        let introduced = format!("# TYPE {} {}\n# HELP {0} {}\n", family.name, family.kind.name(), family.help);
        assert!(page.contains(&introduced), "{introduced}\n{page}");
        let samples = page.lines().filter(|line| line.starts_with(family.name));
        // A machine where all is as it should be has none.
        assert!(family.name == "rodent_condition" || samples.count() > 0, "{} has no sample", family.name);
    }
    let families = page.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(families, agent::families().count() - only_with_tls.len(), "no other");
}

#[test]
fn what_the_configuration_counts_is_on_the_page_and_goes_on_through_a_reload_that_leaves_it_alone() {
    let site = Site::new();
    let counter = "{name: nas_pools_total, on: ['storage.pool.*'], by: [pool_name, level, meta.no]}";
    site.configure(None, &format!("{{listen: '127.0.0.1:0', counters: [{counter}]}}"));
    let _agent = site.agent();
    let address = site.listening(0);
    ready(address);
    let emit = |pool: &str| site.run(&["emit", "storage.pool.degraded", &format!("pool_name={pool}"), "-m", "no=1\"2"]);
    emit("tank");
    emit("tank");
    site.run(&["emit", "sharing.share.created", "share_name=home"]);
    let own = "nas_pools_total{pool_name=\"tank\",level=\"error\",meta_no=\"1\\\"2\"}";
    let page = check_both(address);
    assert_eq!(sample(&page, own), Some(2.0), "{page}");
    assert_eq!(sample(&page, "rodent_pipeline_published_events_total{kind=\"storage.pool.degraded\"}"), Some(2.0));
    assert_eq!(sample(&page, "rodent_pipeline_published_events_total{kind=\"sharing.share.created\"}"), Some(1.0));
    let more = "{name: nas_all_total, on: '*'}";
    site.configure(None, &format!("{{listen: '127.0.0.1:0', counters: [{counter}, {more}]}}"));
    site.run(&["reload"]);
    emit("tank");
    let page = check_both(address);
    assert_eq!(sample(&page, own), Some(3.0), "{page}");
    assert!(sample(&page, "nas_all_total").is_some_and(|all| (1.0..3.0).contains(&all)), "from the reload on: {page}");
}

#[test]
fn a_prometheus_scrapes_both_as_open_metrics_and_evaluates_the_alert_rules() {
    let site = Site::new();
    let (_controller, serving, http) = site.controller();
    site.configure(Some(serving), "{listen: '127.0.0.1:0'}");
    let _agent = site.agent();
    let address = site.listening(0);
    ready(address);
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/alerts/rodent.yml");
    let job = |name: &str, address: SocketAddr| {
        format!("- job_name: {name}\n  static_configs: [{{targets: ['{address}']}}]\n")
    };
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{rules}']\nscrape_configs:\n{}{}",
        job("rodent", address),
        job("rodent-controller", http)
    );
    fs::write(site.path("prometheus.yml"), config).expect("written");
    let own = own_address();
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", site.path("prometheus.yml").display()));
    command.arg(format!("--storage.tsdb.path={}", site.path("tsdb").display()));
    command.arg(format!("--web.listen-address={own}")).arg("--log.level=warn").stdout(Stdio::null());
    let _prometheus = Process::start(&mut command, &site.path("prometheus.log"));

    let ask = |path: &str| serde_json::from_str::<Value>(&get(own, path, "*/*")?.body).ok();
    wait("both are scraped", PATIENCE, || {
        let answer = ask("/api/v1/targets")?;
        let targets = answer["data"]["activeTargets"].as_array()?;
        let is_right = |target: &Value| {
            assert_ne!(target["health"], "down", "{target}");
            target["health"] == "up"
        };
        (targets.len() == 2 && targets.iter().all(is_right)).then_some(())
    });
    // The text format has no units, and calls a counter by the name of its samples.
    wait("counter and unit are known", PATIENCE, || {
        let metadata = ask("/api/v1/targets/metadata?metric=rodent_consumer_sent_bytes")?;
        (metadata["data"][0]["type"] == "counter" && metadata["data"][0]["unit"] == "bytes").then_some(())
    });
    wait("counters keep their names", PATIENCE, || {
        let answer = ask("/api/v1/query?query=sum(rodent_pipeline_accepted_events_total)")?;
        answer["data"]["result"].as_array().filter(|result| !result.is_empty()).map(|_| ())
    });
    wait("the rules are evaluated", PATIENCE, || {
        let answer = ask("/api/v1/rules")?;
        let groups = answer["data"]["groups"].as_array()?;
        let rules: Vec<_> = groups.iter().filter_map(|group| group["rules"].as_array()).flatten().collect();
        assert!(rules.iter().all(|rule| rule["health"] != "err"), "{rules:?}");
        (groups.len() == 2 && rules.iter().all(|rule| rule["health"] == "ok")).then_some(())
    });
}
