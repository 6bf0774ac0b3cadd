//! What a message of the journal tells of a login, and whether it is believed. Pure.
//!
//! Believed is what a process of root has said that was sshd, smbd or login: whoever can forge that is root. su and sudo speak as the
//! user who has called them, and that user may put words into their mouths; therefore they are believed only of that user
//! himself, whatever name the message has. A tag (`logger -t sshd`) says nothing.

use std::net::IpAddr;

use serde_json::Value;

use crate::host::journal::JournalRecord;

/// As much of a name as is told, characters; the longest that Linux takes has 32, a domain before it more.
const NAME_CHARS_MAX: usize = 128;
const ROOT: u32 = 0;
const SUPERUSER: &str = "root";

const SSHD: &[&str] = &[
    "/usr/sbin/sshd",
    "/usr/bin/sshd",
    "/usr/lib/openssh/sshd-session",
    "/usr/libexec/openssh/sshd-session",
    "/usr/lib/ssh/sshd-session",
];
const SMBD: &[&str] = &["/usr/sbin/smbd", "/usr/bin/smbd"];
const LOGIN: &[&str] = &["/usr/bin/login", "/bin/login"];
const SU: &[&str] = &["/usr/bin/su", "/bin/su"];
const SUDO: &[&str] = &["/usr/bin/sudo"];

/// The programs whose messages are read.
pub(super) fn programs() -> Vec<&'static str> {
    [SSHD, SMBD, LOGIN, SU, SUDO].concat()
}

/// Somebody has logged in, or failed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) succeeded: bool,
    /// Empty where it is not said.
    pub(super) user: String,
    /// Who the user becomes by it, if somebody else.
    pub(super) target: String,
    pub(super) method: String,
    /// An address, or empty: at the machine itself.
    pub(super) source: String,
    /// Why it failed, where that says more than that the proof was wrong.
    pub(super) reason: String,
    /// The number of the process that has said it, by which the end of a session is known.
    pub(super) process: u32,
    /// Unix milliseconds.
    pub(super) at: i64,
}

/// What a message tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// By which connection, where there is one: `10.0.0.7 50122`.
    Attempt(Attempt, String),
    /// A connection has ended before anybody was known. It is a failure unless one of it was told.
    Closed(Attempt, String),
    /// A session has ended; user and process are known of it.
    Left(Attempt),
}

/// Most tell nothing. `owner` knows the name of a user by the number.
pub(super) fn of(record: &JournalRecord, owner: impl FnOnce(u32) -> String) -> Option<Line> {
    let executable = record.executable.as_str();
    let (text, is_root) = (record.message.as_str(), record.uid == ROOT);
    let is = |programs: &[&str]| programs.contains(&executable);
    let mut line = match () {
        () if is(SSHD) && is_root => sshd(text)?,
        () if is(SMBD) && is_root => Line::Attempt(samba(text)?, String::new()),
        () if is(LOGIN) && is_root => match left(text, "login") {
            Some(left) => left,
            None => Line::Attempt(login(text)?, String::new()),
        },
        () if is(SU) => Line::Attempt(by_owner(su(text)?, record.uid, owner), String::new()),
        () if is(SUDO) => Line::Attempt(by_owner(sudo(text)?, record.uid, owner), String::new()),
        () => return None,
    };
    let (Line::Attempt(attempt, _) | Line::Closed(attempt, _) | Line::Left(attempt)) = &mut line;
    (attempt.at, attempt.process) = (record.at, record.process);
    for name in [&mut attempt.user, &mut attempt.target] {
        *name = name.chars().take(NAME_CHARS_MAX).collect();
    }
    Some(line)
}

/// Root may call su and sudo for anybody, and would not need to forge.
fn by_owner(attempt: Attempt, uid: u32, owner: impl FnOnce(u32) -> String) -> Attempt {
    if uid == ROOT { attempt } else { Attempt { user: owner(uid), ..attempt } }
}

/// `Accepted publickey for alice from 10.0.0.7 port 50122 ssh2: …`, `Failed password for invalid user x from …`, `Connection
/// closed by authenticating user alice 10.0.0.7 port 50122 [preauth]`. Names are what the client says: of the end of a connection
/// everything else is found from the end, of the rest by [`user_and_place`].
fn sshd(text: &str) -> Option<Line> {
    if let Some(left) = left(text, "sshd") {
        return Some(left);
    }
    let (verb, rest) = text.split_once(' ')?;
    if let "Accepted" | "Failed" = verb {
        let (method, rest) = rest.split_once(" for ")?;
        let method = method.split(['/', ' ']).next().unwrap_or_default();
        // `none` is how a client asks which ways there are.
        if method == "none" {
            return None;
        }
        let (user, (source, connection)) = user_and_place(method, rest)?;
        let (user, reason) = known(user);
        let attempt = Attempt {
            succeeded: verb == "Accepted",
            user,
            method: format!("ssh {method}"),
            source,
            reason,
            ..Attempt::default()
        };
        return Some(Line::Attempt(attempt, connection));
    }
    let rest = text.strip_suffix(" [preauth]")?;
    let rest = ["Connection closed by ", "Connection reset by ", "Disconnected from ", "Disconnecting "]
        .iter()
        .find_map(|beginning| rest.strip_prefix(beginning))?;
    let (name, is_invalid) = match rest.strip_prefix("authenticating user ") {
        Some(name) => (name, false),
        None => (rest.strip_prefix(INVALID)?, true),
    };
    let (name, port) = name.rsplit_once(" port ")?;
    let port = port.split(':').next().unwrap_or_default();
    let (name, address) = name.rsplit_once(' ')?;
    let attempt = Attempt {
        user: name.to_owned(),
        method: "ssh".to_owned(),
        source: source(address)?,
        reason: if is_invalid { NO_SUCH_USER.to_owned() } else { String::new() },
        ..Attempt::default()
    };
    let connection = connection(&attempt.source, port)?;
    Some(Line::Closed(attempt, connection))
}

/// `pam_unix(sshd:session): session closed for user alice`, by the process that has let the user in.
fn left(text: &str, service: &str) -> Option<Line> {
    let user = text.strip_prefix("pam_unix(")?.strip_prefix(service)?;
    let user = user.strip_prefix(":session): session closed for user ")?.trim().to_owned();
    Some(Line::Left(Attempt { user, ..Attempt::default() }))
}

/// `alice from 10.0.0.7 port 50122 ssh2: ED25519-CERT SHA256:… ID alice from laptop (serial 0) CA …`. A name that no user has is what
/// the client says; what a certificate is called says whoever has signed it, and for one that is refused that is anybody. Where
/// both may lie nothing is told here: the end of the connection is told by itself.
fn user_and_place<'a>(method: &str, text: &'a str) -> Option<(&'a str, (String, String))> {
    let mut found = text.match_indices("from ").filter_map(|(at, from)| {
        let user = text.get(..at)?.strip_suffix(' ')?;
        Some((user, place(text.get(at + from.len()..)?)?))
    });
    let first = found.next()?;
    match found.last() {
        None => Some(first),
        Some(_) if !text.starts_with(INVALID) => Some(first),
        // Nothing stands behind the place.
        Some(last) if matches!(method, "password" | "keyboard-interactive") => Some(last),
        Some(_) => None,
    }
}

/// `10.0.0.7 port 50122 ssh2`, at the end or with what is known of a key behind it: the address, and the connection.
fn place(text: &str) -> Option<(String, String)> {
    let (address, rest) = text.split_once(" port ").filter(|(address, _)| !address.contains(' '))?;
    let (port, rest) = rest.split_once(" ssh2")?;
    let source = source(address)?;
    let connection = connection(&source, port)?;
    (rest.is_empty() || rest.starts_with(": ")).then_some((source, connection))
}

const INVALID: &str = "invalid user ";
const NO_SUCH_USER: &str = "no such user";

fn known(user: &str) -> (String, String) {
    match user.strip_prefix(INVALID) {
        Some(user) => (user.to_owned(), NO_SUCH_USER.to_owned()),
        None => (user.to_owned(), String::new()),
    }
}

fn connection(source: &str, port: &str) -> Option<String> {
    let is_port = !port.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    is_port.then(|| format!("{source} {port}"))
}

/// An address as everybody writes it. sshd says `UNKNOWN` when the other end has gone.
fn source(address: &str) -> Option<String> {
    if address == "UNKNOWN" {
        return Some("unknown".to_owned());
    }
    let address: IpAddr = address.split('%').next()?.parse().ok()?;
    Some(address.to_canonical().to_string())
}

/// The JSON of `auth_json_audit`, which Samba writes with `logging = systemd` and `log level = 1 auth_json_audit:3`.
fn samba(text: &str) -> Option<Attempt> {
    let text = text.trim();
    if !text.starts_with('{') {
        return None;
    }
    let value: Value = serde_json::from_str(text).ok()?;
    let login = value.get("Authentication").filter(|_| value.get("type").is_some_and(|it| it == "Authentication"))?;
    let word = |key: &str| login.get(key).and_then(Value::as_str).unwrap_or_default();
    let status = word("status");
    // `ipv4:10.0.0.7:41552`, `ipv6:fe80::1:41552`
    let (address, _) = word("remoteAddress").split_once(':')?.1.rsplit_once(':')?;
    let succeeded = match status {
        "NT_STATUS_OK" => true,
        "" => return None,
        _ => false,
    };
    let reason = match status {
        "NT_STATUS_OK" | "NT_STATUS_WRONG_PASSWORD" | "NT_STATUS_LOGON_FAILURE" => "",
        "NT_STATUS_NO_SUCH_USER" => NO_SUCH_USER,
        "NT_STATUS_ACCOUNT_LOCKED_OUT" => "account locked out",
        "NT_STATUS_ACCOUNT_DISABLED" => "account disabled",
        "NT_STATUS_PASSWORD_EXPIRED" => "password expired",
        other => other.strip_prefix("NT_STATUS_").unwrap_or(other),
    };
    let account = if succeeded { word("becameAccount") } else { "" };
    Some(Attempt {
        succeeded,
        user: if account.is_empty() { word("clientAccount") } else { account }.to_owned(),
        method: "smb".to_owned(),
        source: source(address)?,
        reason: reason.chars().take(60).collect(),
        ..Attempt::default()
    })
}

/// `FAILED LOGIN 1 FROM tty1 FOR alice, Authentication failure` (util-linux), `FAILED LOGIN (1) on '/dev/tty1' FOR 'alice', …`
/// (shadow), and of both `pam_unix(login:session): session opened for user alice(uid=1000) by …`.
fn login(text: &str) -> Option<Attempt> {
    let attempt = Attempt { method: "login".to_owned(), ..Attempt::default() };
    if let Some(rest) = text.strip_prefix("FAILED LOGIN ") {
        let (where_from, name) = rest.split_once(" FOR ")?;
        let (name, _) = name.rsplit_once(", ")?;
        let address = where_from.split_once(" FROM ").and_then(|(_, from)| source(from)).unwrap_or_default();
        return Some(Attempt { user: name.trim_matches('\'').to_owned(), source: address, ..attempt });
    }
    let (name, _) = text.strip_prefix("pam_unix(login:session): session opened for user ")?.split_once('(')?;
    Some(Attempt { succeeded: true, user: name.to_owned(), ..attempt })
}

/// `(to root) alice on pts/0`, `FAILED SU (to root) alice on pts/0`.
fn su(text: &str) -> Option<Attempt> {
    let (succeeded, rest) = match text.strip_prefix("FAILED SU ") {
        Some(rest) => (false, rest),
        None => (true, text),
    };
    let (target, rest) = rest.strip_prefix("(to ")?.split_once(") ")?;
    let (user, _) = rest.rsplit_once(" on ")?;
    let (user, target, method) = (user.to_owned(), target.to_owned(), "su".to_owned());
    Some(Attempt { succeeded, user, target, method, ..Attempt::default() })
}

/// `   alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/usr/bin/id`; what went wrong stands before the first `=`. The caller
/// names the directory and the command as he likes: where they name users, too, the one with the most rights counts.
fn sudo(text: &str) -> Option<Attempt> {
    let (user, rest) = text.trim_start().split_once(" : ")?;
    let (first, _) = rest.split_once(" ; ")?;
    let mut targets = rest.split(" ; USER=").skip(1).filter_map(|it| Some(it.split_once(" ; ")?.0));
    let first_target = targets.next()?;
    let target = targets.find(|target| *target == SUPERUSER).unwrap_or(first_target);
    let succeeded = first.split_once('=').is_some_and(|(key, _)| key.bytes().all(|byte| byte.is_ascii_uppercase()));
    let is_password = first.ends_with("incorrect password attempt") || first.ends_with("incorrect password attempts");
    let reason = if succeeded || is_password { String::new() } else { first.chars().take(60).collect() };
    let (user, target, method) = (user.to_owned(), target.to_owned(), "sudo".to_owned());
    Some(Attempt { succeeded, user, target, method, reason, ..Attempt::default() })
}

#[cfg(test)]
pub(super) mod tests;
