//! Who may read and write what: the configuration, token and keys, the state directory; and whether this user may use the
//! socket.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::unistd::{Gid, Group, Uid, User, getgroups};

use super::{
    eyes,
    finding::{Finding, off_thread},
    patient::Patient,
};
use crate::{
    agent::config::{ControllerSettings, Loaded, STATE_DIRECTORY, Tls, TokenSource},
    settings::SettingOrigin,
};

/// The most members of a group that are named.
const MEMBERS_MAX: usize = 4;

/// The most entries of the state directory that are looked at.
const ENTRIES_MAX: usize = 256;

/// The agent's user and group, where it runs as a service.
const ACCOUNT: &str = "rodent";

pub(super) async fn look(patient: Arc<Patient>) -> Vec<Finding> {
    let readable = readable(&patient).await;
    let mut findings = off_thread(move || {
        let mut findings = files(&patient);
        let (directory, user) = (patient.state_directory(), agents_user(&patient));
        findings.extend(state_directory(&directory, user, patient.status.is_ok()));
        findings.push(membership(&patient.socket));
        findings
    })
    .await;
    findings.extend(readable);
    findings
}

/// Whether the agent can read what its configuration names: its user, not the one who looks.
async fn readable(patient: &Patient) -> Vec<Finding> {
    let Some(controller) = patient.controller() else { return Vec::new() };
    let files = named_files(controller);
    let Some(user) = agents_user(patient).filter(|_| !files.is_empty()) else { return Vec::new() };
    if !Uid::effective().is_root() && Uid::effective() != user {
        let name = name_of(user);
        let text = format!("whether {name}, as whom the agent runs, may read its files is for root to see");
        return vec![Finding::skip(text).advise("sudo rodent doctor")];
    }
    match eyes::seen_by(user, files.iter().map(|(path, _)| path.clone()).collect()).await {
        Ok(seen) => judge_readable(&name_of(user), &files, &seen),
        Err(error) => {
            let name = name_of(user);
            vec![Finding::skip(format!("what {name}, as whom the agent runs, may read cannot be found out: {error}"))]
        }
    }
}

/// Files that the agent reads to reach its controller, and whether each is secret.
fn named_files(controller: &ControllerSettings) -> Vec<(PathBuf, bool)> {
    let mut files = Vec::new();
    if let TokenSource::File(path) = &controller.token {
        files.push((path.clone(), true));
    }
    if let Tls::On { ca_file, cert_file, key_file, .. } = &controller.tls {
        let open = [ca_file, cert_file].into_iter().flatten().map(|path| (path.clone(), false));
        files.extend(open.chain(key_file.iter().map(|path| (path.clone(), true))));
    }
    files
}

fn judge_readable(user: &str, files: &[(PathBuf, bool)], seen: &[eyes::Seen]) -> Vec<Finding> {
    let unreadable = files.iter().zip(seen).filter_map(|((path, is_secret), seen)| {
        let (name, why) = (path.display(), seen.as_ref()?);
        let text = format!("{name} cannot be read by {user}, as whom the agent runs: {why}");
        Some(match is_secret {
            true => Finding::fail(text, format!("chown {user}: {name}; chmod 400 {name}; namei -l {name}")),
            false => Finding::fail(text, format!("chmod a+r {name}; namei -l {name}")),
        })
    });
    let findings: Vec<Finding> = unreadable.collect();
    if findings.is_empty() {
        return vec![Finding::pass(format!(
            "{user}, as whom the agent runs, may read the files of the way to the controller"
        ))];
    }
    findings
}

/// The configuration and what is secret. A line for each that is not right, one for the rest.
fn files(patient: &Patient) -> Vec<Finding> {
    let Ok(loaded) = &patient.config else {
        return vec![Finding::skip("which files hold secrets is not known without the configuration")];
    };
    let named = loaded.config.controller.as_ref().map(named_files).unwrap_or_default();
    let secrets: Vec<PathBuf> = named.into_iter().filter(|(_, is_secret)| *is_secret).map(|(path, _)| path).collect();
    let looked = loaded.files.iter().map(|path| file(path, false)).chain(secrets.iter().map(|path| file(path, true)));
    let (right, mut wrong): (Vec<_>, Vec<_>) = looked.partition(Option::is_none);
    let count = right.len();
    let mut findings: Vec<Finding> = wrong.drain(..).flatten().collect();
    findings.extend(token_for_members(loaded));
    if count > 0 {
        let files = if count == 1 { "1 file is".to_owned() } else { format!("{count} files are") };
        findings.insert(0, Finding::pass(format!("{files} safe from others: configuration, token, keys")));
    }
    findings
}

/// What is wrong with a file; nothing when it is as it should be.
fn file(path: &Path, is_secret: bool) -> Option<Finding> {
    let name = path.display();
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Some(Finding::skip(format!("this user may not look at {name}")).advise("sudo rodent doctor"));
        }
        Err(error) => {
            return Some(Finding::fail(format!("{name} cannot be looked at: {error}"), format!("ls -l {name}")));
        }
    };
    judge(path, metadata.mode() & 0o777, is_secret)
}

fn judge(path: &Path, mode: u32, is_secret: bool) -> Option<Finding> {
    let name = path.display();
    if mode & 0o022 != 0 {
        let who = if mode & 0o002 != 0 { "everybody" } else { "its group" };
        return Some(Finding::fail(
            format!("{name} may be changed by {who} (mode {mode:03o})"),
            format!("chmod go-w {name}"),
        ));
    }
    if mode & 0o004 == 0 {
        return None;
    }
    let (text, advice) = (format!("{name} may be read by everybody (mode {mode:03o})"), format!("chmod o= {name}"));
    Some(if is_secret { Finding::fail(text, advice) } else { Finding::warn(text, advice) })
}

/// A token inside the configuration that members of the file's group may read: those who may use the socket, mostly.
fn token_for_members(loaded: &Loaded) -> Option<Finding> {
    let record = loaded.records.get("controller.jwt")?;
    let SettingOrigin::File { file, .. } = &record.origin else { return None };
    let metadata = fs::metadata(file).ok()?;
    let group = Group::from_gid(Gid::from_raw(metadata.gid())).ok().flatten()?;
    token_in(file, metadata.mode() & 0o777, &group)
}

fn token_in(file: &str, mode: u32, group: &Group) -> Option<Finding> {
    let members: Vec<_> =
        group.mem.iter().map(String::as_str).filter(|name| !["root", ACCOUNT].contains(name)).collect();
    if mode & 0o040 == 0 || members.is_empty() {
        return None;
    }
    let named = members.iter().take(MEMBERS_MAX).copied().collect::<Vec<_>>().join(", ");
    let more = members.len().saturating_sub(MEMBERS_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(Finding::warn(
        format!("the token stands in {file}, which the group `{}` may read: {named}{more}", group.name),
        "put it into a file of the agent's own (chown rodent:, chmod 600) and name that as `token_file`",
    ))
}

/// Whom the agent runs as: the owner of its socket; where none is there, the service's user for the service's directory.
fn agents_user(patient: &Patient) -> Option<Uid> {
    let of_socket = fs::metadata(&patient.socket).ok().map(|metadata| Uid::from_raw(metadata.uid()));
    let of_service = || User::from_name(ACCOUNT).ok().flatten().map(|user| user.uid);
    of_socket.or_else(|| of_service().filter(|_| patient.is_of_service()))
}

fn state_directory(directory: &Path, user: Option<Uid>, runs: bool) -> Vec<Finding> {
    let name = directory.display();
    let metadata = match fs::metadata(directory) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return vec![Finding::skip(format!("this user may not look at {name}")).advise("sudo rodent doctor")];
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && runs => {
            let text = format!("{name} is gone, and the agent that runs keeps its events there");
            return vec![Finding::fail(text, "bring it back (a mount?), then systemctl restart rodent")];
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let is_made = user.is_none() || directory == Path::new(STATE_DIRECTORY);
            return vec![match user.filter(|_| !is_made).map(name_of) {
                None => Finding::skip(format!("{name} is not there yet: the agent makes it when it starts")),
                Some(user) => Finding::warn(
                    format!("{name} is not there, and the service may not make it"),
                    format!("install -d -o {user} -g {user} -m 0750 {name}, then systemctl restart rodent"),
                ),
            }];
        }
        Err(error) => {
            return vec![Finding::fail(format!("{name} cannot be looked at: {error}"), format!("ls -ld {name}"))];
        }
    };
    let mut findings = Vec::new();
    let (mode, owner) = (metadata.mode() & 0o777, Uid::from_raw(metadata.uid()));
    if mode & 0o022 != 0 || mode & 0o007 != 0 {
        let what = if mode & 0o022 != 0 { "changed" } else { "entered" };
        let text = format!("{name} may be {what} by others (mode {mode:03o})");
        let advice = format!("chmod 750 {name}");
        findings.push(if mode & 0o022 != 0 { Finding::fail(text, advice) } else { Finding::warn(text, advice) });
    }
    let strange = |user: &Uid| {
        (*user != owner).then(|| (directory.to_path_buf(), owner)).or_else(|| of_another(directory, *user))
    };
    if let Some((user, (path, owner))) = user.and_then(|user| Some((user, strange(&user)?))) {
        let (path, owner, user) = (path.display(), name_of(owner), name_of(user));
        findings.push(Finding::fail(
            format!("{path} belongs to {owner}, and the agent runs as {user}"),
            format!("chown -R {user}: {name}"),
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::pass(format!("{name} belongs to {}, mode {mode:03o}", name_of(owner))));
    }
    findings
}

/// The first of what lies in the state directory, and in the log, that belongs to somebody else; as far as this user may look.
/// What file systems keep at their top is not the agent's: the directory may be one of its own.
fn of_another(directory: &Path, user: Uid) -> Option<(PathBuf, Uid)> {
    let inside = |directory: PathBuf| fs::read_dir(directory).into_iter().flatten().flatten();
    let is_of_file_system = |name: &OsStr| name == "lost+found" || name.as_encoded_bytes().starts_with(b".");
    let top = inside(directory.to_path_buf()).filter(|entry| !is_of_file_system(&entry.file_name()));
    let mut entries = top.chain(inside(directory.join("log"))).take(ENTRIES_MAX);
    entries.find_map(|entry| {
        let owner = Uid::from_raw(entry.metadata().ok()?.uid());
        (owner != user).then(|| (entry.path(), owner))
    })
}

fn name_of(uid: Uid) -> String {
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// Whether this user may use the socket.
fn membership(socket: &Path) -> Finding {
    if Uid::effective().is_root() {
        return Finding::pass("root may use the socket");
    }
    let group = match fs::metadata(socket) {
        Ok(metadata) if Uid::from_raw(metadata.uid()) == Uid::effective() => {
            return Finding::pass("the socket is this user's own");
        }
        Ok(metadata) => Group::from_gid(Gid::from_raw(metadata.gid())),
        Err(_) => Group::from_name(ACCOUNT),
    };
    let Ok(Some(group)) = group else {
        return Finding::skip(format!("there is no group `{ACCOUNT}` here that could use the socket"));
    };
    let is_member = Gid::effective() == group.gid || getgroups().is_ok_and(|own| own.contains(&group.gid));
    let (user, name) = (Patient::user(), group.name);
    if is_member {
        return Finding::pass(format!("{user} is in the group `{name}` and may use the socket"));
    }
    Finding::warn(
        format!("{user} is not in the group `{name}` and may not use the socket"),
        format!("sudo usermod -aG {name} {user}, then log in again"),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::cli::doctor::finding::Mark;

    fn marked(mode: u32, is_secret: bool) -> Option<Mark> {
        judge(Path::new("/etc/rodent/token"), mode, is_secret).map(|finding| finding.mark)
    }

    #[test]
    fn a_secret_that_others_may_read_fails_and_a_configuration_warns() {
        assert_eq!((marked(0o640, true), marked(0o600, true), marked(0o640, false)), (None, None, None));
        assert_eq!((marked(0o644, true), marked(0o644, false)), (Some(Mark::Fail), Some(Mark::Warn)));
        assert_eq!((marked(0o660, true), marked(0o666, false)), (Some(Mark::Fail), Some(Mark::Fail)));
        let told = judge(Path::new("/t"), 0o644, true).expect("a finding");
        assert_eq!(
            (told.text.as_str(), told.advice.as_str()),
            ("/t may be read by everybody (mode 644)", "chmod o= /t")
        );
    }

    #[test]
    fn a_file_that_the_agents_user_may_not_read_fails_and_names_the_user() {
        let files =
            [("/etc/rodent/token", true), ("/etc/ssl/ca.pem", false)].map(|(path, it)| (PathBuf::from(path), it));
        let denied = || Some("Permission denied (os error 13)".to_owned());
        let found = judge_readable("rodent", &files, &[denied(), denied()]);
        assert_eq!(found.iter().map(|it| it.mark).collect::<Vec<_>>(), [Mark::Fail, Mark::Fail]);
        let told =
            "/etc/rodent/token cannot be read by rodent, as whom the agent runs: Permission denied (os error 13)";
        assert_eq!(found[0].text, told);
        assert!(found[0].advice.starts_with("chown rodent: /etc/rodent/token"), "{found:?}");
        assert!(found[1].advice.starts_with("chmod a+r /etc/ssl/ca.pem"), "{found:?}");
        assert_eq!(judge_readable("rodent", &files, &[None, None])[0].mark, Mark::Pass);
    }

    #[test]
    fn a_token_in_a_file_that_members_of_the_group_may_read_is_a_warning() {
        let group = |members: &[&str]| Group {
            name: ACCOUNT.to_owned(),
            passwd: std::ffi::CString::default(),
            gid: Gid::from_raw(997),
            mem: members.iter().map(|&name| name.to_owned()).collect(),
        };
        let told = token_in("/etc/rodent/rodent.yml", 0o640, &group(&["rodent", "alice"])).expect("a finding");
        assert!(told.mark == Mark::Warn && told.text.ends_with("the group `rodent` may read: alice"), "{told:?}");
        assert_eq!(token_in("/f", 0o640, &group(&[])), None, "nobody but the agent");
        assert_eq!(token_in("/f", 0o600, &group(&["alice"])), None);
        let many = token_in("/f", 0o640, &group(&["a", "b", "c", "d", "e"])).expect("a finding");
        assert!(many.text.ends_with("a, b, c, d and 1 more"), "{many:?}");
    }

    #[test]
    fn a_state_directory_of_somebody_else_or_open_to_all_is_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        let own = Uid::effective();
        let marks =
            |user| state_directory(path, user, false).into_iter().map(|finding| finding.mark).collect::<Vec<_>>();
        let mode = |mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
        mode(0o750);
        assert_eq!(marks(Some(own)), [Mark::Pass]);
        assert_eq!(marks(Some(Uid::from_raw(own.as_raw() + 1))), [Mark::Fail]);
        fs::create_dir(path.join("log")).expect("a directory");
        nix::unistd::chown(&path.join("log"), Some(own), None).expect("its own");
        assert_eq!(of_another(path, own), None);
        let next = Uid::from_raw(own.as_raw() + 1);
        let filesystem = tempfile::tempdir().expect("a file system of its own");
        for name in ["lost+found", ".zfs"] {
            fs::create_dir(filesystem.path().join(name)).expect("a directory");
        }
        assert_eq!(of_another(filesystem.path(), next), None);
        assert_eq!(of_another(path, next), Some((path.join("log"), own)));
        mode(0o755);
        assert_eq!(marks(None), [Mark::Warn]);
        mode(0o777);
        assert_eq!(marks(None), [Mark::Fail]);
        assert_eq!(state_directory(&path.join("absent"), None, false)[0].mark, Mark::Skip);
        assert_eq!(state_directory(&path.join("absent"), None, true)[0].mark, Mark::Fail, "an agent has it open");
        let of_service = state_directory(&path.join("absent"), Some(own), false);
        assert!(
            of_service[0].mark == Mark::Warn && of_service[0].advice.starts_with("install -d -o "),
            "{of_service:?}"
        );
    }
}
