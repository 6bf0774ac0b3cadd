//! A line of an `authorized_keys`. Pure.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// As much of a comment as is told, characters.
const COMMENT_CHARS_MAX: usize = 128;
/// What stands between words, as often as somebody likes.
const BLANKS: [char; 2] = [' ', '\t'];
const RSA: &str = "ssh-rsa";
/// The names of its newer signatures, under which sshd takes the same key.
const ALSO_RSA: [&str; 2] = ["rsa-sha2-256", "rsa-sha2-512"];

/// A key, by what is not secret of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::collectors::security) struct Key {
    /// `ssh-ed25519`, and whether it signs the keys of others.
    pub(super) kind: String,
    pub(super) comment: String,
}

/// Its fingerprint, as `ssh-keygen -l` writes it, and what else there is to say; none of what is no key.
pub(super) fn key(line: &str) -> Option<(String, Key)> {
    // For sshd it ends there.
    let line = line.split('\0').next().unwrap_or_default().trim();
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
    let (name, rest) = text.split_once(BLANKS)?;
    let rest = rest.trim_start_matches(BLANKS);
    let (encoded, comment) = rest.split_once(BLANKS).unwrap_or((rest, ""));
    // sshd passes over white space of other kinds within it.
    let encoded: String = encoded.split(['\u{b}', '\u{c}', '\r']).collect();
    let bytes = STANDARD.decode(encoded).ok()?;
    // The key says itself of what kind it is.
    let kind = if ALSO_RSA.contains(&name) { RSA } else { name };
    if parts(&bytes)?.first() != Some(&kind.as_bytes()) {
        return None;
    }
    let print = format!("SHA256:{}", STANDARD_NO_PAD.encode(digest(&SHA256, &bytes)));
    let comment = comment.trim().chars().take(COMMENT_CHARS_MAX).collect();
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

/// Options end at the first blank that is in no quotes. A backslash counts before a quotation mark alone, as for sshd.
fn end_of_options(line: &str) -> usize {
    let mut is_quoted = false;
    let mut letters = line.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => drop(letters.next_if(|(_, next)| *next == '"')),
            '"' => is_quoted = !is_quoted,
            ' ' | '\t' if !is_quoted => return at,
            _ => {}
        }
    }
    line.len()
}
