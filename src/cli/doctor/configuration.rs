//! The configuration: whether it is valid, and so whether a start or a reload would take it; and whether the agent that runs
//! is the one that it belongs to.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    finding::Finding,
    patient::{NoConfig, Patient},
};
use crate::{
    client::{Client, ReloadRequest, ReloadResponse, StatusResponse},
    schema::local::ConfigurationStatus,
};

/// The most faults that are told; `rodent config check` has them all.
const FAULTS_MAX: usize = 5;

/// The most keys that are named.
const KEYS_MAX: usize = 6;

/// How long the agent may take to compare the files with what is in force.
const COMPARISON_TIME_MAX: Duration = Duration::from_secs(4);

pub(super) async fn look(patient: Arc<Patient>) -> Vec<Finding> {
    let file = patient.config_file.display();
    let mut findings = match &patient.config {
        Ok(loaded) => vec![Finding::pass(super::super::config::verdict(loaded))],
        Err(NoConfig::Unreadable(path)) => {
            return vec![
                Finding::skip(format!("this user may not read {}", path.display())).advise("sudo rodent doctor"),
            ];
        }
        Err(NoConfig::Refused(faults)) => {
            let runs = patient.status.is_ok();
            let what = if runs { "the agent goes on as it is" } else { "the agent does not start" };
            let mut findings: Vec<_> =
                faults.iter().take(FAULTS_MAX).map(|fault| Finding::fail(fault.to_string(), "")).collect();
            if let Some(last) = findings.last_mut() {
                last.advice = format!("correct it, then `rodent config check {file}`; until then {what}");
            }
            findings
        }
    };
    findings.extend(other_agent(&patient));
    if let Ok(status) = &patient.status {
        // Only for root and the agent's own user; the others learn what the agent knew when it last looked.
        let request = ReloadRequest { dry_run: true };
        let compared =
            timeout(COMPARISON_TIME_MAX, async { Client::connect(&patient.socket).await?.reload(request).await });
        findings.extend(match compared.await {
            Ok(Ok(answer)) => differences(&answer),
            _ => known_differences(status),
        });
    }
    findings
}

/// What the agent would change if it read the files again.
fn differences(answer: &ReloadResponse) -> Vec<Finding> {
    let keys = |changed: &[crate::client::ChangedSetting]| named(changed.iter().map(|setting| setting.key.as_str()));
    let mut findings = Vec::new();
    if let Some(fault) = answer.faults.first() {
        findings.push(Finding::fail(format!("the agent would refuse its files: {fault}"), "rodent config check"));
    }
    if !answer.applied.is_empty() {
        let text = format!("the files differ from what is in force: {}", keys(&answer.applied));
        findings.push(Finding::warn(text, "rodent reload --dry-run tells how; rodent reload puts it in force"));
    }
    if !answer.needs_restart.is_empty() {
        let text = format!("the files differ from what is in force, until a restart: {}", keys(&answer.needs_restart));
        findings.push(Finding::warn(text, "systemctl restart rodent"));
    }
    findings
}

/// What the agent found out when it last read its files.
fn known_differences(status: &StatusResponse) -> Vec<Finding> {
    let ConfigurationStatus { needs_restart, refused_at, refusal, .. } =
        status.configuration.clone().unwrap_or_default();
    let mut findings = Vec::new();
    if refused_at > 0 {
        findings.push(Finding::fail(
            format!("the agent refused its files and goes on as before: {refusal}"),
            "rodent config check",
        ));
    }
    if !needs_restart.is_empty() {
        let keys = named(needs_restart.iter().map(String::as_str));
        findings.push(Finding::warn(format!("these wait for a restart: {keys}"), "systemctl restart rodent"));
    }
    findings
}

fn named<'a>(keys: impl Iterator<Item = &'a str>) -> String {
    let mut keys: Vec<_> = keys.map(str::to_owned).collect();
    if let Some(more) = keys.len().checked_sub(KEYS_MAX).filter(|more| *more > 0) {
        keys.truncate(KEYS_MAX);
        keys.push(format!("and {more} more"));
    }
    keys.join(", ")
}

/// Whether the agent that answers keeps its events elsewhere than this configuration says.
fn other_agent(patient: &Patient) -> Option<Finding> {
    let (loaded, status) = (patient.config.as_ref().ok()?, patient.status.as_ref().ok()?);
    let configured = &loaded.config.state_directory;
    if status.state_directory.is_empty() || configured.as_os_str() == status.state_directory.as_str() {
        return None;
    }
    let (said, configured) = (&status.state_directory, configured.display());
    Some(Finding::warn(
        format!("the agent that runs keeps its events in {said}, this configuration in {configured}"),
        "name the agent's own configuration with --config, or restart the agent",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Mark;

    #[tokio::test]
    async fn what_is_wrong_is_told_with_its_place_and_what_to_do_about_it() {
        let patient = Patient::of_tests("events: {profile: huge}\nevent: 3\n");
        let findings = look(Arc::new(patient)).await;
        assert!(findings.iter().all(|finding| finding.mark == Mark::Fail), "{findings:?}");
        assert!(findings[0].text.starts_with("rodent.yml:1:"), "{findings:?}");
        let last = &findings.last().expect("faults").advice;
        assert!(last.contains("rodent config check rodent.yml") && last.contains("does not start"), "{last}");
    }

    #[test]
    fn files_that_differ_from_what_is_in_force_are_told_with_how_to_change_that() {
        let setting = |key: &str| crate::client::ChangedSetting { key: key.to_owned(), ..Default::default() };
        assert!(differences(&ReloadResponse::default()).is_empty());
        let answer = ReloadResponse {
            applied: vec![setting("events.levels")],
            needs_restart: (0..8).map(|number| setting(&format!("key{number}"))).collect(),
            ..Default::default()
        };
        let findings = differences(&answer);
        assert!(findings[0].text.ends_with("in force: events.levels") && findings[0].advice.contains("rodent reload"));
        assert!(findings[1].text.ends_with("key5, and 2 more"), "{findings:?}");
        let refused = ReloadResponse { faults: vec!["a.yml:1:1: no".to_owned()], ..Default::default() };
        assert_eq!(differences(&refused)[0].mark, Mark::Fail);
        let configuration =
            ConfigurationStatus { refused_at: 1, refusal: "a.yml:1:1: no".to_owned(), ..Default::default() };
        let status = StatusResponse { configuration: Some(configuration), ..Default::default() };
        assert_eq!(known_differences(&status)[0].mark, Mark::Fail);
    }

    #[tokio::test]
    async fn an_agent_with_another_configuration_is_told_from_its_own() {
        let mut patient = Patient::of_tests("state_directory: /srv/rodent");
        let says = |directory: &str| StatusResponse { state_directory: directory.to_owned(), ..Default::default() };
        patient.status = Ok(says("/srv/rodent"));
        assert!(other_agent(&patient).is_none());
        patient.status = Ok(says("/var/lib/rodent"));
        assert_eq!(other_agent(&patient).expect("another").mark, Mark::Warn);
    }
}
