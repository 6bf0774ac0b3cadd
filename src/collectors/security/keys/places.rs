//! Whose keys are looked for, and where: users with a shell, and the files that sshd's configuration names. Pure but for reading the
//! latter.

use crate::{host::Host, words};

const SSHD_CONFIG: &str = "/etc/ssh/sshd_config";
const DIRECTORY: &str = "/etc/ssh";
/// The most files that a configuration includes.
const INCLUDES_MAX: usize = 64;
/// Where they are when the configuration does not say.
const USUAL: [&str; 2] = [".ssh/authorized_keys", ".ssh/authorized_keys2"];
/// With these nobody gets in.
const NO_SHELLS: [&str; 4] = ["nologin", "false", "sync", "true"];

/// Who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) number: u32,
    home: String,
}

impl User {
    /// Where their file is: `%u` is the name, `%h` the home, in which everything lies that does not begin with `/`.
    pub(super) fn path(&self, file: &str) -> String {
        let mut path = String::new();
        let mut letters = file.chars();
        while let Some(letter) = letters.next() {
            match (letter, if letter == '%' { letters.next() } else { None }) {
                ('%', Some('u')) => path.push_str(&self.name),
                ('%', Some('h')) => path.push_str(&self.home),
                ('%', Some('U')) => path.push_str(&self.number.to_string()),
                ('%', Some('%') | None) => path.push('%'),
                ('%', Some(other)) => path.extend(['%', other]),
                (letter, _) => path.push(letter),
            }
        }
        if path.starts_with('/') { path } else { format!("{}/{path}", self.home.trim_end_matches('/')) }
    }
}

/// Those of `/etc/passwd`; none while it has no root, for then it is being written.
pub(super) fn users(passwd: &str) -> Option<Vec<User>> {
    let user = |line: &str| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?.trim(), fields.nth(1)?.trim().parse().ok()?);
        let (home, shell) = (fields.nth(2)?, fields.next().unwrap_or_default());
        let (name, home) = (name.to_owned(), home.to_owned());
        Some((User { name, number, home }, shell.rsplit('/').next().unwrap_or_default().to_owned()))
    };
    let all: Vec<_> = passwd.lines().filter_map(user).collect();
    if !all.iter().any(|(user, _)| user.number == 0) {
        return None;
    }
    let may_log_in = |(user, shell): (User, String)| {
        (!NO_SHELLS.contains(&shell.as_str()) && user.home.starts_with('/')).then_some(user)
    };
    Some(all.into_iter().filter_map(may_log_in).collect())
}

/// The files of each user. Where the configuration may not be read, or says nothing, the usual ones.
pub(super) fn files(host: &Host) -> Vec<String> {
    let text = host.read(SSHD_CONFIG).unwrap_or_default();
    let mut left = INCLUDES_MAX;
    named(&text, &mut |pattern| included(host, pattern, &mut left))
        .unwrap_or_else(|| USUAL.iter().map(|&file| file.to_owned()).collect())
}

/// The texts of the files that a pattern takes.
fn included(host: &Host, pattern: &str, left: &mut usize) -> Vec<String> {
    let pattern = if pattern.starts_with('/') { pattern.to_owned() } else { format!("{DIRECTORY}/{pattern}") };
    let Some((directory, of_name)) = pattern.rsplit_once('/') else { return Vec::new() };
    let mut names = host.names(directory).unwrap_or_default();
    names.retain(|name| words::matches(of_name, name) && !name.starts_with('.'));
    names.truncate(*left);
    *left -= names.len();
    names.iter().filter_map(|name| host.read(&format!("{directory}/{name}")).ok()).collect()
}

/// What a configuration says, the first word counting; none where it says nothing. Files that are included count in their place, and
/// include no others.
fn named(text: &str, include: &mut dyn FnMut(&str) -> Vec<String>) -> Option<Vec<String>> {
    for line in text.lines() {
        let mut words = line.split([' ', '\t', '=']).filter(|word| !word.is_empty());
        let key = words.next().unwrap_or_default();
        if key.eq_ignore_ascii_case("Match") {
            return None;
        }
        if key.eq_ignore_ascii_case("AuthorizedKeysFile") {
            let files = words.map(|word| word.trim_matches('"').to_owned());
            return Some(files.filter(|file| !file.eq_ignore_ascii_case("none")).collect());
        }
        if key.eq_ignore_ascii_case("Include") {
            let texts: Vec<_> = words.flat_map(|pattern| include(pattern.trim_matches('"'))).collect();
            if let Some(files) = texts.iter().find_map(|text| named(text, &mut |_| Vec::new())) {
                return Some(files);
            }
        }
    }
    None
}
