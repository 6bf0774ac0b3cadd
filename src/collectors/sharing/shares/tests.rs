use proptest::prelude::*;

use super::*;
use crate::collectors::{
    finding::{lines, sentences},
    tests::Machine,
};

const CONF: &str = include_str!("../../../../tests/fixtures/samba/smb.conf");

fn machine(files: &[(&str, &str)]) -> Looked {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    look(&Host::at(root.path()))
}

fn told(before: &[(&str, &str)], after: &[(&str, &str)]) -> Vec<String> {
    sentences(&Shares::default().diff(&known(&machine(before)), &known(&machine(after))))
}

#[test]
fn a_share_of_samba_that_comes_changes_and_goes_is_told() {
    let conf = |text: &str| machine(&[("etc/samba/smb.conf", text)]);
    let with = format!("{CONF}[photos]\n path = /srv/photos\n valid users = alice, @family\n");
    let diff =
        |before: &str, after: &str| sentences(&Shares::default().diff(&known(&conf(before)), &known(&conf(after))));
    assert_eq!(diff(CONF, &with), ["Share photos was created: /srv/photos, smb, read-only"]);
    assert_eq!(diff(&with, CONF), ["Share photos was deleted: /srv/photos, smb"]);
    let gone = Shares::default().diff(&known(&conf(&with)), &known(&conf(CONF)));
    assert_eq!(gone.iter().map(|it| it.level).collect::<Vec<_>>(), [Level::Warn]);
    let open = with.replace("@family\n", "@family\n guest ok = yes\n");
    assert_eq!(diff(&with, &open), ["Share photos was changed: /srv/photos, smb, read-only, changed: guest ok"]);
    let off = with.replace("@family\n", "@family\n available = no\n");
    assert_eq!(diff(&with, &off), ["Share photos was disabled: /srv/photos, smb"]);
    assert_eq!(diff(&off, &with), ["Share photos was enabled: /srv/photos, smb"]);
    let writable = with.replace("[global]\n", "[global]\nwriteable = yes\n");
    assert_eq!(diff(&with, &writable), ["Share photos was changed: /srv/photos, smb, changed: read only"]);
    assert_eq!(diff(&with, &with), Vec::<String>::new());
}

#[test]
fn an_export_that_comes_changes_and_goes_is_told_and_a_server_that_stops_has_given_up_none() {
    let exports = ("etc/exports", "/srv/x 10.0.0.0/24(rw)\n");
    let zfs = ("etc/exports.d/zfs.exports", "/tank *(ro)\n");
    for none in ["etc/exports.d/zfs.exports.old", "etc/exports.d/.swp.exports"] {
        assert_eq!(told(&[exports], &[exports, (none, "/tank *(ro)\n")]), Vec::<String>::new(), "{none}");
    }
    let etab = ("var/lib/nfs/etab", include_str!("../../../../tests/fixtures/nfs/etab"));
    assert_eq!(told(&[exports], &[exports, zfs]), ["Share /tank was created: /tank, nfs, read-only, for *(ro)"]);
    assert_eq!(told(&[exports, zfs], &[exports]), ["Share /tank was deleted: /tank, nfs"]);
    let open = ("etc/exports", "/srv/x 10.0.0.0/24(rw,no_root_squash) *(ro)\n");
    let expected =
        "Share /srv/x was changed: /srv/x, nfs, for *(ro), 10.0.0.0/24(rw,no_root_squash), changed: *, 10.0.0.0/24";
    assert_eq!(told(&[exports], &[open]), [expected]);
    assert_eq!(told(&[exports, etab], &[exports]), Vec::<String>::new());
    assert_eq!(told(&[], &[etab]).len(), 1, "what is in force alone is offered, too");
}

#[test]
fn names_with_what_nobody_sees_do_not_get_onto_a_screen() {
    let evil = "a\u{1b}[2J\u{202e}b";
    let conf = format!("[{evil}]\npath = /srv/{evil}\nvalid users = {evil}\n");
    let told = told(&[], &[("etc/samba/smb.conf", &conf), ("etc/exports", "/srv/\\033[2J h\u{9b}2J(rw)\n")]);
    let expected = [
        "Share /srv/\\u{1b}[2J was created: /srv/\\u{1b}[2J, nfs, for h\\u{9b}2J(rw)",
        "Share a\\u{1b}[2J\\u{202e}b was created: /srv/a\\u{1b}[2J\\u{202e}b, smb, read-only",
    ];
    assert_eq!(told, expected);
}

#[test]
fn includes_are_followed_and_one_that_goes_round_ends() {
    let round = "include = /etc/samba/smb.conf\n[round]\npath = /srv/r\ninclude = /etc/samba/%m.conf\n";
    let looked = machine(&[("etc/samba/smb.conf", round)]);
    assert_eq!(known(&looked).keys().collect::<Vec<_>>(), ["smb round"]);
    assert!(looked.unseen.is_empty());
}

#[test]
fn what_there_is_is_an_inventory_and_printers_are_no_shares() {
    let looked = machine(&[
        ("etc/samba/smb.conf", &format!("{CONF}[printers]\npath = /tmp\n[print$]\n")),
        ("etc/exports", "/srv/x *\n/srv/y *\n"),
    ]);
    let shares = Shares::default();
    assert_eq!(shares.inventory(&known(&looked)), "shares by SMB: 1; shares by NFS: 2");
    assert_eq!(lines(&shares.first_sight(&known(&looked))), Vec::<String>::new());
    assert!(machine(&[]).exports.is_none() && machine(&[]).conf.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_of_the_registry_are_shares_and_what_cannot_be_asked_for_or_was_seen_only_once_has_not_changed() {
    let machine = Machine::new();
    let (context, _log) = machine.ground("sharing").await;
    let conf =
        |shares: &str| machine.write("etc/samba/smb.conf", &format!("[global]\nconfig backend = registry\n{shares}"));
    let mut shares = Shares::default();
    machine.program("usr/bin/net", "printf '[photos]\\n\\tpath = /srv/photos\\n'");
    conf("[data]\npath = /srv/data\n");
    let first = shares.look(&context, None).await.unwrap().unwrap();
    assert_eq!(first.keys().collect::<Vec<_>>(), ["smb data", "smb photos"]);
    assert_eq!(first["smb photos"].settings["path"], "/srv/photos");
    machine.program("usr/bin/net", "exit 1");
    assert_eq!(shares.look(&context, Some(&first)).await.unwrap(), Some(first.clone()));
    machine.program("usr/bin/net", "printf '[photos]\\n\\tpath = /srv/photos\\n'");
    conf("");
    assert_eq!(shares.look(&context, Some(&first)).await.unwrap(), None);
    let second = shares.look(&context, Some(&first)).await.unwrap().unwrap();
    assert_eq!(second.keys().collect::<Vec<_>>(), ["smb photos"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn no_configuration_makes_it_panic_and_the_same_again_is_no_news(conf in "(\\[[a-z]{0,3}\\]|=|available|no|yes|\n|.){0,40}", exports in "(/[a-z]{1,2}|\\(|rw|,| |\n|.){0,40}") {
        let files = [("etc/samba/smb.conf", conf.as_str()), ("etc/exports", exports.as_str())];
        let (one, other) = (known(&machine(&files)), known(&machine(&files)));
        prop_assert_eq!(Shares::default().diff(&one, &other), vec![]);
        let _ = Shares::default().diff(&Known::new(), &one);
    }
}
