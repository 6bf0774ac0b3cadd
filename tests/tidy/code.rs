//! Rust sources without what is no code: comments, texts and tests are blanked out, lines stay where they are.

/// The code of a file: comments and the content of texts and characters become blanks.
pub(crate) fn code_of(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        let length = match next {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => text(rest),
            'r' | 'b' | 'c' if !ends_in_word(&code) => raw_text(rest).unwrap_or(0),
            '\'' => character(rest),
            _ => 0,
        };
        let (skipped, kept) = if length == 0 { ("", next.len_utf8()) } else { (&rest[..length], 0) };
        code.extend(skipped.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        code.push_str(&rest[..kept]);
        rest = &rest[length.max(kept)..];
    }
    code
}

/// The code of a file without its `#[cfg(test)]` items.
pub(crate) fn production_code_of(source: &str) -> String {
    let mut code = code_of(source);
    const MARK: &str = "#[cfg(test)]";
    while let Some(start) = code.find(MARK) {
        let end = item_end(&code, start + MARK.len());
        let blanked: String = code[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        code.replace_range(start..end, &blanked);
    }
    code
}

/// Whether the byte at `at` begins a word.
pub(crate) fn begins_word(code: &str, at: usize) -> bool {
    !ends_in_word(&code[..at])
}

/// Line of a byte, from 1.
pub(crate) fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// The word that a text begins with; empty if it begins with none.
pub(crate) fn first_word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

fn ends_in_word(code: &str) -> bool {
    code.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let tail = &rest[at..];
        match tail {
            _ if tail.starts_with("/*") => (depth, at) = (depth + 1, at + 2),
            _ if tail.starts_with("*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += tail.chars().next().map_or(1, char::len_utf8),
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn text(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Length of `r"…"`, `r#"…"#`, `br"…"`, `b"…"`; nothing where none begins.
fn raw_text(rest: &str) -> Option<usize> {
    let prefix = first_word(rest);
    let after = &rest[prefix.len()..];
    match prefix {
        "b" | "c" if after.starts_with('"') => Some(prefix.len() + text(after)),
        "r" | "br" | "cr" => {
            let hashes = after.len() - after.trim_start_matches('#').len();
            let body = after[hashes..].strip_prefix('"')?;
            let closing = format!("\"{}", "#".repeat(hashes));
            let length = body.find(&closing).map_or(body.len(), |end| end + closing.len());
            Some(prefix.len() + hashes + 1 + length)
        }
        _ => None,
    }
}

/// Length of `'x'` or `'\n'`; nothing for a lifetime.
fn character(rest: &str) -> usize {
    let body = &rest[1..];
    match body.strip_prefix('\\') {
        Some(escape) => {
            let skipped = escape.chars().next().map_or(0, char::len_utf8);
            escape[skipped..].find('\'').map_or(0, |end| 2 + skipped + end + 1)
        }
        None => {
            let length = body.chars().next().map_or(0, char::len_utf8);
            if body[length..].starts_with('\'') { length + 2 } else { 0 }
        }
    }
}

/// Where the item ends that begins at `start`: behind its `;`, or behind the braces that close it.
fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code[start..].char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 && (c == ';' || c == '}') {
            return start + at + 1;
        }
    }
    code.len()
}

#[test]
fn comments_texts_and_characters_are_no_code() {
    let source = "a // b\n/* c /* d */ e */ f \"g \\\" h\" i r#\"j \" k\"# l '\"' m 'n' o<'p> b\"q\" r";
    assert_eq!(code_of(source).split_whitespace().collect::<String>(), "afilmo<'p>r");
    assert_eq!(code_of("x // é\ny").lines().count(), 2);
}

#[test]
fn test_items_are_no_production_code() {
    let source =
        "a;\n#[cfg(test)]\nmod tests {\n fn b() { c }\n}\nd;\n#[cfg(test)]\nuse x::{y, z};\n#[cfg(test)]\nmod e;\nf";
    let code = production_code_of(source);
    assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a;", "d;", ";", "f"]);
    assert_eq!(code.lines().count(), source.lines().count());
}
