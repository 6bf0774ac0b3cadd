use proptest::prelude::*;

use super::*;

const SSHD_LINES: &str = include_str!("../../../../../tests/fixtures/logins/sshd.jsonl");
const SMBD_LINES: &str = include_str!("../../../../../tests/fixtures/logins/smbd.jsonl");

/// What `journalctl -o json` has printed, as the journal's reader gives it.
pub(in crate::collectors::security::logins) fn records(lines: &str) -> Vec<JournalRecord> {
    let record = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        let word = |key: &str| value[key].as_str().unwrap().to_owned();
        JournalRecord {
            at: word("__REALTIME_TIMESTAMP").parse::<i64>().unwrap() / 1000,
            uid: word("_UID").parse().unwrap(),
            process: word("_PID").parse().unwrap(),
            executable: word("_EXE"),
            message: word("MESSAGE"),
            ..JournalRecord::default()
        }
    };
    lines.lines().map(record).collect()
}

fn said(executable: &str, uid: u32, message: &str) -> JournalRecord {
    let (executable, message) = (executable.to_owned(), message.to_owned());
    JournalRecord { at: 1, uid, executable, message, ..JournalRecord::default() }
}

/// `failed alice>root sudo from 10.0.0.7: why`
fn told(record: &JournalRecord) -> Option<String> {
    let (kind, it) = match of(record, |uid| format!("uid{uid}"))? {
        Line::Attempt(attempt, _) => (if attempt.succeeded { "in" } else { "failed" }, attempt),
        Line::Closed(attempt, connection) => {
            assert!(connection.starts_with(&attempt.source));
            ("closed", attempt)
        }
        Line::Left(attempt) => ("left", attempt),
    };
    Some(format!("{kind} {}>{} {} from {}: {}", it.user, it.target, it.method, it.source, it.reason))
}

fn by(executable: &str, message: &str) -> Option<String> {
    told(&said(executable, ROOT, message))
}

#[test]
fn logins_of_a_real_sshd_and_a_real_samba_are_read() {
    let all = |lines: &str| records(lines).iter().filter_map(told).collect::<Vec<_>>();
    let expected = [
        "left alice>  from : ",
        "failed alice> ssh password from 127.0.0.1: ",
        "closed alice> ssh from 127.0.0.1: ",
        "failed nosuch> ssh password from 127.0.0.1: no such user",
        "closed nosuch> ssh from 127.0.0.1: no such user",
    ];
    assert_eq!(all(SSHD_LINES), expected);
    let expected = [
        "in alice> smb from 127.0.0.1: ",
        "failed alice> smb from 127.0.0.1: ",
        "failed mallory> smb from 127.0.0.1: no such user",
        "in alice> smb from 127.0.0.1: ",
    ];
    assert_eq!(all(SMBD_LINES), expected);
}

#[test]
fn every_way_in_by_ssh_is_read_from_its_end_whatever_the_client_calls_itself() {
    let sshd = |message: &str| by("/usr/sbin/sshd", message);
    let accepted = "Accepted publickey for alice from 10.77.0.2 port 52308 ssh2: ED25519 SHA256:wvYfZEDmvpWGrDiJ";
    assert_eq!(sshd(accepted).as_deref(), Some("in alice> ssh publickey from 10.77.0.2: "));
    let inter = "Accepted keyboard-interactive/pam for bob from fe80::1%eth0 port 9 ssh2";
    assert_eq!(sshd(inter).as_deref(), Some("in bob> ssh keyboard-interactive from fe80::1: "));
    let mapped = "Failed password for bob from ::ffff:10.0.0.7 port 9 ssh2";
    assert_eq!(sshd(mapped).as_deref(), Some("failed bob> ssh password from 10.0.0.7: "));
    let liar = "Failed password for invalid user x from 6.6.6.6 port 1 ssh2 from 10.0.0.7 port 55 ssh2";
    assert_eq!(
        sshd(liar).as_deref(),
        Some("failed x from 6.6.6.6 port 1 ssh2> ssh password from 10.0.0.7: no such user")
    );
    let liar = "Connection closed by authenticating user a 6.6.6.6 port 1 [preauth] 10.0.0.7 port 55 [preauth]";
    assert_eq!(sshd(liar).as_deref(), Some("closed a 6.6.6.6 port 1 [preauth]> ssh from 10.0.0.7: "));
    let many = "Disconnecting authenticating user root 10.0.0.7 port 5: Too many authentication failures [preauth]";
    assert_eq!(sshd(many).as_deref(), Some("closed root> ssh from 10.0.0.7: "));
    for nothing in [
        "Failed none for alice from 10.0.0.7 port 5 ssh2",
        "Failed password for alice from 10.0.0.7 port x ssh2",
        "Accepted password for alice from nowhere port 5 ssh2",
        "Accepted password for alice",
        "Server listening on :: port 22.",
        "",
    ] {
        assert_eq!(sshd(nothing), None, "{nothing}");
    }
    let session = "Accepted password for alice from 10.0.0.7 port 5 ssh2";
    assert!(by("/usr/lib/openssh/sshd-session", session).is_some(), "from OpenSSH 9.8 on");
}

#[test]
fn neither_a_name_nor_what_a_certificate_is_called_hides_a_login_or_moves_it_to_another_address() {
    let sshd = |message: &str| by("/usr/sbin/sshd", message);
    let liar = "a from 6.6.6.6 port 1 ssh2: b";
    let key = |id: &str| format!("port 5 ssh2: ED25519-CERT SHA256:wvYf ID {id} (serial 0) CA ED25519 SHA256:GrDi");
    for id in ["alice from laptop", "alice", liar] {
        let accepted = format!("Accepted publickey for alice from 10.0.0.7 {}", key(id));
        assert_eq!(sshd(&accepted).as_deref(), Some("in alice> ssh publickey from 10.0.0.7: "), "{id}");
        let failed = format!("Failed publickey for alice from 10.0.0.7 {}", key(id));
        assert_eq!(sshd(&failed).as_deref(), Some("failed alice> ssh publickey from 10.0.0.7: "), "{id}");
    }
    let invalid =
        |name: &str, id: &str| sshd(&format!("Failed publickey for invalid user {name} from 10.0.0.7 {}", key(id)));
    let expected = |name: &str| Some(format!("failed {name}> ssh publickey from 10.0.0.7: no such user"));
    for name in ["x", "x from", "x from 6.6.6.6", "x from fe80::1%"] {
        assert_eq!(invalid(name, "alice from laptop"), expected(name));
    }
    for (name, id) in [("x", liar), (liar, "x"), (liar, liar)] {
        assert_eq!(invalid(name, id), None, "the end of the connection tells");
    }
}

#[test]
fn who_becomes_somebody_else_or_sits_at_the_machine_is_read() {
    let expected = [
        ("/usr/bin/su", "(to root) alice on pts/0", "in alice>root su from : "),
        ("/usr/bin/su", "FAILED SU (to root) alice on pts/0", "failed alice>root su from : "),
        (
            "/usr/bin/sudo",
            "   alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/usr/bin/id",
            "in alice>root sudo from : ",
        ),
        (
            "/usr/bin/sudo",
            "alice : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/id",
            "failed alice>root sudo from : ",
        ),
        (
            "/usr/bin/sudo",
            "eve : TTY=pts/0 ; PWD=/tmp/a ; USER=bob ; b ; USER=root ; COMMAND=/bin/sh",
            "in eve>root sudo from : ",
        ),
        (
            "/usr/bin/sudo",
            "eve : user NOT in sudoers ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh",
            "failed eve>root sudo from : user NOT in sudoers",
        ),
        ("/usr/bin/login", "FAILED LOGIN 1 FROM tty1 FOR alice, Authentication failure", "failed alice> login from : "),
        (
            "/usr/bin/login",
            "FAILED LOGIN (1) on '/dev/tty1' FOR 'alice', Authentication failure",
            "failed alice> login from : ",
        ),
        ("/usr/bin/login", "pam_unix(login:session): session closed for user alice", "left alice>  from : "),
        (
            "/usr/bin/login",
            "pam_unix(login:session): session opened for user alice(uid=1000) by LOGIN(uid=0)",
            "in alice> login from : ",
        ),
    ];
    for (executable, message, line) in expected {
        assert_eq!(by(executable, message).as_deref(), Some(line), "{message}");
    }
}

#[test]
fn what_anybody_else_says_in_their_words_is_not_believed() {
    let forged = "Accepted password for root from 10.0.0.7 port 5 ssh2";
    for (executable, uid) in
        [("/usr/bin/logger", 1000), ("/usr/bin/logger", ROOT), ("/usr/sbin/sshd", 1000), ("", ROOT)]
    {
        assert_eq!(told(&said(executable, uid, forged)), None, "{executable} {uid}");
    }
    // Whoever runs a program can make it say what he likes, but as himself alone.
    let forged = "   alice : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh";
    assert_eq!(told(&said("/usr/bin/sudo", 1666, forged)).as_deref(), Some("in uid1666>root sudo from : "));
    let forged = "FAILED SU (to root) alice on pts/0";
    assert_eq!(told(&said("/usr/bin/su", 1666, forged)).as_deref(), Some("failed uid1666>root su from : "));
    let forged = "pam_unix(login:session): session opened for user root(uid=0) by LOGIN(uid=0)";
    assert_eq!(told(&said("/usr/bin/login", 1666, forged)), None);
    for record in records(SMBD_LINES) {
        assert_eq!(told(&JournalRecord { uid: 1000, ..record.clone() }), None);
        assert_eq!(told(&JournalRecord { executable: "/usr/sbin/nmbd".into(), ..record }), None);
    }
}

#[test]
fn of_samba_what_is_no_login_is_none_and_who_somebody_has_become_counts_and_long_names_are_cut() {
    let smbd = |kind: &str, status: &str, name: &str| {
        let login = serde_json::json!({"type": kind, "Authentication": {"status": status, "clientAccount": name,
            "becameAccount": "alice", "remoteAddress": "ipv6:fe80::1:41552"}});
        by("/usr/sbin/smbd", &login.to_string())
    };
    assert_eq!(smbd("Authentication", "NT_STATUS_OK", "guest").as_deref(), Some("in alice> smb from fe80::1: "));
    assert_eq!(smbd("Authorization", "NT_STATUS_OK", "guest"), None);
    let refused = smbd("Authentication", "NT_STATUS_ACCOUNT_DISABLED", &"x".repeat(5000)).unwrap();
    assert_eq!(refused, format!("failed {}> smb from fe80::1: account disabled", "x".repeat(NAME_CHARS_MAX)));
}

proptest! {
    #[test]
    fn no_message_makes_it_panic_and_no_client_can_move_its_failure_to_another_address(
        name in "( from |[0-9.:]{1,12}| port |ssh2|\\[preauth\\]|invalid user |\n|[a-z ]|.){0,12}",
        noise in ".{0,80}",
        program in 0usize..12,
    ) {
        let programs = programs();
        let program = programs[program % programs.len()];
        let _ = told(&said(program, ROOT, &noise));
        let _ = told(&said(program, ROOT, &format!("Failed {name}")));
        let failed = format!("Failed password for invalid user {name} from 10.0.0.7 port 55 ssh2");
        let line = of(&said("/usr/sbin/sshd", ROOT, &failed), |_| String::new());
        prop_assert!(matches!(line, Some(Line::Attempt(attempt, _)) if attempt.source == "10.0.0.7" && !attempt.succeeded));
        let closed = format!("Connection closed by invalid user {name} 10.0.0.7 port 55 [preauth]");
        let line = of(&said("/usr/sbin/sshd", ROOT, &closed), |_| String::new());
        prop_assert!(matches!(line, Some(Line::Closed(attempt, _)) if attempt.source == "10.0.0.7"));
    }
}
