//! Who uses Samba's shares, as a domain: `smbstatus -j` is asked in turn. It answers root alone.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use super::connection;
use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding},
    host::command::Program,
};

const SMBSTATUS: &[&str] = &["/usr/bin/smbstatus", "/usr/local/samba/bin/smbstatus"];
const TIMEOUT: Duration = Duration::from_secs(20);
/// Some ten thousand sessions.
const OUTPUT_BYTES_MAX: usize = 8 * 1024 * 1024;
const INTERVAL: Duration = Duration::from_secs(15);
/// One of them is there while smbd runs: of Debian and its kin, of Fedora and its kin, of what was built by hand.
const PID_FILES: [&str; 3] = ["/run/samba/smbd.pid", "/run/smbd.pid", "/usr/local/samba/var/run/smbd.pid"];
/// The most sessions that are followed; the others are a blind spot.
const SESSIONS_MAX: usize = 4096;

/// Share, user, address, dialect.
type Known = BTreeSet<(String, String, String, String)>;

/// The look at them.
#[derive(Default)]
pub(super) struct SmbSessions {
    smbstatus: Option<Program>,
}

impl Domain for SmbSessions {
    const NAME: &'static str = "sessions by smb";
    type Known = Known;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, _: Option<&Known>) -> Result<Option<Known>, CollectError> {
        let host = &context.host;
        let smbstatus = Program::found(&mut self.smbstatus, host, SMBSTATUS, TIMEOUT, OUTPUT_BYTES_MAX);
        let Some(smbstatus) = smbstatus else { return Ok(None) };
        let may_ask = !host.is_live() || nix::unistd::geteuid().is_root();
        let why = if may_ask { "" } else { "smbstatus answers root alone" };
        context.sight.is_not_meant_to_see(Self::NAME, why);
        if !may_ask {
            return Ok(None);
        }
        if !PID_FILES.iter().any(|file| host.path(file).exists()) {
            return Ok(Some(Known::new()));
        }
        let answer = smbstatus.run(&["-j"]).await;
        let answer = answer.map_err(|error| CollectError::failed("ask for the sessions on shares", error))?;
        let Some((known, beyond)) = parse(&answer) else {
            return Err(CollectError::failed("read what smbstatus -j says", "it is no JSON of sessions"));
        };
        let beyond = (beyond > 0).then(|| format!("more than {SESSIONS_MAX} are open, {beyond} are not followed"));
        context.note("all sessions by smb", beyond).await?;
        Ok(Some(known))
    }

    fn first_sight(&self, _: &Known) -> Vec<Finding> {
        Vec::new()
    }

    fn diff(&self, before: &Known, after: &Known) -> Vec<Finding> {
        let of = |(share, user, address, dialect): &(String, String, String, String), has_come: bool| {
            connection(share, user, address, dialect, has_come)
        };
        let gone = before.difference(after).map(|it| of(it, false));
        gone.chain(after.difference(before).map(|it| of(it, true))).collect()
    }

    fn inventory(&self, known: &Known) -> String {
        if known.is_empty() { String::new() } else { format!("sessions by SMB: {}", known.len()) }
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }
}

/// Connections to shares with the sessions that they are of, and how many are beyond the bound. `IPC$` is how a client asks what
/// shares there are.
fn parse(answer: &str) -> Option<(Known, usize)> {
    let value: Value = serde_json::from_str(answer).ok()?;
    let (sessions, shares) = (value.get("sessions")?, value.get("tcons")?.as_object()?);
    let (mut known, mut beyond) = (Known::new(), 0);
    for share in shares.values() {
        let word = |of: &Value, key: &str| of.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = word(share, "service");
        if name.is_empty() || name == "IPC$" {
            continue;
        }
        let nobody = Value::Null;
        let session = sessions.get(word(share, "session_id")).unwrap_or(&nobody);
        let entry =
            (name, word(session, "username"), word(share, "machine"), dialect(&word(session, "session_dialect")));
        if known.len() < SESSIONS_MAX || known.contains(&entry) {
            known.insert(entry);
        } else {
            beyond += 1;
        }
    }
    Some((known, beyond))
}

/// `SMB3_11` is `smb3.11`.
fn dialect(text: &str) -> String {
    if text.is_empty() { "smb".to_owned() } else { text.to_lowercase().replace('_', ".") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::collectors::{finding::sentences, tests::Machine};

    /// As a real Samba 4.17 says it.
    const STATUS: &str = include_str!("../../../tests/fixtures/samba/smbstatus.json");

    #[test]
    fn a_client_that_opens_a_share_and_leaves_it_is_told_with_user_and_address() {
        let (with, _) = parse(STATUS).unwrap();
        let (without, _) = parse(r#"{"sessions": {}, "tcons": {}, "open_files": {}}"#).unwrap();
        let look = SmbSessions::default();
        assert_eq!(sentences(&look.diff(&without, &with)), ["Share data was opened by alice, from 127.0.0.1, smb3.11"]);
        assert_eq!(sentences(&look.diff(&with, &without)), ["Share data was closed by alice, from 127.0.0.1, smb3.11"]);
        assert_eq!((look.first_sight(&with), look.inventory(&with)), (vec![], "sessions by SMB: 1".to_owned()));
    }

    #[test]
    fn how_clients_ask_for_shares_is_no_session_and_beyond_the_bound_they_are_counted() {
        let ipc = STATUS.replace("\"data\"", "\"IPC$\"");
        assert_eq!(parse(&ipc).unwrap().0, Known::new());
        let share = |number: usize| format!(r#""{number}": {{"service": "s{number}", "machine": "10.0.0.7"}}"#);
        let shares: Vec<_> = (0..SESSIONS_MAX + 5).map(share).collect();
        let (known, beyond) = parse(&format!(r#"{{"sessions": {{}}, "tcons": {{{}}}}}"#, shares.join(","))).unwrap();
        assert_eq!((known.len(), beyond), (SESSIONS_MAX, 5));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn where_samba_does_not_run_nobody_is_asked_and_there_are_no_sessions() {
        let machine = Machine::new();
        let (context, _log) = machine.ground("sharing").await;
        let mut look = SmbSessions::default();
        assert_eq!(look.look(&context, None).await.unwrap(), None, "there is no Samba");
        machine.program("usr/bin/smbstatus", &format!("cat <<'E'\n{STATUS}E"));
        assert_eq!(look.look(&context, None).await.unwrap(), Some(Known::new()));
        machine.write("run/smbd.pid", "7\n");
        assert_eq!(look.look(&context, None).await.unwrap().unwrap().len(), 1);
        machine.program("usr/bin/smbstatus", "echo 'cannot open sessionid.tdb'");
        assert!(look.look(&context, None).await.is_err(), "it is a blind spot");
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic_and_one_that_is_cut_is_none(at in 0usize..940, noise in ".{0,20}") {
            let end = STATUS.trim_end().len();
            let cut: String = STATUS.chars().take(at.min(end - 1)).collect();
            prop_assert_eq!(parse(&cut), None);
            let _ = parse(&format!("{cut}{noise}"));
        }
    }
}
