//! What winbind's and sssd's programs answer of a domain. Pure.

/// Whether a domain takes the machine's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    Taken,
    /// It does not, and why.
    Refused(String),
    /// No server of it has answered.
    Unreachable(String),
    /// The machine has no account there.
    NotJoined,
    /// Nobody could be asked.
    Unknown,
}

/// As much of an answer as is told, characters.
const DETAIL_CHARS_MAX: usize = 120;

/// Of `wbinfo -t`, both outputs: `checking the trust secret for domain EXAMPLE via RPC calls succeeded`.
pub(super) fn trust(answer: &str) -> Trust {
    if answer
        .lines()
        .any(|line| line.starts_with("checking the trust secret") && line.trim_end().ends_with("succeeded"))
    {
        return Trust::Taken;
    }
    if answer.contains("WBC_ERR_WINBIND_NOT_AVAILABLE") {
        return Trust::Unknown;
    }
    let Some(code) = code(answer) else { return Trust::Unknown };
    let has = |words: &[&str]| words.iter().any(|word| code.contains(word));
    if has(&["CANT_ACCESS_DOMAIN_INFO", "NO_TRUST_LSA_SECRET", "INVALID_COMPUTER_NAME"]) {
        Trust::NotJoined
    } else if has(&[
        "NO_LOGON_SERVERS",
        "DOMAIN_CONTROLLER_NOT_FOUND",
        "UNREACHABLE",
        "TIMEOUT",
        "CONNECTION",
        "NO_SUCH_DOMAIN",
    ]) {
        Trust::Unreachable(code.to_owned())
    } else if has(&["ACCESS_DENIED", "NO_TRUST_SAM_ACCOUNT", "WRONG_PASSWORD", "LOGON_FAILURE", "TRUSTED", "ACCOUNT"]) {
        Trust::Refused(code.to_owned())
    } else {
        Trust::Unknown
    }
}

/// `NT_STATUS_ACCESS_DENIED`
fn code(answer: &str) -> Option<&str> {
    let from = answer.get(answer.find("NT_STATUS_")?..)?;
    let end = from.find(|letter: char| !(letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_'));
    from.get(..end.unwrap_or(from.len()))
}

/// Of `net ads testjoin`, which asks the domain itself where winbindd does not run.
pub(super) fn join(answer: &str) -> Trust {
    if answer.contains("Join is OK") {
        return Trust::Taken;
    }
    match answer.lines().find_map(|line| line.split_once("Join to domain is not valid:")) {
        Some((_, why)) if why.contains("logon servers") || why.contains("reached") || why.contains("timed out") => {
            Trust::Unreachable(detail(why))
        }
        Some((_, why)) => Trust::Refused(detail(why)),
        None => Trust::Unknown,
    }
}

/// Of `wbinfo --online-status`: `EXAMPLE : active connection`, `EXAMPLE : no active connection`, and of older versions `online` and
/// `offline`; none where the domain is not among them.
pub(super) fn is_online(answer: &str, domain: &str) -> Option<bool> {
    answer.lines().find_map(|line| {
        let (name, status) = line.split_once(" : ")?;
        name.trim().eq_ignore_ascii_case(domain).then(|| matches!(status.trim(), "active connection" | "online"))
    })
}

/// Of `sssctl domain-list`: a domain a line.
pub(super) fn domains(answer: &str) -> Vec<String> {
    let is_name = |line: &&str| {
        !line.is_empty()
            && *line != "implicit_files"
            && line.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'))
    };
    answer.lines().map(str::trim).filter(is_name).map(str::to_owned).collect()
}

/// Of `sssctl domain-status DOMAIN`: `Online status: Offline`.
pub(super) fn status(answer: &str) -> Option<bool> {
    let status = answer.lines().find_map(|line| line.trim().strip_prefix("Online status:"))?;
    match status.trim() {
        "Online" => Some(true),
        "Offline" => Some(false),
        _ => None,
    }
}

fn detail(text: &str) -> String {
    text.trim().trim_end_matches('.').chars().take(DETAIL_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REFUSED: &str = include_str!("../../../tests/fixtures/identity/wbinfo-t.refused.txt");
    const UNREACHABLE: &str = include_str!("../../../tests/fixtures/identity/wbinfo-t.unreachable.txt");
    const NOT_JOINED: &str = include_str!("../../../tests/fixtures/identity/wbinfo-t.not-joined.txt");
    const NOT_RUNNING: &str = include_str!("../../../tests/fixtures/identity/wbinfo-t.not-running.txt");
    const TAKEN: &str = include_str!("../../../tests/fixtures/identity/wbinfo-t.taken.txt");
    const ONLINE: &str = include_str!("../../../tests/fixtures/identity/wbinfo-online-status.txt");
    const STATUS: &str = include_str!("../../../tests/fixtures/identity/sssctl-domain-status.txt");

    #[test]
    fn what_winbind_says_of_the_account_is_read() {
        assert_eq!(trust(TAKEN), Trust::Taken);
        assert_eq!(trust(REFUSED), Trust::Refused("NT_STATUS_ACCESS_DENIED".to_owned()));
        assert_eq!(trust(UNREACHABLE), Trust::Unreachable("NT_STATUS_NO_LOGON_SERVERS".to_owned()));
        assert_eq!(trust(NOT_JOINED), Trust::NotJoined);
        assert_eq!(trust(NOT_RUNNING), Trust::Unknown);
        assert_eq!(trust(""), Trust::Unknown);
        assert_eq!(
            trust("checking the NETLOGON for domain EXAMPLE dc connection to \"dc\" succeeded\n"),
            Trust::Unknown
        );
    }

    #[test]
    fn what_net_says_of_the_join_is_read() {
        assert_eq!(join("Join is OK\n"), Trust::Taken);
        let refused = "kerberos_kinit_password NAS$@EXAMPLE.COM failed: Preauthentication failed\nJoin to domain is not valid: \
                       The attempted logon is invalid. This is either due to a bad username or authentication information.\n";
        let why = "The attempted logon is invalid. This is either due to a bad username or authentication information";
        assert_eq!(join(refused), Trust::Refused(why.to_owned()));
        let away =
            "Join to domain is not valid: No logon servers are currently available to service the logon request.\n";
        assert!(matches!(join(away), Trust::Unreachable(_)));
        assert_eq!(join("No secrets.tdb"), Trust::Unknown);
    }

    #[test]
    fn whether_a_domain_is_online_is_read_of_both_and_of_older_versions() {
        assert_eq!(is_online(ONLINE, "example"), Some(true));
        assert_eq!(is_online(&ONLINE.replace(": active", ": no active"), "EXAMPLE"), Some(false));
        assert_eq!(is_online("EXAMPLE : offline\n", "EXAMPLE"), Some(false));
        assert_eq!(is_online(ONLINE, "OTHER"), None);
        assert_eq!(status(STATUS), Some(true));
        assert_eq!(status("Online status: Offline\n"), Some(false));
        assert_eq!(status("Unable to get online status\n"), None);
        assert_eq!(
            domains("implicit_files\nexample.com\nad.example.com\nError: no\n"),
            ["example.com", "ad.example.com"]
        );
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic_and_none_that_is_cut_makes_the_account_taken(at in 0_usize..80, noise in ".{0,60}") {
            for read in [trust, join] {
                let _ = read(&noise);
                let _ = read(&format!("{noise}NT_STATUS_{noise}"));
            }
            let cut: String = TAKEN.trim_end().chars().take(at.min(TAKEN.trim_end().len() - 1)).collect();
            prop_assert_ne!(trust(&cut), Trust::Taken);
            let _ = (is_online(&noise, "a"), status(&noise), domains(&noise));
        }
    }
}
