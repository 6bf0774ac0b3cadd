//! The membership as a domain of the driver: winbind is asked where smb.conf says that the machine is a member, sssd where it has
//! domains. A change is believed when two looks see the same: a server that is slow once is not away.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::answers::{self, Trust};
use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding, settling::Settling, sharing},
    event::Level,
    host::{
        Host,
        command::{CommandError, Program},
    },
    schema::events::{IdentityComputerPayload, identity_computer_payload::IdentityComputerOperation as Operation},
};

/// Programs are run no more often than this.
const INTERVAL: Duration = Duration::from_secs(120);
/// Between the look that sees a change and the one that believes it.
const SETTLE: Duration = Duration::from_secs(60);
/// Servers that do not answer are waited for.
const TIMEOUT: Duration = Duration::from_secs(30);
const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// The most domains of sssd that are asked for.
const DOMAINS_MAX: usize = 8;
const WBINFO: &[&str] = &["/usr/bin/wbinfo"];
const NET: &[&str] = &["/usr/bin/net"];
const SSSCTL: &[&str] = &["/usr/sbin/sssctl"];
const WINBIND: &str = "the domain by winbind";
const SSSD: &str = "domains by sssd";
const COMPONENT: &str = "membership";

/// By domain.
type Known = BTreeMap<String, Member>;

/// What is known of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Member {
    /// Who tells it: one that cannot be asked now has not lost its domain.
    by_sssd: bool,
    is_online: bool,
    is_taken: bool,
    /// Why it is not.
    #[serde(default)]
    detail: String,
}

/// The look at it.
#[derive(Default)]
pub(super) struct Membership {
    settling: Settling<Known>,
    wbinfo: Option<Program>,
    net: Option<Program>,
    sssctl: Option<Program>,
    /// The machine's name.
    computer: String,
}

impl Domain for Membership {
    const NAME: &'static str = "membership";
    type Known = Known;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, before: Option<&Known>) -> Result<Option<Known>, CollectError> {
        let look = |host: &Host| {
            let domain = sharing::samba_settings(host).map(|settings| settings.as_ref().and_then(configured));
            Ok((host.hostname().unwrap_or_default(), domain))
        };
        let (computer, domain) = context.look("read smb.conf", look).await?;
        self.computer = computer;
        let mut seen = Known::new();
        let is_known =
            |by_sssd: bool| before.into_iter().flatten().filter(move |(_, member)| member.by_sssd == by_sssd);
        match domain {
            Ok(Some(domain)) => {
                match self.winbind(context, &domain, before.and_then(|before| before.get(&domain))).await? {
                    Some(member) => seen.extend(member.map(|member| (domain, member))),
                    None => seen.extend(is_known(false).map(|(domain, member)| (domain.clone(), member.clone()))),
                }
            }
            Ok(None) => context.sees(WINBIND).await?,
            // Whether it is in a domain is not known now: it is where it was.
            Err(why) => {
                context.is_blind(WINBIND, &why).await?;
                seen.extend(is_known(false).map(|(domain, member)| (domain.clone(), member.clone())));
            }
        }
        match self.sssd(context, before).await? {
            Some(members) => seen.extend(members),
            None => seen.extend(is_known(true).map(|(domain, member)| (domain.clone(), member.clone()))),
        }
        Ok(self.settling.believed(before, seen))
    }

    fn first_sight(&self, known: &Known) -> Vec<Finding> {
        known.iter().flat_map(|(domain, member)| self.wrong(domain, None, member)).collect()
    }

    fn diff(&self, before: &Known, after: &Known) -> Vec<Finding> {
        let mut findings = Vec::new();
        for domain in before.keys().filter(|domain| !after.contains_key(*domain)) {
            findings.push(self.finding(Level::Warn, domain, Operation::Left, ""));
        }
        for (domain, is) in after {
            let was = before.get(domain);
            if was.is_none() {
                findings.push(self.finding(Level::Info, domain, Operation::Joined, ""));
            }
            findings.extend(self.wrong(domain, was, is));
        }
        findings
    }

    fn inventory(&self, known: &Known) -> String {
        let names: Vec<_> = known.keys().map(String::as_str).collect();
        if names.is_empty() { String::new() } else { format!("member of {}", names.join(", ")) }
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }

    async fn wake(&mut self, _: &Context) -> Result<(), CollectError> {
        self.settling.in_doubt(SETTLE).await;
        Ok(())
    }
}

impl Membership {
    /// How the machine is with its domain; the inner none where it is not in it, the outer one where nobody could be asked.
    async fn winbind(
        &mut self,
        context: &Context,
        domain: &str,
        before: Option<&Member>,
    ) -> Result<Option<Option<Member>>, CollectError> {
        let host = &context.host;
        let wbinfo = Program::found(&mut self.wbinfo, host, WBINFO, TIMEOUT, OUTPUT_BYTES_MAX);
        let (mut trust, mut online) = (Trust::Unknown, None);
        if let Some(wbinfo) = wbinfo {
            online = said(wbinfo.run_for_all_it_says(&["--online-status"]).await)
                .and_then(|answer| answers::is_online(&answer, domain));
            trust = said(wbinfo.run_for_all_it_says(&["-t"]).await)
                .map_or(Trust::Unknown, |answer| answers::trust(&answer));
        }
        // winbindd does not run, or is not installed: root can ask the domain itself.
        if trust == Trust::Unknown && may_ask(host) {
            let net = Program::found(&mut self.net, host, NET, TIMEOUT, OUTPUT_BYTES_MAX);
            if let Some(net) = net {
                trust = said(net.run_for_all_it_says(&["ads", "testjoin"]).await)
                    .map_or(Trust::Unknown, |answer| answers::join(&answer));
            }
        }
        let why = "smb.conf says that this machine is in a domain, and winbindd does not answer".to_owned();
        context.note(WINBIND, (trust == Trust::Unknown && online.is_none()).then_some(why)).await?;
        Ok(member(trust, online, before))
    }

    /// None where it cannot be asked.
    async fn sssd(&mut self, context: &Context, before: Option<&Known>) -> Result<Option<Known>, CollectError> {
        let host = &context.host;
        let sssctl = Program::found(&mut self.sssctl, host, SSSCTL, TIMEOUT, OUTPUT_BYTES_MAX);
        let Some(sssctl) = sssctl else {
            context.sight.is_not_meant_to_see(SSSD, "");
            return Ok(Some(Known::new()));
        };
        let may_ask = may_ask(host);
        context.sight.is_not_meant_to_see(SSSD, if may_ask { "" } else { "sssctl answers root alone" });
        if !may_ask {
            return Ok(None);
        }
        let Ok(listed) = sssctl.run(&["domain-list"]).await else {
            context.is_blind(SSSD, "sssctl domain-list does not answer").await?;
            return Ok(None);
        };
        context.sees(SSSD).await?;
        let mut members = Known::new();
        for domain in answers::domains(&listed).into_iter().take(DOMAINS_MAX) {
            let answer = said(sssctl.run_for_all_it_says(&["domain-status", &domain]).await);
            let was = before.and_then(|before| before.get(&domain));
            let is_online =
                answer.as_deref().and_then(answers::status).or(was.map(|was| was.is_online)).unwrap_or(true);
            members.insert(domain, Member { by_sssd: true, is_online, is_taken: true, detail: String::new() });
        }
        Ok(Some(members))
    }

    /// What is wrong, or is no more; `was` is none where nothing is known before.
    fn wrong(&self, domain: &str, was: Option<&Member>, is: &Member) -> Vec<Finding> {
        let mut findings = Vec::new();
        if was.is_none_or(|was| was.is_online) != is.is_online {
            findings.push(match is.is_online {
                true => self.finding(Level::Info, domain, Operation::Online, ""),
                false => self.finding(Level::Error, domain, Operation::Offline, &is.detail),
            });
        }
        if was.is_none_or(|was| was.is_taken) != is.is_taken {
            findings.push(match is.is_taken {
                true => self.finding(Level::Info, domain, Operation::AccountTaken, ""),
                false => self.finding(Level::Error, domain, Operation::AccountRefused, &is.detail),
            });
        }
        findings
    }

    fn finding(&self, level: Level, domain: &str, operation: Operation, detail: &str) -> Finding {
        let action = match operation {
            Operation::Left => "left",
            Operation::Joined => "joined",
            Operation::Online => "online",
            Operation::Offline => "offline",
            Operation::AccountTaken => "account taken",
            _ => "account refused",
        };
        let payload = IdentityComputerPayload {
            computer_name: self.computer.clone(),
            domain: domain.to_owned(),
            detail: detail.to_owned(),
            operation: operation.into(),
            ..Default::default()
        };
        Finding::new(level, payload, COMPONENT, action)
    }
}

fn may_ask(host: &Host) -> bool {
    !host.is_live() || nix::unistd::geteuid().is_root()
}

fn said(answer: Result<String, CommandError>) -> Option<String> {
    answer.inspect_err(|error| tracing::debug!(%error, "a program does not tell of the domain")).ok()
}

/// What the answers come to; of what they do not tell, what was known stays.
fn member(trust: Trust, online: Option<bool>, before: Option<&Member>) -> Option<Option<Member>> {
    let (was_online, was_taken) = before.map_or((true, true), |before| (before.is_online, before.is_taken));
    let (is_online, is_taken, detail) = match trust {
        Trust::NotJoined => return Some(None),
        Trust::Unknown => (online?, was_taken, before.map(|before| before.detail.clone()).unwrap_or_default()),
        Trust::Taken => (online.unwrap_or(true), true, String::new()),
        Trust::Refused(why) => (online.unwrap_or(was_online), false, why),
        Trust::Unreachable(why) => (false, was_taken, why),
    };
    Some(Some(Member { by_sssd: false, is_online, is_taken, detail }))
}

/// The domain that Samba's configuration makes the machine a member of.
fn configured(global: &BTreeMap<String, String>) -> Option<String> {
    let setting = |key: &str| global.get(key).map(|value| value.to_lowercase()).unwrap_or_default();
    let is_member =
        matches!(setting("security").as_str(), "ads" | "domain") || setting("server role").starts_with("member");
    is_member.then(|| global.get("workgroup").map_or_else(|| "WORKGROUP".to_owned(), |name| name.to_uppercase()))
}

#[cfg(test)]
mod tests;
