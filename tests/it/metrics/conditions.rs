//! What is wrong with an agent is said alike wherever it is shown.

use serde_json::Value;

use super::site::{PATIENCE, Site, page, sample};
use crate::process::wait;

fn said(site: &Site, words: &[&str]) -> String {
    let output = site.rodent().args(words).output().expect("started");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn status(site: &Site) -> Value {
    serde_json::from_str(&said(site, &["status", "-o", "json"])).expect("JSON")
}

#[test]
fn a_controller_that_goes_away_is_told_alike_by_socket_metrics_status_top_and_doctor() {
    let site = Site::new();
    let (mut controller, serving, _) = site.controller();
    site.configure(Some(serving), "{listen: '127.0.0.1:0'}");
    let _agent = site.agent();
    let address = site.listening(0);
    let is_connected = |status: &Value| status["uplink"]["state"] == "connected";
    let well = wait("it is connected", PATIENCE, || Some(status(&site)).filter(is_connected));
    assert_eq!((&well["verdict"], &well["conditions"]), (&"ok".into(), &Value::Array(Vec::new())), "{well:#}");
    assert!(said(&site, &["status"]).contains(" healthy\n"));
    let away = "rodent_condition{part=\"uplink\",id=\"controller_away\",level=\"warning\"}";
    assert_eq!(sample(&page(address), away), None);

    assert!(controller.terminate(PATIENCE));
    site.run(&["emit", "system.host.oom_kill", "subject=smbd", "--level", "error"]);
    let told = wait("it is told", PATIENCE, || Some(status(&site)).filter(|status| status["verdict"] == "warning"));
    let condition = &told["conditions"][0];
    assert_eq!((&condition["part"], &condition["id"]), (&"uplink".into(), &"controller_away".into()), "{told:#}");
    assert!(condition["since"].as_i64().is_some_and(|since| since > 1_600_000_000_000), "{condition}");
    let sentence = condition["text"].as_str().expect("a sentence");
    assert!(sentence.starts_with("the controller is out of reach for "), "{sentence}");
    assert_eq!(sample(&page(address), away), Some(1.0));
    let begins = "the controller is out of reach for ";
    let shown = said(&site, &["status"]);
    // Beside what is wrong with the machine itself, by then: its clock, its load.
    assert!(shown.contains(" attention\n") && shown.contains(begins), "{shown}");
    let top = said(&site, &["top", "-n", "1", "-o", "jsonl"]);
    assert!(top.contains("\"verdict\":\"warning\""), "{top}");
    let config = site.path("rodent.yml").display().to_string();
    let doctor = said(&site, &["doctor", "--config", &config, "-o", "jsonl"]);
    let finding = doctor.lines().find(|line| line.contains(begins)).unwrap_or_else(|| panic!("{doctor}"));
    assert!(finding.contains("\"warn\"") && finding.contains("\"controller\""), "{finding}");
    assert!(!finding.contains("rodent doctor"), "its other lines tell where the way ends: {finding}");
}
