use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::collectors::access::{look, rights};
use crate::collectors::{driver::compare, finding::sentences};

/// Paths in a machine of files, with looks at them one after another.
struct Looks {
    root: TempDir,
    domain: AccessWatch,
    known: Option<Known>,
}

impl Looks {
    fn at(root: TempDir, paths: &[&str]) -> Looks {
        let domain = AccessWatch::new(paths.iter().map(|path| (*path).to_owned()).collect());
        Looks { root, domain, known: None }
    }

    fn host(&self) -> Host {
        Host::at(self.root.path())
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.root.path().join(path)
    }

    /// As `look` does, with what the kernel has told since.
    async fn told(&mut self) -> Vec<String> {
        let mut change = std::mem::take(&mut self.domain.change);
        if let Some(tree) = &mut self.domain.tree {
            tree.watch().settle(&mut change, Duration::from_millis(50), Duration::from_secs(2)).await.unwrap();
        }
        change.is_anew |= self.domain.tree.is_none();
        let mut tree = self.domain.tree.take().unwrap_or_else(|| Tree::new(&self.host(), &self.domain.paths).unwrap());
        tree.look(self.known.as_ref(), &change);
        self.domain.names = names(&self.host(), self.known.as_ref(), &tree.known);
        let after = std::mem::take(&mut tree.known);
        self.domain.tree = Some(tree);
        let told = sentences(&compare(&self.domain, self.known.as_ref(), None, &after));
        // What is remembered.
        self.known = serde_json::from_value(serde_json::to_value(after).unwrap()).unwrap();
        told
    }

    fn blind(&self) -> Vec<String> {
        let blind = self.domain.tree.as_ref().unwrap().blind();
        blind.into_iter().map(|(path, why)| format!("{path}: {why}")).collect()
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn machine(files: &[&str]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for file in files {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        mode(&path, 0o640);
        mode(path.parent().unwrap(), 0o750);
    }
    root
}

#[tokio::test]
async fn a_mode_is_told_of_what_is_named_and_of_what_is_below_and_what_comes_is_followed() {
    let mut looks = Looks::at(machine(&["srv/a/one", "srv/b/two", "etc/conf"]), &["/srv/a/", "/etc/conf"]);
    assert_eq!(looks.told().await, Vec::<String>::new());
    mode(&looks.path("srv/a/one"), 0o600);
    mode(&looks.path("srv/b/two"), 0o600);
    mode(&looks.path("srv/a"), 0o700);
    mode(&looks.path("etc/conf"), 0o644);
    let expected = [
        "Access to /etc/conf was changed: mode rw-r--r-- instead of rw-r-----",
        "Access to /srv/a was changed: mode rwx------ instead of rwxr-x---",
        "Access to /srv/a/one was changed: mode rw------- instead of rw-r-----",
    ];
    assert_eq!(looks.told().await, expected);
    assert_eq!(looks.told().await, Vec::<String>::new(), "once");
    fs::create_dir_all(looks.path("srv/a/deep")).unwrap();
    fs::write(looks.path("srv/a/deep/three"), "").unwrap();
    mode(&looks.path("srv/a/deep/three"), 0o600);
    assert_eq!(looks.told().await, Vec::<String>::new(), "what is new has not changed");
    mode(&looks.path("srv/a/deep/three"), 0o400);
    let expected = ["Access to /srv/a/deep/three was changed: mode r-------- instead of rw-------"];
    assert_eq!(looks.told().await, expected);
}

#[tokio::test]
async fn a_file_that_is_replaced_stays_in_sight_also_where_it_is_gone_for_a_while_or_was_so_while_nobody_looked() {
    let mut looks = Looks::at(machine(&["etc/conf", "new"]), &["/etc/conf"]);
    looks.told().await;
    mode(&looks.path("new"), 0o600);
    fs::rename(looks.path("new"), looks.path("etc/conf")).unwrap();
    let expected = ["Access to /etc/conf was changed: mode rw------- instead of rw-r-----"];
    assert_eq!(looks.told().await, expected);
    fs::remove_file(looks.path("etc/conf")).unwrap();
    assert_eq!(looks.told().await, Vec::<String>::new());
    assert_eq!(looks.blind(), ["/etc/conf: it is not there"]);
    fs::write(looks.path("etc/conf"), "").unwrap();
    mode(&looks.path("etc/conf"), 0o666);
    let expected = ["Access to /etc/conf was changed: mode rw-rw-rw- instead of rw-------"];
    assert_eq!(looks.told().await, expected);
    assert_eq!(looks.blind(), Vec::<String>::new());
    // The agent ends, and begins again.
    mode(&looks.path("etc/conf"), 0o640);
    looks.domain.tree = None;
    let expected = ["Access to /etc/conf was changed: mode rw-r----- instead of rw-rw-rw-"];
    assert_eq!(looks.told().await, expected);
}

#[tokio::test]
async fn a_directory_that_is_moved_and_one_that_takes_its_place_are_seen_where_they_are() {
    let mut looks = Looks::at(machine(&["srv/a/deep/one"]), &["/srv/a"]);
    looks.told().await;
    fs::rename(looks.path("srv/a/deep"), looks.path("srv/a/moved")).unwrap();
    assert_eq!(looks.told().await, Vec::<String>::new());
    mode(&looks.path("srv/a/moved/one"), 0o600);
    let expected = ["Access to /srv/a/moved/one was changed: mode rw------- instead of rw-r-----"];
    assert_eq!(looks.told().await, expected);
    fs::rename(looks.path("srv/a"), looks.path("srv/old")).unwrap();
    fs::create_dir_all(looks.path("srv/a/moved")).unwrap();
    mode(&looks.path("srv/a"), 0o711);
    let told = looks.told().await;
    assert_eq!(told[0], "Access to /srv/a was changed: mode rwx--x--x instead of rwxr-xr-x", "{told:?}");
    mode(&looks.path("srv/old"), 0o777);
    assert_eq!(looks.told().await, Vec::<String>::new(), "what was moved away is not followed");
    mode(&looks.path("srv/a"), 0o700);
    assert_eq!(looks.told().await.len(), 1);
}

#[tokio::test]
async fn a_link_is_followed_where_it_is_named_and_nowhere_below() {
    let mut looks = Looks::at(machine(&["mnt/tank/one", "etc/secret"]), &["/tank"]);
    std::os::unix::fs::symlink(looks.path("mnt/tank"), looks.path("tank")).unwrap();
    std::os::unix::fs::symlink(looks.path("etc/secret"), looks.path("mnt/tank/link")).unwrap();
    looks.told().await;
    assert_eq!(looks.known.as_ref().unwrap().keys().collect::<Vec<_>>(), ["/tank", "/tank/one"]);
    mode(&looks.path("mnt/tank/one"), 0o600);
    let expected = ["Access to /tank/one was changed: mode rw------- instead of rw-r-----"];
    assert_eq!(looks.told().await, expected);
}

#[tokio::test]
async fn thousands_of_changes_at_once_are_told_as_some_and_how_many_more() {
    let files: Vec<_> = (0..100).map(|number| format!("srv/a/{number:03}")).collect();
    let mut looks = Looks::at(machine(&files.iter().map(String::as_str).collect::<Vec<_>>()), &["/srv/a"]);
    looks.told().await;
    files.iter().for_each(|file| mode(&looks.path(file), 0o600));
    let told = looks.told().await;
    assert_eq!(told.len(), TOLD_MAX + 1);
    assert_eq!(told[TOLD_MAX], format!("Access to /srv/a was changed: others below it: {}", 100 - TOLD_MAX));
}

#[tokio::test]
async fn beyond_the_bound_what_lies_higher_is_followed_and_the_rest_is_counted() {
    let root = machine(&["srv/a/z/one", "srv/b"]);
    for number in 0..PATHS_MAX {
        fs::write(root.path().join(format!("srv/a/z/{number:05}")), "").unwrap();
    }
    let mut looks = Looks::at(root, &["/srv"]);
    looks.told().await;
    let known = looks.known.as_ref().unwrap();
    assert_eq!(known.len(), PATHS_MAX);
    assert!(known.contains_key("/srv/b"));
    assert_eq!(looks.domain.tree.as_ref().unwrap().beyond, 5);
}

#[tokio::test]
async fn beyond_the_bound_directories_are_not_watched_and_counted() {
    let root = machine(&["srv/a/x/one"]);
    for number in 0..WATCHES_MAX {
        fs::create_dir(root.path().join(format!("srv/a/{number:05}"))).unwrap();
    }
    let mut looks = Looks::at(root, &["/srv/a"]);
    looks.told().await;
    let tree = looks.domain.tree.as_mut().unwrap();
    // With the one that leads to them.
    assert_eq!((tree.watch().count(), tree.beyond), (WATCHES_MAX, 3));
}

#[tokio::test]
async fn what_is_beside_a_named_file_does_not_wake() {
    let mut looks = Looks::at(machine(&["etc/conf", "etc/other"]), &["/etc/conf"]);
    looks.told().await;
    let (conf, other) = (looks.path("etc/conf"), looks.path("etc/other"));
    let tree = looks.domain.tree.as_mut().unwrap();
    let mut change = TreeChange::default();
    mode(&other, 0o600);
    assert!(tokio::time::timeout(Duration::from_millis(300), tree.changed(&mut change)).await.is_err());
    mode(&conf, 0o600);
    tokio::time::timeout(Duration::from_secs(20), tree.changed(&mut change)).await.unwrap().unwrap();
    assert!(change.paths.contains_key(&conf), "{change:?}");
}

#[tokio::test]
async fn what_is_mounted_below_is_followed_by_its_own_name_alone() {
    let mut tree = Tree::new(&Host::at("/"), &["/dev".to_owned()]).unwrap();
    tree.look(None, &TreeChange { is_anew: true, ..TreeChange::default() });
    assert!(tree.known.contains_key("/dev/null") && !tree.known.contains_key("/dev/pts"));
}

#[tokio::test]
async fn a_list_that_is_too_long_and_what_cannot_be_seen_are_blind_spots_and_what_was_known_of_it_stays() {
    let mut looks = Looks::at(machine(&["srv/a/one"]), &["/srv/a"]);
    looks.told().await;
    let tree = looks.domain.tree.as_mut().unwrap();
    let rights = looks.known.as_ref().unwrap()["/srv/a/one"].clone();
    let seen = look::Seen { rights, is_directory: false, device: 1, is_too_long: true };
    tree.take("/srv/a/one", seen, looks.known.as_ref().unwrap());
    let why = format!("/srv/a: /srv/a/one: its access list has more than {} entries", rights::ENTRIES_MAX);
    assert_eq!(looks.blind(), [why]);
    let mut many = rights::Rights::default();
    for number in 0..10_000 {
        let who = rights::Who::User(number);
        many.add(rights::Entry { kind: rights::Kind::Posix, who, flags: 0, may: 7 });
    }
    assert_eq!(many.list.len(), rights::ENTRIES_MAX + 1, "one stays as a sign of the others");
    assert_eq!((many.cut(), many.list.len(), many.cut()), (true, rights::ENTRIES_MAX, false));
    // The named directory goes, and comes back with other rights.
    fs::rename(looks.path("srv/a"), looks.path("srv/b")).unwrap();
    assert_eq!(looks.told().await, Vec::<String>::new());
    assert!(looks.known.as_ref().unwrap().contains_key("/srv/a/one"), "what cannot be seen now is not gone");
    mode(&looks.path("srv/b/one"), 0o600);
    fs::rename(looks.path("srv/b"), looks.path("srv/a")).unwrap();
    let expected = ["Access to /srv/a/one was changed: mode rw------- instead of rw-r-----"];
    assert_eq!(looks.told().await, expected);
}

#[test]
fn what_other_settings_left_out_has_not_changed() {
    let domain = |paths: &[&str]| AccessWatch::new(paths.iter().map(|path| (*path).to_owned()).collect());
    let known = |paths: &[&str]| paths.iter().map(|path| ((*path).to_owned(), Default::default())).collect::<Known>();
    let (taken, left_out) = AccessWatch::split(known(&["/a", "/a/b", "/ab"]), &domain(&["/a/"]).choice());
    assert_eq!((taken, left_out), (known(&["/a", "/a/b"]), Some(known(&["/ab"]))));
    assert!(is_within("/a", "/") && is_within("/a/b", "/a") && !is_within("/ab", "/a"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_what_is_known_is_what_a_new_look_sees(steps in prop::collection::vec((0_u8..6, 0_usize..4, 0_usize..4), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut looks = Looks::at(machine(&["srv/a/x/one", "srv/a/y/two", "srv/b/three"]), &["/srv/a"]);
            looks.told().await;
            const PLACES: [&str; 4] = ["srv/a/x", "srv/a/y", "srv/a/x/one", "srv/b"];
            for (what, one, other) in steps {
                let (one, other) = (looks.path(PLACES[one]), looks.path(PLACES[other]));
                // Some of it fails, as it may.
                let _ = match what {
                    0 => fs::rename(&one, &other),
                    1 => fs::create_dir_all(&one),
                    2 => fs::write(&one, ""),
                    3 => fs::remove_dir_all(&one),
                    4 => fs::set_permissions(&one, fs::Permissions::from_mode(0o700)),
                    _ => fs::set_permissions(&one, fs::Permissions::from_mode(0o755)),
                };
                if what % 2 == 0 {
                    looks.told().await;
                }
            }
            looks.told().await;
            let mut anew = Looks::at(tempfile::tempdir().unwrap(), &["/srv/a"]);
            std::mem::swap(&mut anew.root, &mut looks.root);
            anew.told().await;
            assert_eq!(looks.known, anew.known);
        });
    }
}
