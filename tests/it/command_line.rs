//! The commands as people and scripts use them: what they print where, and their exit codes. The built program against
//! a socket with everything behind it.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
};

use crate::local_socket::Site;

const PATIENCE: Duration = Duration::from_secs(60);

fn rodent(socket: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rodent"));
    command.arg("--socket").arg(socket).args(words).env_remove("RODENT_SOCKET").kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn run(socket: &Path, words: &[&str], input: &str) -> Output {
    let mut child = rodent(socket, words).spawn().expect("started");
    let mut stdin = child.stdin.take().expect("piped");
    // Commands that read nothing may be gone already.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    end(child).await
}

async fn end(child: Child) -> Output {
    tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("in time").expect("waited for")
}

/// Exit code, standard output, standard error.
fn parts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn a_single_event_is_emitted_without_a_word() {
    let site = Site::new().await;
    let words = ["emit", "storage.pool.created", "pool_name=tank", "--level", "warn", "--meta", "ticket=4711"];
    assert_eq!(parts(&run(&site.socket, &words, "").await), (Some(0), String::new(), String::new()));

    let (code, printed, _) = parts(&run(&site.socket, &["events", "-o", "jsonl"], "").await);
    let event: Value = serde_json::from_str(&printed).expect("one line of JSON");
    assert_eq!((code, &event["level"], &event["node"]), (Some(0), &"warn".into(), &"nas-1".into()));
    assert_eq!((&event["metadata"]["ticket"], &event["payload"]["pool_name"]), (&"4711".into(), &"tank".into()));
}

#[tokio::test]
async fn bad_lines_are_named_and_the_others_stored_in_order() {
    let site = Site::new().await;
    let input = [
        r#"{"kind": "storage.pool.created", "payload": {"pool_name": "a"}}"#,
        r#"{"kind": "storage.pool.craeted"}"#,
        r#"{"kind": "storage.pool.created", "payload": {"pool_name": "forged"}, "metadata": {"rodent.uid": "0"}}"#,
        r#"{"kind": "#,
        r#"{"storage_event": {"pool_event": {"pool_name": "b", "operation": 1}}}"#,
    ];
    let (code, printed, said) = parts(&run(&site.socket, &["emit", "--json", "-"], &input.join("\n")).await);
    assert_eq!((code, printed.as_str()), (Some(65), ""));
    let said: Vec<&str> = said.lines().collect();
    let begins = |start: &str| said.iter().any(|line| line.starts_with(start));
    assert!(begins("stdin:2: no kind is called \"storage.pool.craeted\"; did you mean"), "{said:?}");
    assert!(begins("stdin:3: the event sets the metadata key `rodent.uid`"), "{said:?}");
    assert!(begins("stdin:4: this is not JSON"), "{said:?}");
    assert_eq!((said.len(), said.last()), (4, Some(&"2 accepted, 3 refused")));
    assert_eq!(site.newest(10).await, ["a", "b"]);
}

#[tokio::test]
async fn what_events_prints_is_what_emit_takes() {
    let (from, to) = (Site::new().await, Site::new().await);
    for name in ["a", "b", "c"] {
        run(&from.socket, &["emit", "storage.pool.created", &format!("pool_name={name}")], "").await;
    }
    for form in ["json", "jsonl"] {
        let (_, printed, _) = parts(&run(&from.socket, &["events", "-o", form], "").await);
        let taken = run(&to.socket, &["emit", "--json", "-"], &printed).await;
        assert_eq!(parts(&taken), (Some(0), String::new(), String::new()), "{form}");
    }
    assert_eq!(to.newest(10).await, ["a", "b", "c", "a", "b", "c"]);
}

#[tokio::test]
async fn an_event_on_a_pipe_that_stays_open_is_stored_at_once() {
    let site = Site::new().await;
    let mut emit = rodent(&site.socket, &["emit", "--json", "-"]).spawn().expect("started");
    let mut stdin = emit.stdin.take().expect("piped");
    let line = "{\"kind\": \"storage.pool.created\", \"payload\": {\"pool_name\": \"live\"}}\n";
    stdin.write_all(line.as_bytes()).await.expect("read on");
    let stored = async {
        while site.newest(1).await != ["live"] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, stored).await.expect("stored while the pipe is open");
    drop(stdin);
    assert!(end(emit).await.status.success());
}

#[tokio::test]
async fn following_shows_events_as_they_come_until_it_is_interrupted() {
    let site = Site::new().await;
    let mut follow = rodent(&site.socket, &["events", "-f", "-o", "jsonl", "storage.*"]).spawn().expect("started");
    let mut lines = BufReader::new(follow.stdout.take().expect("piped")).lines();
    for name in ["a", "b"] {
        run(&site.socket, &["emit", "storage.pool.created", &format!("pool_name={name}")], "").await;
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("in time").expect("readable");
        let event: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        assert_eq!(event["payload"]["pool_name"], name);
    }
    let number = follow.id().and_then(|number| i32::try_from(number).ok()).expect("it runs");
    kill(Pid::from_raw(number), Signal::SIGINT).expect("signalled");
    assert_eq!(parts(&end(follow).await), (Some(0), String::new(), String::new()));
}

#[tokio::test]
async fn following_since_a_moment_begins_with_all_that_was_stored_from_then_on() {
    let site = Site::new().await;
    let emit = async |name: String| {
        run(&site.socket, &["emit", "storage.pool.created", &format!("pool_name={name}")], "").await;
    };
    for number in 0..25 {
        emit(number.to_string()).await;
    }
    let words = ["events", "-f", "--since", "2020-01-01", "-o", "jsonl"];
    let mut follow = rodent(&site.socket, &words).spawn().expect("started");
    let mut lines = BufReader::new(follow.stdout.take().expect("piped")).lines();
    for number in 0..30 {
        // More than are shown without a moment, and five that come.
        if number >= 25 {
            emit(number.to_string()).await;
        }
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("in time").expect("readable");
        let event: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        assert_eq!(event["payload"]["pool_name"], number.to_string());
    }
    let number = follow.id().and_then(|number| i32::try_from(number).ok()).expect("it runs");
    kill(Pid::from_raw(number), Signal::SIGINT).expect("signalled");
    assert_eq!(end(follow).await.status.code(), Some(0));
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_a_command_quietly() {
    let site = Site::new().await;
    let line = "{\"kind\": \"storage.pool.created\", \"payload\": {\"pool_name\": \"a\"}}\n";
    assert!(run(&site.socket, &["emit", "--json", "-"], &line.repeat(5_000)).await.status.success());
    for form in ["table", "json", "jsonl"] {
        let mut events = rodent(&site.socket, &["events", "-n", "5000", "-o", form]).spawn().expect("started");
        drop(events.stdout.take());
        assert_eq!(parts(&end(events).await), (Some(0), String::new(), String::new()), "{form}");
    }
}

#[tokio::test]
async fn every_fault_has_its_exit_code_and_says_what_to_do() {
    let site = Site::new().await;
    let nobody = PathBuf::from("/nowhere/rodent.sock");
    let cases: [(&Path, &[&str], i32, &str); 9] = [
        (&nobody, &["status"], 69, "rodent: no agent answers on /nowhere/rodent.sock: start it"),
        (&nobody, &["emit", "--json", "-"], 69, "rodent: no agent answers"),
        (
            &site.socket,
            &["emit", "storage.pool.craeted"],
            65,
            "rodent: no kind is called \"storage.pool.craeted\"; did",
        ),
        (
            &site.socket,
            &["emit", "system.host.inventory", "-m", "rodent.uid=0"],
            65,
            "rodent: the event sets the metadata key",
        ),
        (&site.socket, &["emit", "storage.pool"], 65, "rodent: storage.pool does not say what happened; write one of"),
        (&site.socket, &["emit", "--json", "/nowhere"], 66, "rodent: open /nowhere: No such file"),
        (&site.socket, &["events", "level>=loud"], 64, "rodent: \"level>=loud\": no level is called `loud`"),
        (&site.socket, &["events", "--since", "yesterday"], 64, "rodent: `yesterday` is no point in time; write"),
        (&site.socket, &["evnts"], 64, "rodent: unrecognized subcommand 'evnts'"),
    ];
    for (socket, words, expected, begins) in cases {
        let (code, printed, said) = parts(&run(socket, words, "").await);
        assert_eq!((code, printed.as_str()), (Some(expected), ""), "{words:?}: {said}");
        assert!(said.starts_with(begins), "{words:?}: {said}");
    }
}

#[tokio::test]
async fn status_is_a_screen_for_people_and_json_for_scripts() {
    let site = Site::new().await;
    let (code, printed, _) = parts(&run(&site.socket, &["status"], "").await);
    assert_eq!(code, Some(0));
    assert!(printed.starts_with("rodent") && printed.contains("\nnode        nas-1\n"), "{printed}");
    let (_, printed, _) = parts(&run(&site.socket, &["status", "-o", "json"], "").await);
    let status: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(status["node_id"], "nas-1");
}
