//! Names that people give and files bear.

/// Whether a text is one: 1 to `characters_max` of `a` to `z`, `0` to `9`, `-` and `_`. Such a name is also one of a file.
pub fn is_name(text: &str, characters_max: usize) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    (1..=characters_max).contains(&text.len()) && text.bytes().all(is_plain)
}
