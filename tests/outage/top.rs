//! `rodent top` in a terminal: what it shows, that it goes on when the agent comes back, and that the terminal is as it was
//! before, however it ends; after a panic, too: `tests/full_screen.rs`.

use std::{fs, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    address::own_address,
    process::wait,
    site::{PATIENCE, Site},
    terminal::Terminal,
};

const STOP_MAX: Duration = Duration::from_secs(30);

/// A terminal in which `top` can be typed, and a note of how it is set.
fn terminal(site: &Site, size: (u16, u16)) -> Terminal {
    let terminal = Terminal::open(&site.path(""), size);
    let path = |name: &str| site.path(name).display().to_string();
    terminal.run(&format!("export RODENT_SOCKET={} && cd {}", path("rodent.sock"), path("")));
    // `exec` in a shell of its own: its number is the program's.
    fs::write(
        site.path("top"),
        format!("echo $$ > number; exec {} top --interval 200ms", env!("CARGO_BIN_EXE_rodent")),
    )
    .expect("write a script");
    terminal.run("stty -g > before; clear");
    terminal
}

/// That the terminal is as it was, and the shell goes on.
fn assert_restored(terminal: &Terminal, site: &Site, how: &str) {
    terminal.run("stty -g > after; echo still-$((40 + 2))");
    terminal.wait_for("still-42");
    assert_eq!(terminal.modes(), (false, true), "{how}: no alternate screen, and a cursor");
    let read = |name: &str| fs::read_to_string(site.path(name)).expect("written by the shell");
    assert_eq!(read("before"), read("after"), "{how}: as stty has it");
    terminal.run("clear");
}

#[test]
fn top_shows_what_comes_and_goes_and_follows_size_and_agent() {
    let address = own_address();
    let site = Site::new(&address.to_string());
    let _controller = site.start_controller(&site.controller(address));
    let mut agent = site.start_agent(&site.agent());
    let terminal = terminal(&site, (80, 24));
    terminal.run("sh top; echo left-$?");
    terminal.wait_for("connected 127.0.0.1");
    assert_eq!(terminal.modes(), (true, false));
    site.emit(0..40);
    let screen = terminal.wait_for("was opened");
    assert!(screen.starts_with("rodent ") && screen.contains("LANE") && screen.contains("CATEGORY"), "{screen}");
    let has_all = |line: &str| line.starts_with("sharing ") && line.split_whitespace().nth(2) == Some("40");
    terminal.wait_until("all of them are counted", |screen| screen.lines().any(has_all));

    terminal.resize((200, 50));
    let is_last = |screen: &str, row: usize| screen.lines().nth(row).is_some_and(|line| line.starts_with("q quit"));
    let screen = terminal.wait_until("keys in the last of 50 rows", |screen| is_last(screen, 49));
    assert!(screen.contains("data_transfer") && screen.contains("COLLECTOR"), "{screen}");
    terminal.resize((30, 5));
    terminal.wait_for("too small");
    terminal.resize((80, 24));
    terminal.wait_until("keys in the last of 24 rows", |screen| is_last(screen, 23));

    terminal.press("p");
    terminal.wait_for("paused");
    terminal.press("p");
    terminal.press("s");
    terminal.wait_for("sort: total");
    assert!(agent.terminate(STOP_MAX), "the agent stops");
    terminal.wait_for("no agent answers");
    let _agent = site.start_agent(&site.agent());
    terminal.wait_for("the agent has started again");
    terminal.press("q");
    terminal.wait_for("left-0");
    assert_restored(&terminal, &site, "q");
}

#[test]
fn the_terminal_is_restored_however_top_ends() {
    let site = Site::new(&own_address().to_string());
    let _agent = site.start_agent(&site.agent());
    let terminal = terminal(&site, (100, 30));
    let start = || {
        let _ = fs::remove_file(site.path("number"));
        terminal.run("sh top; echo left-$?");
        terminal.wait_for("q quit");
        let number = fs::read_to_string(site.path("number")).expect("the script has written it");
        Pid::from_raw(number.trim().parse().expect("a number"))
    };
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        kill(start(), signal).expect("it runs");
        terminal.wait_for("left-0");
        assert_restored(&terminal, &site, signal.as_str());
    }
    start();
    terminal.press("C-c");
    terminal.wait_for("left-0");
    assert_restored(&terminal, &site, "Ctrl-C");
}

#[test]
fn top_can_be_stopped_and_continued_by_the_shell() {
    let site = Site::new(&own_address().to_string());
    let _agent = site.start_agent(&site.agent());
    let terminal = terminal(&site, (100, 30));
    terminal.run("sh top");
    terminal.wait_for("q quit");
    terminal.press("C-z");
    terminal.wait_for("ready>");
    assert_restored(&terminal, &site, "Ctrl-Z");
    terminal.run("fg");
    terminal.wait_for("q quit");
    assert_eq!(terminal.modes(), (true, false));
    terminal.press("q");
    terminal.wait_for("ready>");
    assert_restored(&terminal, &site, "q after fg");
}

#[test]
fn without_a_terminal_top_prints_lines_and_ends_when_it_is_asked_to() {
    let site = Site::new(&own_address().to_string());
    let _agent = site.start_agent(&site.agent());
    let top = |words: &[&str]| {
        let output = site.command(&[&["top", "--interval", "200ms"], words].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let lines = top(&["-n", "3"]);
    assert!(lines.starts_with("TIME") && lines.lines().count() == 4 && !lines.contains('\x1b'), "{lines}");
    let document: serde_json::Value = serde_json::from_str(&top(&["--once", "-o", "json"])).expect("JSON");
    assert!(document["in_per_second"].is_number() && document["lanes"].is_array(), "{document}");
    wait("nobody is left to follow", PATIENCE, || {
        let status = site.status();
        (status["socket"]["connections"].as_u64() <= Some(1)).then_some(())
    });
}
