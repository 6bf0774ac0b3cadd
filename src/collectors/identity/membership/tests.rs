use super::*;
use crate::collectors::{
    driver::compare,
    finding::{lines, sentences},
    tests::{End, Machine},
};

const TAKEN: &str = include_str!("../../../../tests/fixtures/identity/wbinfo-t.taken.txt");
const ONLINE: &str = include_str!("../../../../tests/fixtures/identity/wbinfo-online-status.txt");

fn look() -> Membership {
    Membership { computer: "nas".to_owned(), ..Membership::default() }
}

fn known(trust: Trust, online: Option<bool>, before: Option<&Known>) -> Known {
    let before = before.and_then(|before| before.get("EXAMPLE"));
    let member = member(trust, online, before).expect("somebody has answered");
    member.map(|member| ("EXAMPLE".to_owned(), member)).into_iter().collect()
}

#[test]
fn a_domain_that_is_joined_goes_away_refuses_the_account_and_is_left_is_told_step_by_step() {
    let steps = [
        (Trust::NotJoined, None),
        (Trust::Taken, Some(true)),
        (Trust::Unreachable("NT_STATUS_NO_LOGON_SERVERS".to_owned()), Some(true)),
        (Trust::Taken, Some(true)),
        (Trust::Refused("NT_STATUS_ACCESS_DENIED".to_owned()), Some(true)),
        (Trust::Taken, None),
        (Trust::NotJoined, None),
    ];
    let (mut before, mut told) = (None::<Known>, Vec::new());
    for (trust, online) in steps {
        let after = known(trust, online, before.as_ref());
        told.extend(compare(&look(), before.as_ref(), None, &after));
        before = serde_json::from_value(serde_json::to_value(after).unwrap()).unwrap();
    }
    let expected = [
        "Computer nas has joined its domain EXAMPLE",
        "Computer nas does not reach its domain EXAMPLE: NT_STATUS_NO_LOGON_SERVERS",
        "Computer nas reaches its domain EXAMPLE again",
        "Computer nas is refused by its domain EXAMPLE: NT_STATUS_ACCESS_DENIED",
        "Computer nas is taken by its domain EXAMPLE again",
        "Computer nas has left its domain EXAMPLE",
    ];
    assert_eq!(sentences(&told), expected);
    let levels: Vec<_> = lines(&told).iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(levels, ["info", "error", "info", "error", "info", "warn"]);
}

#[test]
fn what_is_wrong_at_first_is_told_and_what_nobody_answers_is_not() {
    let away = known(Trust::Unreachable("NT_STATUS_IO_TIMEOUT".to_owned()), None, None);
    assert_eq!(lines(&look().first_sight(&away)), ["error identity.computer.offline"]);
    assert_eq!(look().inventory(&away), "member of EXAMPLE");
    assert_eq!(member(Trust::Unknown, None, None), None);
    let offline = member(Trust::Unknown, Some(false), None).flatten().unwrap();
    assert!(!offline.is_online && offline.is_taken);
    let refused = known(Trust::Refused("NT_STATUS_ACCESS_DENIED".to_owned()), Some(true), None);
    assert_eq!(known(Trust::Unknown, Some(true), Some(&refused)), refused, "what is not told now has not changed");
}

#[test]
fn the_domain_stands_in_the_configuration_of_samba() {
    let of = |settings: &[(&str, &str)]| {
        configured(&settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    };
    assert_eq!(of(&[("security", "ADS"), ("workgroup", "example")]).as_deref(), Some("EXAMPLE"));
    assert_eq!(of(&[("server role", "member server")]).as_deref(), Some("WORKGROUP"));
    assert_eq!(of(&[("security", "user"), ("server role", "standalone server")]), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_are_asked_where_the_machine_is_a_member_and_a_domain_is_no_news_at_first_sight() {
    let machine = Machine::new();
    machine.write("proc/sys/kernel/hostname", "nas\n");
    machine.write("etc/samba/smb.conf", "[global]\nsecurity = ads\nworkgroup = example\n");
    machine.program("usr/bin/wbinfo", &wbinfo(TAKEN));
    machine.program("usr/sbin/sssctl", &sssctl("Online status: Offline"));
    let told = machine.run("identity", End::Clean, async |told| told.reaches(2).await).await;
    assert_eq!(told, ["error identity.computer.offline nas example.com", "info system.host.inventory identity"]);
    let told = machine.run("identity", End::Clean, async |told| told.reaches(0).await).await;
    assert_eq!(told, Vec::<String>::new());
}

fn wbinfo(trust: &str) -> String {
    format!("case $1 in\n-t) cat <<'E'\n{trust}E\n;;\n*) cat <<'E'\n{ONLINE}E\n;;\nesac")
}

fn sssctl(status: &str) -> String {
    format!("case $1 in\ndomain-list) echo example.com ;;\n*) echo '{status}' ;;\nesac")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_believed_when_it_is_seen_twice_and_where_nobody_answers_nothing_is_lost() {
    let machine = Machine::new();
    let (context, _log) = machine.ground("identity").await;
    machine.write("etc/samba/smb.conf", "[global]\nsecurity = ads\nworkgroup = example\n");
    machine.program("usr/bin/wbinfo", &wbinfo(TAKEN));
    machine.program("usr/sbin/sssctl", &sssctl("Online status: Offline"));
    let mut domain = look();
    let first = domain.look(&context, None).await.unwrap().unwrap();
    assert!(first["EXAMPLE"].is_taken && !first["example.com"].is_online);
    let refused = include_str!("../../../../tests/fixtures/identity/wbinfo-t.refused.txt");
    machine.program("usr/bin/wbinfo", &wbinfo(refused));
    assert_eq!(domain.look(&context, Some(&first)).await.unwrap(), None);
    let second = domain.look(&context, Some(&first)).await.unwrap().unwrap();
    assert!(!second["EXAMPLE"].is_taken);
    assert_eq!(context.sight.blind_to(""), Vec::<String>::new());
    machine.program("usr/bin/wbinfo", "exit 1");
    machine.program("usr/sbin/sssctl", &sssctl("Unable to get online status"));
    assert_eq!(domain.look(&context, Some(&second)).await.unwrap(), Some(second.clone()));
    assert_eq!(context.sight.blind_to(""), [WINBIND]);
    machine.program("usr/sbin/sssctl", "exit 1");
    let look = domain.look(&context, Some(&second)).await.unwrap();
    assert_eq!(look, Some(second.clone()), "sssd does not answer either");
    std::fs::remove_file(machine.path("etc/samba/smb.conf")).unwrap();
    std::fs::create_dir(machine.path("etc/samba/smb.conf")).unwrap();
    for _ in 0..2 {
        let look = domain.look(&context, Some(&second)).await.unwrap();
        assert_eq!(look, Some(second.clone()), "what cannot be read does not say that it has left");
    }
    assert!(context.sight.blind_to("").contains(&WINBIND.to_owned()));
}
