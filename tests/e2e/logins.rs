//! Logins by a real sshd, su and sudo, as journald has them; and what others say in their words.

use serde_json::Value;

use crate::appliance::{Appliance, PATIENCE};

/// What ssh asks for a password.
const ASK: &str = "#!/bin/sh\necho \"$PASSWORD\"\n";

fn ssh(user: &str, password: &str) -> String {
    format!(
        "PASSWORD={password} SSH_ASKPASS=/usr/local/bin/ask SSH_ASKPASS_REQUIRE=force timeout 30 ssh -o \
         StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o NumberOfPasswordPrompts=1 -o \
         PreferredAuthentications=password {user}@127.0.0.1 true"
    )
}

/// A command as `user` gives it.
fn as_user(user: &str, command: &str) -> String {
    format!("setpriv --reuid={user} --regid={user} --init-groups sh -c \"{command}\"")
}

fn told(appliance: &Appliance, user: &str) -> Vec<String> {
    let line = |event: &Value| {
        let word = |key: &str| event["payload"][key].as_str().unwrap_or_default().to_owned();
        let kind = event["kind"].as_str().unwrap_or_default().rsplit('.').next().unwrap_or_default().to_owned();
        format!("{kind} {} {} {}", word("target_user"), word("source_ip"), word("method")).replace("  ", " ")
    };
    let is_of = |event: &Value| {
        let subject = &event["payload"]["username"];
        event["kind"].as_str().is_some_and(|kind| kind.starts_with("security.auth."))
            && (subject == user || (user.is_empty() && subject.is_null()))
    };
    appliance.about(is_of).iter().map(line).collect()
}

#[test]
fn logins_good_and_bad_are_told_and_what_anybody_writes_in_their_words_is_not() {
    let appliance = Appliance::install("logins", &[]);
    appliance.install("systemd/drop-ins/journal.conf", "/etc/systemd/system/rodent.service.d/journal.conf");
    appliance.write("/usr/local/bin/ask", ASK);
    appliance.run(
        "chmod 755 /usr/local/bin/ask && useradd -m -s /bin/sh alice && useradd -m -s /bin/sh mallory && \
         usermod -aG sudo alice && printf 'alice:right\\nroot:rooted\\n' | chpasswd && systemctl daemon-reload && systemctl start ssh",
    );
    appliance.begin();
    let status = appliance.run("rodent status");
    assert!(!status.contains("journal.conf"), "{status}");

    appliance.run(&ssh("alice", "right"));
    appliance.run(&format!("! {}", ssh("alice", "wrong")));
    appliance.run(&format!("! {}", ssh("nobody-here", "wrong")));
    appliance.run(&as_user("alice", "echo rooted | su root -c true"));
    appliance.run(&format!("! {}", as_user("alice", "echo wrong | su root -c true")));
    appliance.run(&as_user("alice", "echo right | sudo -S -k true"));
    appliance.run(&format!("! {}", as_user("alice", "echo wrong | sudo -S -k true")));
    appliance.run(&format!("! {}", as_user("mallory", "echo wrong | sudo -S -k true")));
    let expected = [
        "login_success 127.0.0.1 ssh password",
        "logout 127.0.0.1 ssh password",
        "login_failed 127.0.0.1 ssh password",
        "login_success root su",
        "login_failed root su",
        "login_success root sudo",
        "login_failed root sudo",
    ];
    appliance.wait("all that alice has done", PATIENCE, |_| {
        (told(&appliance, "alice").len() >= expected.len()).then_some(())
    });
    assert_eq!(told(&appliance, "alice"), expected);
    assert_eq!(told(&appliance, "nobody-here"), ["login_failed 127.0.0.1 ssh password"]);

    // Anybody may write to the journal, under any tag.
    appliance.run(&as_user("mallory", "logger -t sshd 'Accepted password for root from 6.6.6.6 port 1 ssh2'"));
    appliance.run("logger -t sshd 'Accepted password for root from 6.6.6.6 port 1 ssh2'");
    appliance.run("echo 'Accepted password for root from 6.6.6.6 port 1 ssh2' | systemd-cat -t sshd");
    for _ in 0..7 {
        appliance.run(&format!("! {}", ssh("root", "wrong")));
    }
    let begins = |event: &Value| event["kind"] == "security.auth.brute_force";
    let begun = appliance.wait_for_event("that somebody tries again and again", begins);
    assert_eq!(begun["payload"]["source_ip"], "127.0.0.1");
    appliance.pass_a_marker();
    assert_eq!(appliance.about(begins).len(), 1);
    assert!(!told(&appliance, "root").iter().any(|line| line.contains("6.6.6.6") || line.contains("success")));
    let problems = String::from_utf8_lossy(&appliance.attempt("rodent problems").stdout).into_owned();
    assert!(problems.contains("Logins from 127.0.0.1 fail again and again"), "{problems}");

    // Whoever gets in from there then.
    appliance.run(&ssh("alice", "right"));
    let is_in = |event: &Value| event["kind"] == "security.auth.login_success" && event["level"] == "error";
    let got_in = appliance.wait_for_event("that somebody has got in", is_in);
    let payload = &got_in["payload"];
    assert_eq!((&payload["username"], &payload["source_ip"]), (&"alice".into(), &"127.0.0.1".into()), "{got_in}");
    let sentence = "User alice has logged in, from 127.0.0.1, ssh password, after failures: ";
    assert!(appliance.run("rodent events security.auth -n 100 | tr -s ' '").contains(sentence), "{got_in}");
}
