//! The configuration: whether it is valid, and so whether a start or a reload would take it; and whether the agent that runs
//! is the one that it belongs to.

use std::sync::Arc;

use super::{
    finding::Finding,
    patient::{NoConfig, Patient},
};

/// The most faults that are told; `rodent config check` has them all.
const FAULTS_MAX: usize = 5;

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
    findings
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
    use crate::{cli::doctor::finding::Mark, client::StatusResponse};

    #[tokio::test]
    async fn what_is_wrong_is_told_with_its_place_and_what_to_do_about_it() {
        let patient = Patient::of_tests("events: {profile: huge}\nevent: 3\n");
        let findings = look(Arc::new(patient)).await;
        assert!(findings.iter().all(|finding| finding.mark == Mark::Fail), "{findings:?}");
        assert!(findings[0].text.starts_with("rodent.yml:1:"), "{findings:?}");
        let last = &findings.last().expect("faults").advice;
        assert!(last.contains("rodent config check rodent.yml") && last.contains("does not start"), "{last}");
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
