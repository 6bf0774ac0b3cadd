use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;
use crate::collectors::{
    driver::compare,
    finding::{lines, sentences},
    tests::Machine,
};

/// A certificate that ends on that day of June 2030, with its key behind it, as some services want it.
fn pem(day: u8) -> String {
    let mut params = CertificateParams::new(vec!["nas".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2030, 1, 1), date_time_ymd(2030, 6, day));
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().pem() + &key.serialize_pem()
}

fn at(text: &str) -> i64 {
    seconds(humantime::parse_rfc3339(&format!("2030-{text}T00:00:00Z")).unwrap())
}

fn place(root: &tempfile::TempDir, path: &str, text: &str) {
    let path = root.path().join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// What looks at these files on these days tell.
fn told(days: &[(&str, &str)]) -> Vec<Vec<String>> {
    let (root, mut known, mut told) = (tempfile::tempdir().unwrap(), None::<Known>, Vec::new());
    let host = Host::at(root.path());
    let mut certificates = Certificates::new(vec!["/etc/ssl/nas.pem".into()]);
    for (day, text) in days {
        place(&root, "etc/ssl/nas.pem", text);
        certificates.now = at(day);
        let after = look(&host, &certificates.paths, certificates.now).known;
        told.push(sentences(&compare(&certificates, known.as_ref(), None, &after)));
        // What is remembered.
        known = serde_json::from_value(serde_json::to_value(after).unwrap()).unwrap();
    }
    told
}

#[test]
fn a_certificate_is_told_a_month_a_week_and_a_day_before_its_end_at_its_end_and_when_it_is_renewed() {
    let (old, new) = (pem(30), pem(30));
    let days = [
        ("05-01", &*old),
        ("06-01", &old),
        ("06-20", &old),
        ("06-24", &old),
        ("06-29", &old),
        ("06-30", &old),
        ("07-02", &old),
        ("05-01", &old),
        ("05-02", &new),
    ];
    let soon = |left: u8| {
        let until = "valid until 2030-06-30 00:00:00";
        vec![format!("Certificate /etc/ssl/nas.pem expires soon, days left: {left}, {until}")]
    };
    let said = told(&days).into_iter().map(|all| all.into_iter().map(|it| it.replace("Z", "")).collect::<Vec<_>>());
    let said: Vec<_> = said.collect();
    assert_eq!(said[0], Vec::<String>::new());
    assert!(
        said[1][0].starts_with("Certificate /etc/ssl/nas.pem expires soon, days left: 29"),
        "{:?} {:?}",
        said[1],
        soon(29)
    );
    assert_eq!(said[2], Vec::<String>::new());
    assert!(said[3][0].contains("days left: 6"), "{:?}", said[3]);
    assert!(said[4][0].contains("days left: 1"), "{:?}", said[4]);
    assert!(said[5][0].starts_with("Certificate /etc/ssl/nas.pem has expired on 2030-06-30"), "{:?}", said[5]);
    assert_eq!(said[6], Vec::<String>::new());
    assert!(
        said[7][0].starts_with("Certificate /etc/ssl/nas.pem is valid until"),
        "the clock was wrong: {:?}",
        said[7]
    );
    assert!(said[8][0].starts_with("Certificate /etc/ssl/nas.pem was renewed, valid until"), "{:?}", said[8]);
    assert!(said.iter().all(|all| all.len() <= 1), "{said:?}");
}

#[test]
fn how_bad_it_is_says_the_level_and_at_first_sight_what_is_near_is_told() {
    let levels = |day: &str| {
        let mut certificates = Certificates::new(Vec::new());
        certificates.now = at(day);
        let known = Known::from([("/c".to_owned(), certificate(pem(30).as_bytes(), certificates.now).unwrap())]);
        certificates.first_sight(&known).iter().map(crate::collectors::finding::Finding::line).collect::<Vec<_>>()
    };
    assert_eq!(levels("05-01"), Vec::<String>::new());
    assert_eq!(levels("06-10"), ["warn security.certificate.expires_soon"]);
    assert_eq!(levels("06-29"), ["error security.certificate.expires_soon"]);
    assert_eq!(levels("07-10"), ["error security.certificate.expired"]);
}

#[test]
fn of_a_directory_certificates_are_taken_and_keys_and_what_is_none_are_not() {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in [("a.pem", &*pem(30)), ("b.crt", &pem(29)), ("c.key", &pem(28)), ("d.pem", "none"), ("e", "")] {
        place(&root, &format!("etc/ssl/{name}"), text);
    }
    nix::unistd::mkfifo(&root.path().join("etc/ssl/f.pem"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    let looked =
        look(&Host::at(root.path()), &["/etc/ssl/".into(), "/etc/none.pem".into(), "/etc/ssl/d.pem".into()], 0);
    assert_eq!(looked.known.keys().collect::<Vec<_>>(), ["/etc/ssl/a.pem", "/etc/ssl/b.crt"]);
    let unseen: Vec<_> = looked.unseen.keys().map(String::as_str).collect();
    assert_eq!(unseen, ["/etc/none.pem", "/etc/ssl/d.pem", "/etc/ssl/f.pem"], "a pipe is not waited for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_cannot_be_read_now_is_not_gone_and_is_a_blind_spot_until_it_can() {
    let machine = Machine::new();
    let (context, _log) = machine.ground("security").await;
    let mut certificates = Certificates::new(vec!["/etc/ssl/nas.pem".into()]);
    machine.write("etc/ssl/nas.pem", &pem(30));
    let first = certificates.look(&context, None).await.unwrap().unwrap();
    machine.write("etc/ssl/nas.pem", "half of it");
    assert_eq!(certificates.look(&context, Some(&first)).await.unwrap(), Some(first.clone()));
    assert_eq!(context.sight.blind_to(PREFIX), ["/etc/ssl/nas.pem"]);
    machine.write("etc/ssl/nas.pem", &pem(30));
    let renewed = certificates.look(&context, Some(&first)).await.unwrap().unwrap();
    assert_eq!(context.sight.blind_to(PREFIX), Vec::<String>::new());
    assert_eq!(lines(&certificates.diff(&first, &renewed)), ["info security.certificate.renewed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_a_directory_that_cannot_be_read_now_are_not_gone_and_do_not_come_again() {
    let machine = Machine::new();
    let (context, _log) = machine.ground("security").await;
    let mut certificates = Certificates::new(vec!["/etc/ssl/".into()]);
    machine.write("etc/ssl/nas.pem", &pem(30));
    machine.write("etc/ssl/mail.pem", &pem(29));
    let first = certificates.look(&context, None).await.unwrap().unwrap();
    assert_eq!(first.len(), 2);
    // Root can read what nobody may, but no link in a circle.
    std::fs::rename(machine.path("etc/ssl"), machine.path("etc/away")).unwrap();
    std::os::unix::fs::symlink("ssl", machine.path("etc/ssl")).unwrap();
    assert_eq!(certificates.look(&context, Some(&first)).await.unwrap(), Some(first.clone()));
    assert_eq!(context.sight.blind_to(PREFIX), ["/etc/ssl/"]);
    std::fs::remove_file(machine.path("etc/ssl")).unwrap();
    std::fs::rename(machine.path("etc/away"), machine.path("etc/ssl")).unwrap();
    assert_eq!(certificates.look(&context, Some(&first)).await.unwrap(), Some(first.clone()));
    assert_eq!(context.sight.blind_to(PREFIX), Vec::<String>::new());
    std::fs::remove_file(machine.path("etc/ssl/mail.pem")).unwrap();
    let gone = certificates.look(&context, Some(&first)).await.unwrap().unwrap();
    assert_eq!(lines(&certificates.diff(&first, &gone)), ["info security.certificate.removed"]);
}

#[test]
fn of_a_chain_the_first_counts_and_one_that_comes_or_is_renewed_near_its_end_is_told_as_that_too() {
    let (near, far) = (pem(10), pem(30));
    let now = at("06-05");
    let of = |text: &str| Known::from([("/c".to_owned(), certificate(text.as_bytes(), now).unwrap())]);
    assert_eq!(of(&format!("{near}{far}")), of(&near));
    let mut certificates = Certificates::new(Vec::new());
    certificates.now = now;
    let near_too = ["info security.certificate.renewed", "warn security.certificate.expires_soon"];
    assert_eq!(lines(&certificates.diff(&of(&far), &of(&near))), near_too);
    let gone = certificates.diff(&of(&far), &Known::new());
    assert_eq!(lines(&gone), ["info security.certificate.removed"]);
}

#[test]
fn what_another_setting_left_out_has_neither_come_nor_gone() {
    let certificates = |paths: &[&str]| Certificates::new(paths.iter().map(PathBuf::from).collect());
    let it = certificate(pem(30).as_bytes(), at("05-01")).unwrap();
    let known = |paths: &[&str]| paths.iter().map(|path| ((*path).to_owned(), it.clone())).collect::<Known>();
    let (narrow, wide) = (certificates(&["/a/x.pem"]), certificates(&["/a/x.pem", "/b"]));
    let both = known(&["/a/x.pem", "/b/y.pem"]);
    assert_eq!(compare(&wide, Some(&known(&["/a/x.pem"])), Some(&narrow.choice()), &both), vec![]);
    let (taken, _) = Certificates::split(both, &narrow.choice());
    assert_eq!(taken, known(&["/a/x.pem"]));
    assert_eq!(compare(&wide, Some(&known(&[])), None, &known(&["/b/y.pem"])).len(), 1, "one that comes is told");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_half_a_certificate_is_none(at in 0usize..400, noise in proptest::collection::vec(any::<u8>(), 0..60)) {
        let whole = pem(30);
        let whole = &whole[..whole.find("-----END").unwrap()];
        let cut = &whole.as_bytes()[..at.min(whole.len())];
        prop_assert_eq!(certificate(cut, 0), None);
        let _ = certificate(&[cut, &noise].concat(), 0);
        let _ = certificate(&noise, i64::MIN);
    }
}
