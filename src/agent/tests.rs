//! Tests of the agent as a whole: what becomes of it when one of its parts ends.

use std::{collections::BTreeSet, time::Duration};

use futures_util::FutureExt as _;

use super::*;
use crate::agent::config::Config;

const PATIENCE: Duration = Duration::from_secs(60);

/// Parts that start again.
const AGAIN: [&str; 12] = [
    "absence_watch",
    "beat",
    "clock",
    "journal",
    "log_trouble",
    "memory",
    "metrics",
    "pulse",
    "registration",
    "spool",
    "states",
    "status",
];

/// Parts whose end is the agent's.
const ONCE: [&str; 7] = ["config", "control", "network", "orders", "socket", "steering", "uplink"];

async fn agent(directory: &std::path::Path) -> Agent {
    let text = format!(
        "state_directory: {0}/state\nsocket: {0}/rodent.sock\n\
         controller: {{address: 'localhost:9', jwt: a, tls: off}}\n\
         collectors: {{access: off, identity: off, security: off, service: off, sharing: off, storage: off, system: off}}\n",
        directory.display()
    );
    let loaded = Config::parse("rodent.yml", &text).unwrap_or_else(|faults| panic!("{faults}"));
    std::fs::create_dir(directory.join("state")).expect("a directory");
    Agent::start(loaded, None).await.expect("an agent")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_can_be_made_anew_starts_again_and_is_counted_and_the_agent_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let agent = agent(directory.path()).await;
    let all: BTreeSet<_> = AGAIN.into_iter().chain(ONCE).collect();
    assert_eq!(agent.supervisor.started(), all, "what becomes of each is tested here");
    // A part that was not polled yet cannot be told to panic.
    while agent.supervisor.restarts().len() < AGAIN.len() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    AGAIN.into_iter().for_each(|name| agent.supervisor.kill(name));
    let restarted = async {
        while agent.supervisor.restarts() != AGAIN.map(|name| (name, 1)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, restarted).await.expect("each starts again");
    assert!(agent.supervisor.failed().now_or_never().is_none(), "the agent goes on");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_holds_what_only_it_has_ends_the_agent_which_says_which_it_was() {
    for name in ONCE {
        let directory = tempfile::tempdir().expect("a directory");
        let agent = agent(directory.path()).await;
        let supervisor = agent.supervisor.clone();
        let going_on = agent.go_on(CancellationToken::new());
        let killing = async {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                supervisor.kill(name);
            }
        };
        let ended = tokio::select! {
            ended = going_on => ended,
            () = killing => Ok(()),
            () = tokio::time::sleep(PATIENCE) => Ok(()),
        };
        let said = format!("the part `{name}` of the agent has ended: it has panicked: killed by a test");
        assert_eq!(ended.expect_err("the agent ends").to_string(), said);
    }
}
