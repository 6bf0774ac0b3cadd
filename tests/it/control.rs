//! The control stream: the agent as built, at a controller that asks by script.

mod live;
pub(crate) mod toggle;

use std::{process::Command, time::Duration};

use rodent::schema::wire::{
    Acknowledgement, CommandRequest, CommandResponse, ConfigUpdate, RodentRequest, ToggleRequest,
    rodent_request::Payload as Answer, toggle_request::Payload as Question,
};
use serde_json::{Value, json};

use self::toggle::{Connect, Stream, Toggle};
use crate::process::{Process, wait};

const PATIENCE: Duration = Duration::from_secs(60);

/// An agent as built.
struct Agent {
    directory: tempfile::TempDir,
    process: Option<Process>,
}

impl Agent {
    fn start(toggle: &Toggle) -> Agent {
        Agent::with_batch_timeout(toggle, "50ms")
    }

    fn with_batch_timeout(toggle: &Toggle, batch_timeout: &str) -> Agent {
        let directory = tempfile::tempdir().expect("a directory");
        let here = directory.path().display();
        let settings = format!(
            "controller: {{address: '{}', token_file: {here}/token, tls: off, may: [status, set]}}\n\
             events: {{batch_timeout: {batch_timeout}, urgent_share: 30%}}\n\
             collectors: {{access: off, identity: off, network: off, security: off, service: off, sharing: off, storage: off, system: off}}\n\
             state_directory: {here}/state\nsocket: {here}/rodent.sock\n",
            toggle.address
        );
        std::fs::write(directory.path().join("rodent.yml"), settings).expect("written");
        std::fs::write(directory.path().join("token"), "t0ken").expect("written");
        let mut agent = Agent { directory, process: None };
        agent.restart();
        agent
    }

    fn restart(&mut self) {
        self.process = None;
        let mut command = Command::new(env!("CARGO_BIN_EXE_rodent"));
        command.arg("agent").arg("--config").arg(self.directory.path().join("rodent.yml")).env_remove("NOTIFY_SOCKET");
        self.process = Some(Process::start(&mut command, &self.directory.path().join("agent.log")));
        wait("the agent answers", PATIENCE, || self.rodent(&["status", "-o", "json"]).starts_with('{').then_some(()));
    }

    fn rodent(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rodent"));
        command.args(arguments).arg("--socket").arg(self.directory.path().join("rodent.sock"));
        let output = command.output().expect("start rodent");
        String::from_utf8(output.stdout).expect("text") + &String::from_utf8_lossy(&output.stderr)
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.rodent(&["status", "-o", "json"])).expect("JSON")
    }

    /// Emits an event of this level; gives how many were taken in and how many left out since the start.
    fn emit(&self, level: &str) -> (u64, u64) {
        let event = json!({"kind": "service.status.started", "level": level, "payload": {"service_name": "x"}});
        let file = self.directory.path().join("event.json");
        std::fs::write(&file, event.to_string()).expect("written");
        self.rodent(&["emit", "--json", &file.display().to_string()]);
        let counts = &self.status()["pipeline"];
        let count = |name: &str| counts[name].as_u64().expect("a number");
        (count("accepted_events"), count("filtered_events"))
    }
}

fn command(name: &str) -> ToggleRequest {
    let command = CommandRequest { command_type: name.to_owned(), ..CommandRequest::default() };
    ToggleRequest { request_id: format!("ask {name}"), payload: Some(Question::Command(command)) }
}

pub(crate) fn update(part: &str, payload: &str) -> ToggleRequest {
    let update = ConfigUpdate { config_type: part.to_owned(), payload: payload.as_bytes().to_vec() };
    ToggleRequest { request_id: format!("set {part}"), payload: Some(Question::Config(update)) }
}

fn response(answer: RodentRequest) -> CommandResponse {
    match answer.payload {
        Some(Answer::CommandResponse(response)) if response.request_id == answer.request_id => response,
        other => panic!("no response: {other:?}"),
    }
}

pub(crate) fn acknowledgement(answer: RodentRequest) -> Acknowledgement {
    match answer.payload {
        Some(Answer::Ack(ack)) if ack.request_id == answer.request_id => ack,
        other => panic!("no acknowledgement: {other:?}"),
    }
}

/// Asks for what is refused; gives code, message and details.
async fn refused(stream: &mut Stream, question: ToggleRequest) -> (i64, String, Value) {
    let identifier = question.request_id.clone();
    let answer = stream.ask(question).await;
    assert_eq!(answer.request_id, identifier);
    match answer.payload {
        Some(Answer::CommandResponse(CommandResponse { success: false, error: Some(error), .. })) => {
            let details = serde_json::from_str(&error.details).unwrap_or(Value::Null);
            (error.code.into(), error.message, details)
        }
        Some(Answer::Ack(Acknowledgement { success: false, message, .. })) => {
            let error: Value = serde_json::from_str(&message).expect("JSON where there is only a text for it");
            (
                error["code"].as_i64().expect("a code"),
                error["message"].as_str().expect("a text").to_owned(),
                error["details"].clone(),
            )
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_is_what_the_command_prints() {
    let mut toggle = Toggle::start(Connect::Serve).await;
    let agent = Agent::start(&toggle);
    let mut stream = toggle.stream().await;
    assert_eq!(stream.token, "Bearer t0ken");
    let answer = response(stream.ask(command("system.status")).await);
    assert!(answer.success && answer.error.is_none());
    let (told, printed) = (String::from_utf8(answer.payload).expect("text"), agent.rodent(&["status", "-o", "json"]));
    let value: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((&value["node_id"], &value["started_at"]), (&agent.status()["node_id"], &agent.status()["started_at"]));
    // Line by line the same fields in the same form; figures move on.
    let fields = |text: &str| text.lines().map(|line| line.split(':').next().map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(fields(&told), fields(&printed));
    assert_eq!(told.ends_with("}\n"), printed.ends_with("}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_in_force_until_the_next_one_or_the_next_start_and_is_told_with_who_asked() {
    let mut toggle = Toggle::start(Connect::Serve).await;
    let mut agent = Agent::start(&toggle);
    let mut stream = toggle.stream().await;
    let before = agent.emit("info");
    let ack = acknowledgement(stream.ask(update("events", r#"{"profile": "minimal", "categories": "all"}"#)).await);
    assert!(ack.success, "{ack:?}");
    assert!(
        ack.message.starts_with("in force until the next start or reload: ") && ack.message.contains("events.levels")
    );
    assert_eq!(agent.status()["profile"], "minimal");
    // The one that is told, and nothing else.
    assert_eq!(agent.emit("info"), (before.0 + 1, before.1 + 1));
    assert_eq!(agent.emit("error"), (before.0 + 2, before.1 + 1));
    let told = agent.rodent(&["events", "-o", "jsonl", "system.config_changed.updated"]);
    let told: Value = serde_json::from_str(told.lines().last().expect("an event")).expect("JSON");
    assert_eq!(
        (&told["payload"]["controller"], &told["payload"]["trigger"]),
        (&json!(toggle.address), &json!("update"))
    );
    let keys = told["payload"]["changed_keys"].as_array().expect("keys").clone();
    assert!(keys.contains(&json!("events.profile")) && keys.contains(&json!("events.batch_size")), "{keys:?}");
    assert!(!keys.contains(&json!("events.batch_timeout")), "set by hand: {keys:?}");
    wait("the controller is told", PATIENCE, || toggle.events().iter().any(|kind| kind == "config").then_some(()));

    let ack = acknowledgement(stream.ask(update("events", r#"{"levels": ["warn"]}"#)).await);
    assert!(ack.success && ack.message.contains("events.profile"), "an update stands for itself: {ack:?}");
    assert_eq!(agent.status()["profile"], "default");
    // Of what the update leaves out, errors are kept all the same.
    assert_eq!(agent.emit("error"), (before.0 + 4, before.1 + 1));
    let ack = acknowledgement(stream.ask(update("events", r#"{"levels": ["warn"]}"#)).await);
    assert_eq!((ack.success, ack.message.as_str()), (true, "in force already"));

    agent.restart();
    let taken = agent.emit("info").0;
    assert_eq!(agent.emit("info").0, taken + 1, "the file is in force again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_cannot_silence_what_matters_and_it_is_seen_that_it_has_set_something() {
    let mut toggle = Toggle::start(Connect::Serve).await;
    let agent = Agent::start(&toggle);
    let mut stream = toggle.stream().await;
    let silence = r#"{"levels": ["essential"], "categories": ["usage"]}"#;
    assert!(acknowledgement(stream.ask(update("events", silence)).await).success);
    for (kind, field, level) in [
        ("storage.pool.degraded", "pool_name=tank", "critical"),
        ("security.auth.login_failed", "username=bob", "warn"),
        ("storage.pool.degraded", "pool_name=tank", "error"),
    ] {
        let said = agent.rodent(&["emit", kind, field, "--level", level]);
        assert_eq!(agent.status()["pipeline"]["filtered_events"], 0, "{kind}: {said}");
    }
    // Of one that has no urgent state: what is said of such a one passes, or it would stand for ever.
    let said = agent.rodent(&["emit", "storage.pool.degraded", "pool_name=pond", "--level", "warn"]);
    assert_eq!(agent.status()["pipeline"]["filtered_events"], 1, "{said}");
    let shown = agent.rodent(&["status"]);
    assert!(shown.contains("the controller has changed settings") && !shown.contains("healthy"), "{shown}");
    let log = std::fs::read_to_string(agent.directory.path().join("agent.log")).expect("its log");
    assert!(log.lines().any(|line| line.contains("WARN") && line.contains(&toggle.address)), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_are_held_to_a_pace_as_requests_are() {
    let mut toggle = Toggle::start(Connect::Serve).await;
    let _agent = Agent::start(&toggle);
    let mut stream = toggle.stream().await;
    assert!(response(stream.ask(command("system.status")).await).success);
    // Beyond the burst each costs its sender a wait.
    const FLOOD: usize = 120;
    let begun = std::time::Instant::now();
    for _ in 0..FLOOD {
        let ack = Acknowledgement { message: "x".repeat(1024), ..Acknowledgement::default() };
        stream.say(ToggleRequest { request_id: String::new(), payload: Some(Question::Ack(ack)) }).await;
    }
    assert!(response(stream.ask(command("system.status")).await).success, "the pace of requests is their own");
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_in_force_for_batches_too() {
    let mut toggle = Toggle::start(Connect::Serve).await;
    let agent = Agent::with_batch_timeout(&toggle, "1h");
    let mut stream = toggle.stream().await;
    // More than a batch of the profile that is to come, less than one of the default.
    let event = json!({"kind": "service.status.started", "payload": {"service_name": "x"}}).to_string() + "\n";
    let file = agent.directory.path().join("events.jsonl");
    std::fs::write(&file, event.repeat(60)).expect("written");
    agent.rodent(&["emit", "--json", &file.display().to_string()]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let others = |toggle: &Toggle| toggle.events().iter().filter(|kind| *kind == "other").count();
    assert_eq!(others(&toggle), 0);
    assert!(acknowledgement(stream.ask(update("events", r#"{"profile": "low-latency"}"#)).await).success);
    wait("a smaller batch is full", PATIENCE, || (others(&toggle) >= 50).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_changes_nothing_and_is_refused_with_every_reason() {
    let mut toggle = Toggle::start(Connect::Serve).await;
    let agent = Agent::start(&toggle);
    let mut stream = toggle.stream().await;
    let wrong = r#"{"levels": ["error", "loud"], "categories": [], "max_disk": "1GiB"}"#;
    let (code, _, details) = refused(&mut stream, update("events", wrong)).await;
    assert_eq!(code, 3);
    let details: Vec<_> =
        details.as_array().expect("a list").iter().map(|it| it.as_str().unwrap().to_owned()).collect();
    assert!(details[0].starts_with("events.categories: a list: empty; expected "), "{details:?}");
    assert!(details[1].starts_with("events.levels: loud: expected "), "{details:?}");
    assert!(details[2].starts_with("events.max_disk: not for a controller to set"), "{details:?}");
    assert_eq!(refused(&mut stream, update("events", "levels: [error]")).await.0, 3);
    let taken = agent.emit("info");
    assert_eq!(agent.emit("info"), (taken.0 + 1, taken.1));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_else_is_asked_is_refused_and_never_run() {
    let mut toggle = Toggle::start(Connect::Serve).await;
    let _agent = Agent::start(&toggle);
    let mut stream = toggle.stream().await;
    for name in ["system.reboot", "", "sh -c true", "system.status "] {
        let (code, message, _) = refused(&mut stream, command(name)).await;
        assert!(code == 12 && message.ends_with("known is `system.status`"), "{message}");
    }
    let (code, message, _) = refused(&mut stream, update("collectors", "{}")).await;
    assert_eq!((code, message.as_str()), (12, "no settings of this agent: `collectors`; known is `events`"));
    let nothing = ToggleRequest { request_id: "7".to_owned(), payload: None };
    assert_eq!(refused(&mut stream, nothing).await.0, 12);
    let large = update("events", &"x".repeat(100 * 1024));
    assert_eq!(refused(&mut stream, large).await.0, 3);
    let answer = response(stream.ask(command("system.status")).await);
    assert!(answer.success, "the stream goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_held_off_and_delivery_does_not_feel_it() {
    let mut toggle = Toggle::start(Connect::Serve).await;
    let agent = Agent::start(&toggle);
    let mut stream = toggle.stream().await;
    const FLOOD: usize = 150;
    for _ in 0..FLOOD {
        stream.say(command("system.status")).await;
    }
    let before = toggle.events().len();
    agent.emit("error");
    wait("an event arrives meanwhile", PATIENCE, || (toggle.events().len() > before).then_some(()));
    let mut codes = Vec::new();
    for _ in 0..FLOOD {
        codes.push(response(stream.hear().await).error.map_or(0, |error| error.code));
    }
    let answered = codes.iter().filter(|code| **code == 0).count();
    assert!((20..60).contains(&answered), "{answered} of {FLOOD}");
    assert!(codes.iter().all(|code| [0, 8].contains(code)), "{codes:?}");
    // More than can be read at all: the stream ends and another one begins.
    stream.say(update("events", &"x".repeat(300 * 1024))).await;
    let mut stream = toggle.stream().await;
    wait("there is room again", PATIENCE, || {
        let answer = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(stream.ask(command("system.status")))
        });
        response(answer).success.then_some(())
    });
    assert_eq!((toggle.registered(), agent.status()["uplink"]["failed_attempts"].as_u64()), (1, Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_the_controller_closes_is_opened_again_and_delivery_goes_on() {
    let mut toggle = Toggle::start(Connect::Serve).await;
    let agent = Agent::start(&toggle);
    for _ in 0..3 {
        let mut stream = toggle.stream().await;
        assert!(response(stream.ask(command("system.status")).await).success);
        drop(stream);
    }
    let before = toggle.events().len();
    agent.emit("error");
    wait("an event arrives", PATIENCE, || (toggle.events().len() > before).then_some(()));
    assert_eq!((toggle.registered(), agent.status()["uplink"]["failed_attempts"].as_u64()), (1, Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_without_a_control_stream_is_asked_once_for_each_connection() {
    let toggle = Toggle::start(Connect::Unknown).await;
    let agent = Agent::start(&toggle);
    agent.emit("error");
    wait("an event arrives", PATIENCE, || (!toggle.events().is_empty()).then_some(()));
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!((toggle.opened(), toggle.registered()), (1, 1));
    let log = std::fs::read_to_string(agent.directory.path().join("agent.log")).expect("its log");
    assert!(!log.contains("control stream"), "{log}");
}
