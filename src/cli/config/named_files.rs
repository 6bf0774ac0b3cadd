//! Files that a configuration names, such as the token: whether they can be used, as far as the caller can see. Given the
//! records of a configuration that is valid, taken by `rodent config check`. `rodent doctor` looks closer, as the agent's user.

use std::{
    fs::{Metadata, OpenOptions},
    io::ErrorKind,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use nix::{libc, unistd::User};
use serde_json::Value;

use crate::settings::{Records, SettingOrigin, SettingRecord};

/// What keys end in that name a file to be read.
const KEY_END: &str = "_file";
/// As whom the agent of a system runs.
const AGENT: &str = "rodent";
/// Permissions of those who are not the owner.
const OTHERS: u32 = 0o077;

/// Those that cannot be used, a line each: the place, the key, the file, why, and what to do.
pub(super) fn unusable(records: &Records) -> Vec<String> {
    let has_agent = User::from_name(AGENT).is_ok_and(|user| user.is_some());
    let named = records.iter().filter(|record| record.key.ends_with(KEY_END));
    named.flat_map(|record| of_record(record, has_agent)).collect()
}

fn of_record(record: &SettingRecord, has_agent: bool) -> Vec<String> {
    let SettingOrigin::File { file, line, column } = &record.origin else { return Vec::new() };
    let paths: Vec<&str> = match &record.value {
        Value::String(path) => vec![path],
        Value::Array(paths) => paths.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let why = |path: &str| Some(format!("{file}:{line}:{column}: {}: {path}: {}", record.key, why(path, has_agent)?));
    paths.into_iter().filter_map(why).collect()
}

/// Why a file cannot be used; nothing where it can.
fn why(path: &str, has_agent: bool) -> Option<String> {
    // A pipe without a writer must not keep us.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(Path::new(path));
    let only_root = |of: &Metadata| has_agent && of.uid() == 0 && of.mode() & OTHERS == 0;
    match opened.and_then(|file| file.metadata()) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Some(format!("is not there; put it there for the agent alone: install -o {AGENT} -m 0400 YOUR-FILE {path}"))
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Some(
            "this user may not read it; if the agent may not either: sudo rodent doctor says what to do".to_owned(),
        ),
        Err(error) => Some(format!("cannot be read: {error}")),
        Ok(of) if of.is_dir() => Some("is a directory; name the file in it".to_owned()),
        Ok(of) if of.is_file() && of.len() == 0 => Some("is empty; write into it what the key asks for".to_owned()),
        Ok(of) if only_root(&of) => {
            Some(format!("only root may read it, and the agent runs as {AGENT}: chown {AGENT}: {path}"))
        }
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::agent::config::Config;

    #[test]
    fn a_token_that_is_not_there_or_cannot_be_read_is_told_in_its_line_with_a_cure_that_works() {
        let directory = tempfile::tempdir().expect("a directory");
        let token = directory.path().join("token");
        let text = format!("controller:\n  address: a:1\n  token_file: {}\n", token.display());
        let told = || {
            let loaded = Config::parse("rodent.yml", &text).unwrap_or_else(|faults| panic!("{faults}"));
            let record = loaded.records.get("controller.token_file").expect("a record").clone();
            of_record(&record, true).join("\n")
        };
        let place = format!("rodent.yml:3:15: controller.token_file: {}: ", token.display());
        assert!(told().starts_with(&format!("{place}is not there; ")), "{}", told());
        assert!(told().ends_with(&format!("install -o rodent -m 0400 YOUR-FILE {}", token.display())), "{}", told());
        fs::write(&token, "").expect("written");
        assert!(told().starts_with(&format!("{place}is empty; ")), "{}", told());
        fs::write(&token, "eyJ0").expect("written");
        fs::set_permissions(&token, fs::Permissions::from_mode(0o000)).expect("a mode");
        let why = told();
        // Root may read what nobody may.
        assert!(why.contains("chown rodent: ") || why.contains("this user may not read it"), "{why}");
        fs::set_permissions(&token, fs::Permissions::from_mode(0o444)).expect("a mode");
        assert_eq!(told(), "");
        fs::remove_file(&token).expect("removed");
        fs::create_dir(&token).expect("a directory");
        assert!(told().starts_with(&format!("{place}is a directory; ")), "{}", told());
    }
}
