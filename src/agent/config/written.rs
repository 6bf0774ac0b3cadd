//! Sinks that the command line writes down: each a drop-in of its own, `sinks-NAME.yml`, which it writes whole.
//!
//! Given keys and values by `rodent sinks`; gives a file that is read as any other. Always holds: what stands was checked together
//! with everything else before; a file that does not read as it was written is a person's, and left alone, and so is a sink that
//! stands elsewhere. For root: nobody else decides what lies in that directory. All of it blocks.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::unistd::Group;
use serde_json::Value;

use super::{Config, files::drop_in, sinks::is_name};
use crate::{
    files::{self, OwnerError},
    settings::{Faults, Records, SettingOrigin},
    words,
};

/// What such a file begins with.
const FIRST_LINE: &str =
    "# Written by `rodent sinks`, which writes it anew. To go on by hand, remove this line: then it is left alone.";

/// A longer file was not written here.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// No key of a sink is longer, characters.
const KEY_CHARACTERS_MAX: usize = 64;

/// For root and the agent's group, which the package made.
const MODE: u32 = 0o640;
const GROUP: &str = "rodent";

/// Why a sink is not written down, or not taken away.
#[derive(Debug, thiserror::Error)]
pub enum WrittenSinkError {
    /// The name is none.
    #[error("{0}")]
    Name(String),
    /// It is configured by hand.
    #[error(
        "the sink {name} is configured by hand in {file}, which is left alone: change it there, then `rodent reload`"
    )]
    ByHand {
        /// Which.
        name: String,
        /// Where.
        file: String,
    },
    /// There is none.
    #[error("no sink is called `{0}`")]
    Unknown(String),
    /// There is one.
    #[error("there is a sink {0} already: `rodent sinks set {0}` changes it")]
    There(String),
    /// What would stand is refused.
    #[error("nothing has changed:\n{0}")]
    Refused(Faults),
    /// The file system refuses, or root is not to do anything there.
    #[error("write {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others decide what lies there.
    #[error(transparent)]
    Owner(#[from] OwnerError),
}

/// A sink as it is written down: its keys in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WrittenSink {
    keys: Vec<(String, Value)>,
}

impl WrittenSink {
    /// What is written of the sink on the machine below `root`; `None` where nothing is.
    ///
    /// # Errors
    /// When it is configured by hand, or what is written cannot be read.
    pub fn find(root: &Path, name: &str) -> Result<Option<WrittenSink>, WrittenSinkError> {
        is_name(name).map_err(WrittenSinkError::Name)?;
        let path = path_of(root, name);
        let by_hand =
            |file: &Path| WrittenSinkError::ByHand { name: name.to_owned(), file: file.display().to_string() };
        let written = match files::read_bounded(&path, FILE_BYTES_MAX) {
            Ok(bytes) => {
                let read = String::from_utf8(bytes).ok().and_then(|text| WrittenSink::parse(name, &text));
                Some(read.ok_or_else(|| by_hand(&path))?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(WrittenSinkError::Io { path, source }),
        };
        // Whatever else is wrong with the files is told when something is to stand among them.
        let others = Config::load_as_if(root, &path, None).map(|loaded| loaded.records);
        match others.ok().and_then(|records| origin_of(&records, name)) {
            Some(file) => Err(by_hand(Path::new(&file))),
            None => Ok(written),
        }
    }

    /// Gives a key another value, or with `None` none.
    pub fn set(&mut self, key: &str, value: Option<Value>) {
        let known = self.keys.iter_mut().find(|(known, _)| known == key);
        match (known, value) {
            (Some(known), Some(value)) => known.1 = value,
            (_, None) => self.keys.retain(|(known, _)| known != key),
            (None, Some(value)) => self.keys.push((key.to_owned(), value)),
        }
    }

    /// Has it stand on the machine below `root`, or with `None` nothing of this name, if the configuration is valid then.
    ///
    /// # Errors
    /// What is wrong with it, or with writing; what was there is then still there.
    pub fn stand(root: &Path, name: &str, sink: Option<&WrittenSink>) -> Result<(), WrittenSinkError> {
        is_name(name).map_err(WrittenSinkError::Name)?;
        let path = path_of(root, name);
        let text = sink.map(|sink| sink.text(name));
        Config::load_as_if(root, &path, text.as_deref()).map_err(WrittenSinkError::Refused)?;
        let failed = |source| WrittenSinkError::Io { path: path.clone(), source };
        let directory = path.parent().unwrap_or(root);
        files::refuse_others(directory)?;
        match text {
            Some(text) => {
                fs::create_dir_all(directory).map_err(failed)?;
                let group = Group::from_name(GROUP).ok().flatten().map(|group| group.gid.as_raw());
                files::replace_for(&path, text.as_bytes(), MODE, group).map_err(failed)
            }
            None => files::remove(&path).and_then(|()| files::sync_directory(directory)).map_err(failed),
        }
    }

    fn text(&self, name: &str) -> String {
        // JSON is YAML.
        let lines: String = self.keys.iter().map(|(key, value)| format!("    {key}: {value}\n")).collect();
        format!("{FIRST_LINE}\nsinks:\n  {name}:\n{lines}")
    }

    /// `None` for what was not written by [`WrittenSink::text`].
    fn parse(name: &str, text: &str) -> Option<WrittenSink> {
        let head = format!("{FIRST_LINE}\nsinks:\n  {name}:\n");
        let key = |line: &str| {
            let (key, value) = line.strip_prefix("    ")?.split_once(": ")?;
            if !is_key(key) {
                return None;
            }
            Some((key.to_owned(), serde_json::from_str(value).ok()?))
        };
        let keys = text.strip_prefix(&head)?.lines().map(key).collect::<Option<_>>()?;
        Some(WrittenSink { keys }).filter(|sink| sink.text(name) == text)
    }
}

/// Whether a word may be a key; which there are, whoever reads the file knows.
pub fn is_key(word: &str) -> bool {
    words::is_name(word, KEY_CHARACTERS_MAX)
}

fn path_of(root: &Path, name: &str) -> PathBuf {
    drop_in(root, &format!("sinks-{name}.yml"))
}

/// The file that a sink stands in.
fn origin_of(records: &Records, name: &str) -> Option<String> {
    let part = format!("sinks.{name}.");
    let mut own = records.iter().filter(|record| record.key.starts_with(&part));
    own.find_map(|record| match &record.origin {
        SettingOrigin::File { file, .. } => Some(file.clone()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::json;

    use super::*;

    const URL: &str = "http://ntfy.lan/nas";

    fn phone() -> WrittenSink {
        let mut sink = WrittenSink::default();
        for (key, value) in [("type", json!("webhook")), ("url", json!(URL)), ("filter", json!(["level>=warn"]))] {
            sink.set(key, Some(value));
        }
        sink
    }

    fn names(root: &Path) -> Vec<String> {
        let loaded = Config::load(None, root).unwrap_or_else(|faults| panic!("{faults}"));
        loaded.config.sinks.into_iter().map(|sink| sink.name).collect()
    }

    #[test]
    fn a_sink_that_is_written_down_is_read_and_changed_and_goes() {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path();
        assert_eq!(WrittenSink::find(root, "phone").expect("none"), None);
        WrittenSink::stand(root, "phone", Some(&phone())).expect("it stands");
        assert_eq!(names(root), ["phone"]);
        let mode = fs::metadata(path_of(root, "phone")).expect("a file").permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
        let mut sink = WrittenSink::find(root, "phone").expect("read").expect("there");
        assert_eq!(sink, phone());
        sink.set("enabled", Some(json!(false)));
        sink.set("filter", None);
        WrittenSink::stand(root, "phone", Some(&sink)).expect("it stands");
        assert_eq!(names(root), [""; 0], "it is switched off");
        assert_eq!(WrittenSink::find(root, "phone").expect("read"), Some(sink));
        WrittenSink::stand(root, "phone", None).expect("it goes");
        assert!(!path_of(root, "phone").exists());
    }

    #[test]
    fn what_is_wrong_never_stands() {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path();
        let mut sink = phone();
        sink.set("fallback", Some(json!({"to": "bridge", "after": "5m"})));
        let refused = WrittenSink::stand(root, "phone", Some(&sink)).expect_err("there is no bridge").to_string();
        assert!(refused.contains("sinks-phone.yml:7:") && refused.contains("no other sink is called"), "{refused}");
        assert!(!path_of(root, "phone").exists());
        WrittenSink::stand(root, "bridge", Some(&phone())).expect("it stands");
        WrittenSink::stand(root, "phone", Some(&sink)).expect("now there is");
        WrittenSink::stand(root, "bridge", None).expect_err("the other one needs it");
        assert_eq!(names(root), ["bridge", "phone"]);
        WrittenSink::stand(root, "../x", Some(&sink)).expect_err("that is no name");
        let directory = path_of(root, "phone").parent().expect("a directory").to_owned();
        fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).expect("for all to write");
        let stands = WrittenSink::stand(root, "phone", Some(&sink));
        // Whoever is not root may do to their own files what they like.
        assert_eq!(matches!(stands, Err(WrittenSinkError::Owner(_))), nix::unistd::geteuid().is_root(), "{stands:?}");
    }

    #[test]
    fn what_is_configured_by_hand_is_left_alone_and_named() {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path();
        let directory = root.join("etc/rodent/rodent.d");
        fs::create_dir_all(&directory).expect("made");
        let by_hand = format!("sinks: {{phone: {{type: webhook, url: '{URL}'}}}}\n");
        fs::write(root.join("etc/rodent/rodent.yml"), &by_hand).expect("written");
        let refused = WrittenSink::find(root, "phone").expect_err("by hand").to_string();
        assert!(refused.contains("etc/rodent/rodent.yml") && refused.contains("left alone"), "{refused}");
        fs::remove_file(root.join("etc/rodent/rodent.yml")).expect("removed");
        fs::write(path_of(root, "phone"), &by_hand).expect("written");
        assert!(matches!(WrittenSink::find(root, "phone"), Err(WrittenSinkError::ByHand { .. })));
        WrittenSink::stand(root, "bridge", Some(&phone())).expect("it stands");
        let edited = fs::read_to_string(path_of(root, "bridge")).expect("read").replace("type:", "type :");
        fs::write(path_of(root, "bridge"), edited).expect("written");
        assert!(matches!(WrittenSink::find(root, "bridge"), Err(WrittenSinkError::ByHand { .. })));
        let edited = fs::read_to_string(path_of(root, "bridge")).expect("read").replace("type :", "type:  ");
        fs::write(path_of(root, "bridge"), edited).expect("written");
        assert!(matches!(WrittenSink::find(root, "bridge"), Err(WrittenSinkError::ByHand { .. })), "also a blank more");
    }
}
