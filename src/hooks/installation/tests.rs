use std::collections::BTreeMap;

use super::*;

/// A machine with all three daemons, as Debian installs them.
fn debian() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    for directory in ["etc/zfs/zed.d", "etc/smartmontools/run.d", "usr/sbin", "etc/mdadm", "usr/lib/rodent/hooks"] {
        fs::create_dir_all(root.path().join(directory)).expect("make directories");
    }
    for (file, text) in [
        ("etc/zfs/zed.d/all-syslog.sh", "#!/bin/sh\n"),
        ("etc/smartmontools/run.d/10mail", "#!/bin/bash\n"),
        ("etc/smartd.conf", "# DEVICESCAN\nDEVICESCAN -m root -M exec /usr/share/smartmontools/smartd-runner\n"),
        ("usr/sbin/smartd", ""),
        ("usr/sbin/mdadm", ""),
        ("etc/mdadm/mdadm.conf", "HOMEHOST <system>\nMAILADDR root\n# PROGRAM /x\n"),
        ("usr/lib/rodent/hooks/zed", ""),
        ("usr/lib/rodent/hooks/smartd", ""),
        ("usr/lib/rodent/hooks/mdadm", ""),
    ] {
        fs::write(root.path().join(file), text).expect("write a file");
    }
    root
}

/// Every path with what it is.
fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory").flatten() {
            let path = entry.path();
            let what = match fs::read_link(&path) {
                Ok(target) => format!("-> {}", target.display()),
                Err(_) if path.is_dir() => {
                    directories.push(path.clone());
                    "directory".to_owned()
                }
                Err(_) => fs::read_to_string(&path).expect("text"),
            };
            found.insert(path, what);
        }
    }
    found
}

fn enabled(root: &Path) -> Vec<Enabled> {
    state(root).into_iter().map(|state| state.enabled).collect()
}

#[test]
fn enabling_twice_is_enabling_once_and_disabling_undoes_it_exactly() {
    let root = debian();
    let before = tree(root.path());
    assert_eq!(enabled(root.path()), [Enabled::No, Enabled::No, Enabled::No]);
    for daemon in Daemon::ALL {
        assert!(!enable(daemon, root.path()).expect("enable").done.is_empty(), "{daemon}");
        assert_eq!(enable(daemon, root.path()).expect("enable again").done, [], "{daemon}");
    }
    assert_eq!(enabled(root.path()), [Enabled::Yes, Enabled::Yes, Enabled::Yes]);
    assert!(state(root.path()).iter().all(|state| state.remark.is_empty()), "{:?}", state(root.path()));
    let during = tree(root.path());
    let etc = root.path().join("etc");
    assert_eq!(during[&etc.join("zfs/zed.d/history_event-rodent.sh")], "-> /usr/lib/rodent/hooks/zed");
    assert_eq!(during[&etc.join("smartmontools/run.d/20rodent")], "-> /usr/lib/rodent/hooks/smartd");
    assert!(during[&etc.join("mdadm/mdadm.conf.d/rodent.conf")].ends_with("\nPROGRAM /usr/lib/rodent/hooks/mdadm\n"));
    for daemon in Daemon::ALL {
        assert!(!disable(daemon, root.path()).expect("disable").done.is_empty(), "{daemon}");
        assert_eq!(disable(daemon, root.path()).expect("disable again").done, [], "{daemon}");
    }
    assert_eq!(tree(root.path()), before);
}

#[test]
fn what_is_not_ours_is_left_alone_and_nothing_is_changed_beside_it() {
    let root = debian();
    let zedlet = root.path().join("etc/zfs/zed.d/pool_create-rodent.sh");
    fs::write(&zedlet, "mine").expect("write a file");
    symlink("/somewhere/else", root.path().join("etc/smartmontools/run.d/20rodent")).expect("make a link");
    fs::create_dir(root.path().join("etc/mdadm/mdadm.conf.d")).expect("make a directory");
    fs::write(root.path().join("etc/mdadm/mdadm.conf.d/rodent.conf"), "PROGRAM /x\n").expect("write a file");
    let before = tree(root.path());
    for daemon in Daemon::ALL {
        assert!(matches!(enable(daemon, root.path()), Err(HookError::Blocked(_))), "{daemon}");
        assert_eq!(disable(daemon, root.path()).expect("nothing of ours").done, [], "{daemon}");
    }
    assert_eq!(tree(root.path()), before);
    assert!(enabled(root.path()).iter().all(|enabled| matches!(enabled, Enabled::Blocked(_))));
}

#[test]
fn a_program_that_mdadm_already_runs_is_named_and_kept() {
    for (file, text) in
        [("mdadm.conf", "  program /no\nprog /usr/sbin/mine\n"), ("mdadm.conf.d/a.conf", "PROGRAM /usr/sbin/mine\n")]
    {
        let root = debian();
        fs::create_dir(root.path().join("etc/mdadm/mdadm.conf.d")).expect("make a directory");
        fs::write(root.path().join("etc/mdadm").join(file), text).expect("write a file");
        let error = enable(Daemon::Mdadm, root.path()).expect_err("there is one").to_string();
        assert!(error.contains(&format!("/etc/mdadm/{file} names /usr/sbin/mine")), "{error}");
    }
}

#[test]
fn a_setting_that_somebody_has_edited_is_not_removed() {
    let root = debian();
    enable(Daemon::Mdadm, root.path()).expect("enable");
    let path = root.path().join("etc/mdadm/mdadm.conf.d/rodent.conf");
    let edited = fs::read_to_string(&path).expect("it is there") + "MAILADDR me\n";
    fs::write(&path, &edited).expect("write a file");
    assert!(matches!(disable(Daemon::Mdadm, root.path()), Err(HookError::Blocked(_))));
    assert_eq!(fs::read_to_string(&path).expect("it is there"), edited);
}

#[test]
fn a_directory_that_others_use_by_now_is_kept() {
    let root = debian();
    enable(Daemon::Mdadm, root.path()).expect("enable");
    fs::write(root.path().join("etc/mdadm/mdadm.conf.d/theirs.conf"), "MAILADDR me\n").expect("write a file");
    disable(Daemon::Mdadm, root.path()).expect("disable");
    assert!(root.path().join("etc/mdadm/mdadm.conf.d/theirs.conf").exists());
    assert!(!root.path().join("etc/mdadm/mdadm.conf.d/rodent.conf").exists());
}

#[test]
fn where_smartd_has_no_directory_the_line_to_write_is_told_and_recognised() {
    let root = debian();
    fs::remove_dir_all(root.path().join("etc/smartmontools")).expect("remove");
    let error = enable(Daemon::Smartd, root.path()).expect_err("by hand").to_string();
    assert!(error.contains("-m <nomailer> -M exec /usr/lib/rodent/hooks/smartd"), "{error}");
    fs::write(root.path().join("etc/smartd.conf"), "DEVICESCAN -m <nomailer> -M exec /usr/lib/rodent/hooks/smartd\n")
        .expect("write a file");
    assert_eq!(enabled(root.path())[1], Enabled::Yes);
    assert_eq!(enable(Daemon::Smartd, root.path()).expect("it is").done, []);
}

#[test]
fn when_one_piece_cannot_be_made_those_before_it_are_undone() {
    let root = debian();
    let before = tree(root.path());
    let machine = Machine { root: root.path() };
    let mut pieces = machine.pieces(Daemon::Zed).expect("links");
    pieces.insert(2, machine.mdadm_piece().expect("a file"));
    let nowhere = Piece::Link { path: root.path().join("etc/nowhere/x"), target: "/x".to_owned() };
    pieces.insert(4, nowhere);
    let mut change = HookChange::default();
    assert!(matches!(make(&pieces, &mut change), Err(HookError::Io { .. })));
    assert_eq!((tree(root.path()), change.done), (before, vec![]));
}

#[test]
fn where_mdadm_has_no_configuration_what_to_write_is_told_and_recognised() {
    let root = debian();
    fs::remove_dir_all(root.path().join("etc/mdadm")).expect("remove");
    let error = enable(Daemon::Mdadm, root.path()).expect_err("by hand");
    assert!(matches!(&error, HookError::ByHand(_)), "{error}");
    assert!(error.to_string().contains("`PROGRAM /usr/lib/rodent/hooks/mdadm` into /etc/mdadm.conf"), "{error}");
    assert_eq!(disable(Daemon::Mdadm, root.path()).expect("nothing is there").done, []);
    fs::write(root.path().join("etc/mdadm.conf"), "PROGRAM /usr/lib/rodent/hooks/mdadm\n").expect("write a file");
    assert_eq!(enabled(root.path())[2], Enabled::Yes);
}

#[test]
fn an_enabled_hook_that_would_not_be_run_has_a_remark() {
    let root = debian();
    enable(Daemon::Smartd, root.path()).expect("enable");
    fs::write(root.path().join("etc/smartd.conf"), "DEVICESCAN\n# smartd-runner\n").expect("write a file");
    assert!(state(root.path())[1].remark.contains("smartd-runner"));
    fs::remove_file(root.path().join("usr/lib/rodent/hooks/smartd")).expect("remove");
    assert!(state(root.path())[1].remark.contains("is missing"));
}

#[test]
fn a_machine_without_the_daemons_says_so() {
    let root = tempfile::tempdir().expect("a directory");
    assert!(state(root.path()).iter().all(|state| !state.present && state.enabled == Enabled::No));
    for daemon in Daemon::ALL {
        assert!(matches!(enable(daemon, root.path()), Err(HookError::Absent(..))), "{daemon}");
    }
}
