//! The shares of Samba's configuration: `smb.conf`, what it includes, and what `net conf list` writes of the registry, which looks
//! the same. Pure.

use std::collections::BTreeMap;

/// Settings of a share, by name.
pub(super) type Settings = BTreeMap<String, String>;

/// The most shares, and settings of each, that are followed.
pub(super) const SHARES_MAX: usize = 1024;
const SETTINGS_MAX: usize = 128;
/// As much of a setting as is followed, characters.
const VALUE_CHARS_MAX: usize = 512;

/// What stands in a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SmbConf {
    pub(super) global: Settings,
    /// By name, as written.
    pub(super) shares: BTreeMap<String, Settings>,
    /// The section that is being read; empty for the global one.
    section: String,
    /// Some shares stand in the registry.
    pub(super) has_registry: bool,
    /// Shares beyond the bound.
    pub(super) beyond: usize,
}

impl SmbConf {
    /// Takes in a file; `include` is asked for the text of those that it includes, which count as if they stood there.
    pub(super) fn read(&mut self, text: &str, include: &mut dyn FnMut(&mut SmbConf, &str)) {
        let mut joined = String::new();
        for line in text.lines() {
            let line = line.trim();
            // A comment goes on nowhere, and what goes on may begin like one.
            if joined.is_empty() && (line.starts_with(['#', ';']) || line.is_empty()) {
                continue;
            }
            if let Some(part) = line.strip_suffix('\\') {
                joined.push_str(part);
                continue;
            }
            joined.push_str(line);
            self.line(&std::mem::take(&mut joined), include);
        }
        self.line(&joined, include);
    }

    fn line(&mut self, line: &str, include: &mut dyn FnMut(&mut SmbConf, &str)) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name.trim()) {
            self.begin(name);
            return;
        }
        let Some((key, value)) = line.split_once('=') else { return };
        let words: Vec<_> = key.split_whitespace().collect();
        let (key, value) = (words.join(" ").to_lowercase(), value.trim());
        match (key.as_str(), value) {
            ("include", "registry") | ("config backend", "registry") => self.has_registry = true,
            ("registry shares", value) => self.has_registry |= is_yes(value),
            ("include", path) => include(self, path),
            _ => self.set(key, value),
        }
    }

    fn begin(&mut self, name: &str) {
        self.section = name.to_owned();
        if is_global(name) {
            self.section.clear();
        } else if !self.shares.contains_key(name) {
            if self.shares.len() < SHARES_MAX {
                self.shares.insert(name.to_owned(), Settings::new());
            } else {
                self.beyond += 1;
            }
        }
    }

    fn set(&mut self, key: String, value: &str) {
        let settings = match self.section.as_str() {
            "" => Some(&mut self.global),
            section => self.shares.get_mut(section),
        };
        let (key, value) = plain(key, value);
        if let Some(settings) = settings.filter(|it| it.len() < SETTINGS_MAX || it.contains_key(&key)) {
            settings.insert(key, value.chars().take(VALUE_CHARS_MAX).collect());
        }
    }
}

fn is_global(name: &str) -> bool {
    matches!(name.to_lowercase().as_str(), "global" | "globals")
}

/// The same setting under its one name.
fn plain(key: String, value: &str) -> (String, String) {
    let is_negated = matches!(key.as_str(), "writable" | "writeable" | "write ok");
    let key = match key.as_str() {
        "directory" => "path",
        "readonly" | "writable" | "writeable" | "write ok" => "read only",
        "public" => "guest ok",
        "users" => "valid users",
        "browsable" => "browseable",
        other => other,
    };
    let value = if is_negated { if is_yes(value) { "no" } else { "yes" } } else { value };
    (key.to_owned(), value.to_owned())
}

/// As Samba reads it.
pub(super) fn is_yes(value: &str) -> bool {
    matches!(value.to_lowercase().as_str(), "yes" | "true" | "1" | "on")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As on a real machine.
    const CONF: &str = include_str!("../../../tests/fixtures/samba/smb.conf");

    fn read(text: &str) -> SmbConf {
        let mut conf = SmbConf::default();
        conf.read(text, &mut |conf, path| {
            if path == "/etc/samba/more.conf" {
                conf.read("[more]\npath = /srv/more\n", &mut |_, _| {});
            }
        });
        conf
    }

    #[test]
    fn shares_stand_behind_the_global_section_with_their_settings() {
        let conf = read(CONF);
        assert_eq!(conf.shares.keys().collect::<Vec<_>>(), ["data"]);
        assert_eq!(conf.shares["data"]["path"], "/srv/data");
        assert_eq!((conf.shares["data"]["read only"].as_str(), conf.global["workgroup"].as_str()), ("no", "WORKGROUP"));
    }

    #[test]
    fn synonyms_comments_long_lines_and_includes_are_read_as_samba_does() {
        let text = "; no\n# no\n[Pub]\n Directory = /srv/pub\n ; no \\\n  writeable = Yes\nvalid \\\n users = a, \\\n b\n[GLOBAL]\n\
                    include = /etc/samba/more.conf\nregistry shares = yes\ngarbage\n[]\nx=1";
        let conf = read(text);
        assert_eq!(conf.shares["Pub"]["read only"], "no");
        assert_eq!(
            (conf.shares["Pub"]["path"].as_str(), conf.shares["Pub"]["valid users"].as_str()),
            ("/srv/pub", "a, b")
        );
        assert_eq!(conf.shares["more"]["path"], "/srv/more");
        assert!(conf.has_registry);
    }

    #[test]
    fn beyond_the_bound_shares_are_counted() {
        let text: String = (0..SHARES_MAX + 3).map(|number| format!("[s{number}]\npath=/srv\n")).collect();
        let conf = read(&text);
        assert_eq!((conf.shares.len(), conf.beyond), (SHARES_MAX, 3));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_there_are_no_more_shares_than_names(text in "(\\[|\\]|=|\\\\|\n|;|[a-z ]{0,6}|.){0,80}") {
            let conf = read(&text);
            prop_assert!(conf.shares.len() <= text.matches('[').count());
            prop_assert!(conf.shares.keys().all(|name| name.chars().all(|c| text.contains(c))));
        }
    }
}
