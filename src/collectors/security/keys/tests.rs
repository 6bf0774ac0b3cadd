use std::{fs, os::unix::fs::PermissionsExt as _};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::collectors::{
    driver::compare,
    finding::{lines, sentences},
    tests::Machine,
};

/// By ssh-keygen, with what `ssh-keygen -l` says of each behind it.
const KEYS: &str = include_str!("../../../../tests/fixtures/logins/authorized_keys");
const PRINTS: [&str; 3] = [
    "SHA256:FhI7qghYe5jnyYO1q/XlHEnXKqcFplY6j0joCy89nqk",
    "SHA256:TWwS7CDcdgaN3i5lFKuY1Wd2AarjQpdi7S+gbpTUad8",
    "SHA256:l6/tY19QrtPxqUJaVxKrOokHHdS2+taNMNzaBkasYzU",
];
const PASSWD: &str =
    "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/sh\nbin:x:2:2::/bin:/usr/sbin/nologin\n";

fn machine(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in [("etc/passwd", PASSWD)].iter().chain(files) {
        place(&root, path, text);
    }
    root
}

fn place(root: &TempDir, path: &str, text: &str) {
    let path = root.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn known(root: &TempDir) -> Known {
    look(&Host::at(root.path())).unwrap().known
}

fn line(at: usize) -> &'static str {
    KEYS.lines().nth(at).unwrap()
}

#[test]
fn fingerprints_are_those_of_ssh_keygen_with_type_and_comment() {
    let root = machine(&[("home/alice/.ssh/authorized_keys", KEYS)]);
    let known = known(&root);
    assert_eq!(known["alice"].keys().map(String::as_str).collect::<Vec<_>>(), PRINTS);
    let of = |print: &str| (known["alice"][print].kind.as_str(), known["alice"][print].comment.as_str());
    assert_eq!(of(PRINTS[0]), ("ssh-rsa", "backup of nas"));
    assert_eq!(of(PRINTS[1]), ("ecdsa-sha2-nistp256", ""));
    assert_eq!(of(PRINTS[2]), ("ssh-ed25519", "alice@laptop"));
}

#[test]
fn options_before_a_key_are_passed_over_and_what_is_no_key_is_none() {
    let with = |options: &str| file::key(&format!("{options} {}", line(0))).map(|(print, key)| (print, key.kind));
    let expected = |kind: &str| Some((PRINTS[2].to_owned(), kind.to_owned()));
    assert_eq!(with(r#"command="echo \"a b\" # c",no-pty"#), expected("ssh-ed25519"));
    assert_eq!(with("cert-authority"), expected("ssh-ed25519, certificate authority"));
    assert_eq!(with("#"), None);
    assert_eq!(file::key(&line(0).replace("ssh-ed25519 ", "ssh-rsa ")), None, "the key says what it is");
    assert_eq!(file::key(&line(0).replace("AAAA", "AAA!")), None);
}

#[test]
fn a_key_that_comes_or_goes_is_told_with_its_user_and_for_root_it_is_a_warning() {
    let root = machine(&[("home/alice/.ssh/authorized_keys", line(0))]);
    let mut keys = Keys::default();
    let before = known(&root);
    assert_eq!(compare(&keys, None, None, &before), vec![], "what there is at first is no news");
    place(&root, "home/alice/.ssh/authorized_keys", line(1));
    place(&root, "root/.ssh/authorized_keys2", line(2));
    let looked = look(&Host::at(root.path())).unwrap();
    keys.roots = looked.roots;
    let findings = compare(&keys, Some(&before), None, &looked.known);
    let expected = [
        format!("Key {} was removed from user alice, ssh-ed25519, alice@laptop", PRINTS[2]),
        format!("Key {} was installed for user alice, ecdsa-sha2-nistp256", PRINTS[1]),
        format!("Key {} was installed for user root, ssh-rsa, backup of nas", PRINTS[0]),
    ];
    assert_eq!(sentences(&findings), expected);
    let levels: Vec<_> = lines(&findings).iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(levels, ["info", "info", "warn"]);
}

#[test]
fn a_comment_with_what_nobody_sees_does_not_get_onto_a_screen() {
    let root = machine(&[]);
    let before = known(&root);
    place(&root, "home/alice/.ssh/authorized_keys", &line(0).replace("alice@laptop", "a\u{1b}[2J\u{202e}b"));
    let told = sentences(&compare(&Keys::default(), Some(&before), None, &known(&root)));
    let expected = format!("Key {} was installed for user alice, ssh-ed25519, a\\u{{1b}}[2J\\u{{202e}}b", PRINTS[2]);
    assert_eq!(told, [expected]);
}

#[test]
fn the_files_are_where_the_configuration_says_and_who_has_no_shell_has_none() {
    let config = "Include /etc/ssh/sshd_config.d/*.conf\nMatch user x\nAuthorizedKeysFile none\n";
    let more = "authorizedkeysfile = /etc/ssh/keys/%u .ssh/more\n";
    let root = machine(&[
        ("etc/ssh/sshd_config", config),
        ("etc/ssh/keys/alice", line(0)),
        ("etc/ssh/keys/bin", line(1)),
        ("root/.ssh/more", line(2)),
        ("root/.ssh/authorized_keys", line(1)),
    ]);
    assert_eq!(known(&root).keys().collect::<Vec<_>>(), ["root"], "what is for some alone does not count");
    place(&root, "etc/ssh/sshd_config.d/a.conf", more);
    let known = known(&root);
    assert_eq!(known.keys().collect::<Vec<_>>(), ["alice", "root"]);
    assert_eq!(known["root"].keys().collect::<Vec<_>>(), [PRINTS[0]]);
    place(&root, "etc/passwd", "alice:x:1000:1000::/home/alice:/bin/sh\n");
    assert!(look(&Host::at(root.path())).is_none(), "without root it is not whole");
}

#[test]
fn blanks_names_and_bytes_that_sshd_passes_over_hide_no_key() {
    let kind_of = |line: &str| file::key(line).map(|(print, key)| (print, key.kind));
    let expected = |at: usize, kind: &str| Some((PRINTS[at].to_owned(), kind.to_owned()));
    let ed25519 = expected(2, "ssh-ed25519");
    for blanks in ["  ", "\t", " \t  \t"] {
        let line = line(0).replacen(' ', blanks, 2);
        assert_eq!(file::key(&line).unwrap().1.comment, "alice@laptop", "{line:?}");
        assert_eq!(kind_of(&line), ed25519, "{line:?}");
        assert_eq!(kind_of(&format!("no-pty{blanks}{line}")), ed25519, "{line:?}");
    }
    for name in ["rsa-sha2-256", "rsa-sha2-512"] {
        assert_eq!(kind_of(&line(2).replacen("ssh-rsa", name, 1)), expected(0, "ssh-rsa"));
        assert_eq!(kind_of(&line(0).replacen("ssh-ed25519", name, 1)), None, "the key says what it is");
    }
    assert_eq!(kind_of(&line(0).replacen("AAAA", "AA\u{b}A\rA\u{c}", 1)), ed25519);
    assert_eq!(kind_of(&line(0).replacen(" alice", "\0 alice", 1)), ed25519);
    let option = r#"command="a\\" b""#;
    assert_eq!(kind_of(&format!("{option} {}", line(0))), ed25519, "a backslash does not end the quotes");
}

#[test]
fn a_pipe_or_a_directory_in_place_of_a_file_is_passed_over_as_by_sshd_and_not_waited_for() {
    let root = machine(&[("home/alice/.ssh/authorized_keys", line(0)), ("root/.ssh/authorized_keys", line(1))]);
    nix::unistd::mkfifo(&root.path().join("home/alice/.ssh/authorized_keys2"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    fs::create_dir(root.path().join("root/.ssh/authorized_keys2")).unwrap();
    let looked = look(&Host::at(root.path())).unwrap();
    assert_eq!(looked.unseen, BTreeSet::new());
    assert_eq!(looked.known.keys().collect::<Vec<_>>(), ["alice", "root"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_beside_what_cannot_be_read_are_told_and_of_a_file_that_is_too_long_none_is_gone() {
    let machine = Machine::new();
    let (context, _log) = machine.ground("security").await;
    machine.write("etc/passwd", PASSWD);
    machine.write("home/alice/.ssh/authorized_keys", line(0));
    let mut keys = Keys::default();
    let first = keys.look(&context, None).await.unwrap().unwrap();
    cannot_be_read(&machine.path("home/alice/.ssh/authorized_keys2"));
    machine.write("home/alice/.ssh/authorized_keys", line(1));
    let both = keys.look(&context, Some(&first)).await.unwrap().unwrap();
    assert_eq!(both["alice"].keys().collect::<Vec<_>>(), [PRINTS[1], PRINTS[2]]);
    assert_eq!(context.sight.blind_to(""), Vec::<String>::new(), "it may be meant to be so");
    fs::remove_file(machine.path("home/alice/.ssh/authorized_keys2")).unwrap();
    let long = "#\n".repeat(usize::try_from(FILE_BYTES_MAX / 2).unwrap());
    machine.write("home/alice/.ssh/authorized_keys", &format!("{}\n{long}{}\n", line(2), line(1)));
    let all = keys.look(&context, Some(&both)).await.unwrap().unwrap();
    assert_eq!(all["alice"].keys().collect::<Vec<_>>(), PRINTS);
    assert_eq!(context.sight.blind_to(""), [BEYOND]);
    machine.write("home/alice/.ssh/authorized_keys", &long);
    assert_eq!(keys.look(&context, Some(&all)).await.unwrap(), Some(Known::new()), "as long as it may be");
    assert_eq!(context.sight.blind_to(""), Vec::<String>::new());
}

/// A link in a circle, which root cannot read either.
fn cannot_be_read(path: &Path) {
    std::os::unix::fs::symlink(path.file_name().unwrap(), path).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_cannot_be_read_now_are_not_gone_and_there_may_be_many() {
    let machine = Machine::new();
    let (context, _log) = machine.ground("security").await;
    machine.write("etc/passwd", PASSWD);
    machine.write("home/alice/.ssh/authorized_keys", line(0));
    let mut keys = Keys::default();
    let first = keys.look(&context, None).await.unwrap().unwrap();
    assert_eq!(first["alice"].len(), 1);
    let path = machine.path("home/alice/.ssh/authorized_keys");
    fs::remove_file(&path).unwrap();
    cannot_be_read(&path);
    assert_eq!(keys.look(&context, Some(&first)).await.unwrap(), Some(first));
    fs::remove_file(&path).unwrap();
    let many = |number: usize| {
        let bytes = [&11_u32.to_be_bytes()[..], b"ssh-ed25519", &8_u32.to_be_bytes(), &number.to_be_bytes()].concat();
        format!("ssh-ed25519 {}\n", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes))
    };
    fs::write(&path, (0..KEYS_MAX + 2).map(many).collect::<String>()).unwrap();
    let all = keys.look(&context, None).await.unwrap().unwrap();
    assert_eq!((all["alice"].len(), context.sight.blind_to("")), (KEYS_MAX, vec![BEYOND.to_owned()]));
    // Another look is taken when they change, and not for what else is in the home.
    let woken = tokio::time::timeout(Duration::from_secs(20), keys.wake(&context)).await;
    assert!(woken.is_ok(), "for what was written above");
    fs::write(machine.path("home/alice/.ssh/known_hosts"), "").unwrap();
    let woken = tokio::time::timeout(Duration::from_millis(300), keys.wake(&context)).await;
    assert!(woken.is_err());
    fs::write(&path, line(1)).unwrap();
    tokio::time::timeout(Duration::from_secs(20), keys.wake(&context)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_change_wakes_also_where_the_directory_comes_only_then() {
    let root = machine(&[("home/alice/x", "")]);
    let mut keys = Keys { watch: TreeWatch::new(true).ok(), ..Keys::default() };
    for _ in 0..2 {
        let looked = look(&Host::at(root.path())).unwrap();
        follow(keys.watch.as_mut().unwrap(), &looked.paths);
        keys.paths = looked.paths;
        place(&root, "home/alice/.ssh/authorized_keys", line(0));
        let watch = keys.watch.as_mut().unwrap();
        let mut change = watch.changed().await.unwrap();
        watch.settle(&mut change, Duration::from_millis(50), Duration::from_secs(2)).await.unwrap();
        assert!(change.paths.keys().any(|path| keys.paths.contains(path)), "{change:?}");
    }
    let mode = fs::Permissions::from_mode(0o700);
    fs::set_permissions(root.path().join("home/alice/x"), mode).unwrap();
    let change = keys.watch.as_mut().unwrap().changed().await.unwrap();
    assert!(!change.paths.keys().any(|path| keys.paths.contains(path)), "what else is in a home does not wake");
}

proptest! {
    #[test]
    fn no_line_makes_it_panic_and_a_key_that_is_cut_is_none(noise in ".{0,60}", cut in 0_usize..80, options in "[a-z=\",\\\\ ]{0,20}") {
        let _ = file::key(&noise);
        let _ = file::key(&format!("{options} {}", line(0)));
        prop_assert_eq!(file::key(&line(0)[..cut.min(75)]), None);
        let _ = places::users(&noise);
    }
}
