//! What a daemon calls a hook with: variables of its environment, or arguments; as bounded text.
//!
//! Always holds: at most [`WORDS_MAX`] words, each at most [`WORD_BYTES_MAX`] bytes of UTF-8 without control characters.
//! What is longer is cut, what is no text becomes replacement characters: a disk may call itself anything.

use crate::order::Gather as _;
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
};

use crate::visible::is_hidden;

/// Words that are looked at; a zevent has some sixty.
const WORDS_MAX: usize = 256;

/// Bytes of a word; names of data sets have at most 256, messages of smartd some hundred.
const WORD_BYTES_MAX: usize = 1024;

/// The words of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    variables: BTreeMap<String, String>,
    arguments: Vec<String>,
}

impl Words {
    /// Out of an environment, of which only variables of the daemons are kept, and arguments.
    pub fn new(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Words {
        const PREFIXES: [&[u8]; 2] = [b"ZEVENT_", b"SMARTD_"];
        let is_of_daemon = |name: &OsStr| PREFIXES.iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix));
        let variables = environment.into_iter().filter(|(name, _)| is_of_daemon(name)).take(WORDS_MAX);
        Words {
            variables: variables.map(|(name, value)| (text(&name), text(&value))).gather(),
            arguments: arguments.into_iter().take(WORDS_MAX).map(|argument| text(&argument)).collect(),
        }
    }

    /// A variable; empty when it is not there.
    pub(super) fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }

    /// A variable that must be there.
    pub(super) fn wanted(&self, name: &str) -> Result<&str, String> {
        match self.variable(name) {
            "" => Err(format!("{name} is not set")),
            value => Ok(value),
        }
    }

    /// An argument, from 0; empty when it is not there.
    pub(super) fn argument(&self, place: usize) -> &str {
        self.arguments.get(place).map_or("", String::as_str)
    }
}

/// At most so many bytes, cut between characters.
fn text(word: &OsStr) -> String {
    let bytes = word.as_encoded_bytes();
    let text = String::from_utf8_lossy(bytes.get(..WORD_BYTES_MAX).unwrap_or(bytes));
    let mut plain = String::new();
    for c in text.chars().map(|c| if is_hidden(c) { ' ' } else { c }) {
        if plain.len() + c.len_utf8() > WORD_BYTES_MAX {
            break;
        }
        plain.push(c);
    }
    plain.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn whatever_a_disk_calls_itself_becomes_bounded_text() {
        let wild: Vec<u8> = [b"WD\x1b[2J\n\xff".as_slice(), &[b'x'; 5000]].concat();
        let pair = |name: &str, value: Vec<u8>| (OsString::from(name), OsString::from_vec(value));
        let words = Words::new([pair("SMARTD_DEVICEINFO", wild), pair("PATH", b"/bin".to_vec())], []);
        let value = words.variable("SMARTD_DEVICEINFO");
        assert!(value.starts_with("WD [2J \u{fffd}x"), "{value}");
        assert!(value.len() <= WORD_BYTES_MAX);
        assert_eq!(words.variable("PATH"), "");
        assert_eq!(words.wanted("SMARTD_DEVICE"), Err("SMARTD_DEVICE is not set".to_owned()));
    }

    #[test]
    fn no_more_words_are_taken_than_a_daemon_says() {
        let many = (0..10_000).map(|n| (OsString::from(format!("ZEVENT_{n}")), OsString::from("x")));
        let words = Words::new(many, (0..10_000).map(|n| OsString::from(n.to_string())));
        assert_eq!((words.variables.len(), words.arguments.len()), (WORDS_MAX, WORDS_MAX));
    }
}
