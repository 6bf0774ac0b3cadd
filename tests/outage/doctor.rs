//! `rodent doctor` beside an agent, a controller, or without them: what it finds, and that it disturbs nobody.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Output, time::Duration};

use serde_json::Value;

use crate::{
    address::own_address,
    copied::copy_program,
    process::wait,
    site::{PATIENCE, Site},
};

const STOP_MAX: Duration = Duration::from_secs(30);

/// A site whose files are as they should be.
fn site(controller: &str) -> Site {
    let site = Site::new(controller);
    for name in ["rodent.yml", "token", "secret"] {
        fs::set_permissions(site.path(name), fs::Permissions::from_mode(0o600)).expect("a mode");
    }
    site
}

fn run(site: &Site, words: &[&str]) -> Output {
    let config = site.path("rodent.yml").display().to_string();
    site.command(&[&["doctor", "--config", &config], words].concat())
}

/// Exit code and findings.
fn found(site: &Site) -> (Option<i32>, Vec<Value>) {
    let output = run(site, &["-o", "jsonl"]);
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    (output.status.code(), lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
}

/// The marks of a check, with what was found.
fn of<'a>(findings: &'a [Value], check: &str) -> Vec<(&'a str, &'a str)> {
    let of_check = findings.iter().filter(|finding| finding["check"] == check);
    of_check.map(|it| (it["mark"].as_str().expect("a mark"), it["text"].as_str().expect("a text"))).collect()
}

fn fails(findings: &[Value]) -> Vec<&str> {
    findings.iter().filter(|it| it["mark"] == "fail").map(|it| it["check"].as_str().expect("a check")).collect()
}

#[test]
fn what_is_well_passes_and_neither_agent_nor_controller_is_disturbed() {
    let address = own_address();
    let site = site(&address.to_string());
    let _controller = site.start_controller(&site.controller(address));
    let _agent = site.start_agent(&site.agent());
    site.emit(0..10);
    wait("they are delivered", PATIENCE, || (site.lag() == 0).then_some(()));
    let registered =
        || fs::read_to_string(site.path("controller.log")).expect("a log").matches("node registered").count();
    let (before, failed) = (registered(), site.status()["uplink"]["failed_attempts"].clone());
    let (code, findings) = found(&site);
    assert_eq!((code, fails(&findings)), (Some(0), vec![]), "{findings:#?}");
    let controller = of(&findings, "controller");
    assert!(controller.iter().any(|(_, text)| text.starts_with("it answers and knows the token")), "{controller:?}");
    assert!(controller.iter().any(|(_, text)| text.starts_with("the agent is connected")), "{controller:?}");
    assert!(of(&findings, "clock").iter().any(|(_, text)| *text == "it agrees with the controller's"), "{findings:#?}");
    for check in ["configuration", "socket", "log", "token"] {
        assert!(of(&findings, check).iter().all(|(mark, _)| *mark == "pass"), "{check}: {findings:#?}");
    }
    let text = String::from_utf8(run(&site, &[]).stdout).expect("UTF-8");
    let token = fs::read_to_string(site.path("token")).expect("a token");
    assert!(!text.contains(token.trim()), "the token is not shown");
    assert_eq!(registered(), before, "a look registers nothing");
    assert_eq!(site.status()["uplink"]["failed_attempts"], failed);
    assert_eq!(site.stored_numbers(), (0..10).collect::<Vec<_>>());
}

#[test]
fn each_thing_that_is_wrong_is_found_where_it_is() {
    let address = own_address();
    let site = site(&address.to_string());
    let (code, findings) = found(&site);
    assert_eq!((code, fails(&findings)), (Some(1), vec!["socket", "controller"]), "{findings:#?}");
    assert!(of(&findings, "controller")[0].1.contains("refused"), "{findings:#?}");
    assert_eq!(of(&findings, "log")[0].0, "skip", "there is none yet");

    let _controller = site.start_controller(&site.controller(address));
    let mut agent = site.start_agent(&site.agent());
    assert!(agent.terminate(STOP_MAX), "it stops");
    fs::set_permissions(site.path("token"), fs::Permissions::from_mode(0o644)).expect("a mode");
    fs::write(site.path("token"), "no.such.token").expect("written");
    let (_, findings) = found(&site);
    assert_eq!(fails(&findings), ["permissions", "socket", "token", "controller"], "{findings:#?}");
    assert!(of(&findings, "log")[0].1.starts_with("nobody works on "), "{findings:#?}");
    let permissions = findings.iter().find(|it| it["mark"] == "fail").expect("one fails");
    assert_eq!(permissions["advice"], format!("chmod o= {}", site.path("token").display()));
    let refused = of(&findings, "controller").into_iter().find(|(mark, _)| *mark == "fail").expect("it refuses");
    assert!(refused.1.starts_with("it refuses this node"), "{refused:?}");

    fs::write(site.path("rodent.yml"), "events: {profile: huge}\n").expect("written");
    let (_, findings) = found(&site);
    assert!(of(&findings, "configuration")[0].1.contains("rodent.yml:1:"), "{findings:#?}");
}

#[test]
fn a_test_event_is_followed_until_the_controller_has_it_or_it_is_said_why_not() {
    let address = own_address();
    let site = site(&address.to_string());
    let mut controller = site.start_controller(&site.controller(address));
    let _agent = site.start_agent(&site.agent());
    let output = run(&site, &["--send", "--timeout", "60s", "-o", "json"]);
    let journey: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), &journey["arrived"]), (Some(0), &true.into()), "{journey}");
    let stages: Vec<_> = journey["stages"].as_array().expect("stages").iter().map(|it| it["stage"].clone()).collect();
    assert_eq!(stages, ["accepted", "durable", "acknowledged"]);
    let filter = format!("meta.doctor_test={}", journey["mark"].as_str().expect("a mark"));
    let stored = site.stored(&["events", &filter]);
    assert_eq!((stored.len(), &stored[0]["metadata"]["test"]), (1, &"true".into()), "{stored:?}");
    assert_eq!((&stored[0]["lane"], &stored[0]["sequence"]), (&journey["lane"], &journey["sequence"]));

    assert!(controller.terminate(STOP_MAX), "it stops");
    let output = run(&site, &["--send", "--timeout", "3s"]);
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("durable") && said.contains("not acknowledged within 3s"), "{said}");
}

/// What only root can try; `make check` leaves this module out by its name, `make test` runs it.
mod as_root {
    use std::os::unix::process::CommandExt as _;

    use super::*;

    #[test]
    fn root_judges_files_as_the_agents_user_sees_them() {
        assert!(nix::unistd::geteuid().is_root(), "only root can become somebody else: run `make test` as root");
        let site = site(&own_address().to_string());
        let _agent = site.start_agent(&site.agent());
        let permissions = || of(&found(&site).1, "permissions").iter().map(|it| format!("{} {}", it.0, it.1)).collect();
        let said: Vec<String> = permissions();
        let sees = "pass root, as whom the agent runs, may read the files of the way to the controller".to_owned();
        assert!(said.contains(&sees), "{said:#?}");
        std::os::unix::fs::chown(site.path("rodent.sock"), Some(65_534), None).expect("another owner");
        let said: Vec<String> = permissions();
        let token = site.path("token").display().to_string();
        let cannot = |line: &String| line.starts_with(&format!("fail {token} cannot be read by "));
        assert!(said.iter().any(cannot), "{said:#?}");
    }

    #[test]
    fn a_user_without_rights_is_told_what_was_not_looked_at() {
        assert!(nix::unistd::geteuid().is_root(), "only root can become somebody else: run `make test` as root");
        let site = site(&own_address().to_string());
        let _agent = site.start_agent(&site.agent());
        let open = tempfile::tempdir().expect("a directory");
        fs::set_permissions(open.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        let program = open.path().join("rodent");
        copy_program(&program);
        let mut command = std::process::Command::new(program);
        command.uid(65_534).gid(65_534).current_dir("/").arg("--socket").arg(site.path("rodent.sock"));
        let output = command.args(["doctor", "-o", "jsonl", "--config"]).arg(site.path("rodent.yml")).output();
        let lines = String::from_utf8(output.expect("started").stdout).expect("UTF-8");
        let findings: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        for check in ["configuration", "socket", "controller", "token", "collectors"] {
            assert!(of(&findings, check).iter().all(|(mark, _)| *mark == "skip"), "{check}: {findings:#?}");
        }
    }
}
