//! A line of an `authorized_keys`. Pure.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// As much of a comment as is told, characters.
const COMMENT_CHARS_MAX: usize = 128;

/// A key, by what is not secret of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::collectors::security) struct Key {
    /// `ssh-ed25519`, and whether it signs the keys of others.
    pub(super) kind: String,
    pub(super) comment: String,
}

/// Its fingerprint, as `ssh-keygen -l` writes it, and what else there is to say; none of what is no key.
pub(super) fn key(line: &str) -> Option<(String, Key)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    plain(line).or_else(|| {
        let (options, rest) = line.split_at(end_of_options(line));
        let (print, mut key) = plain(rest.trim_start())?;
        if options.split(',').any(|option| option.eq_ignore_ascii_case("cert-authority")) {
            key.kind.push_str(", certificate authority");
        }
        Some((print, key))
    })
}

/// `ssh-ed25519 AAAA… alice@laptop`
fn plain(text: &str) -> Option<(String, Key)> {
    let mut words = text.splitn(3, [' ', '\t']);
    let (kind, encoded) = (words.next()?, words.next()?);
    let bytes = STANDARD.decode(encoded).ok()?;
    // The key says itself of what kind it is.
    if parts(&bytes)?.first() != Some(&kind.as_bytes()) {
        return None;
    }
    let print = format!("SHA256:{}", STANDARD_NO_PAD.encode(digest(&SHA256, &bytes)));
    let comment = words.next().unwrap_or_default().trim().chars().take(COMMENT_CHARS_MAX).collect();
    Some((print, Key { kind: kind.to_owned(), comment }))
}

/// What a key is made of, each with its length before it; none of one that is cut off.
fn parts(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        parts.push(part);
        bytes = rest;
    }
    (parts.len() > 1).then_some(parts)
}

/// Options end at the first blank that is in no quotes.
fn end_of_options(line: &str) -> usize {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, letter) in line.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ' ' | '\t' if !is_quoted => return at,
            _ => {}
        }
    }
    line.len()
}
