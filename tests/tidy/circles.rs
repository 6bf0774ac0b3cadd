//! Circles inside a room: files that name each other, straight or over others. Pure.
//!
//! A file names another by a path that begins with `crate::ROOM`, `super` or `self`; the longest part of the path that is a
//! file is the one that is named. What a file says of its own modules (`mod`, `pub use self::…`) is no naming.

use std::collections::{BTreeMap, BTreeSet};

use crate::code::{begins_word, production_code_of};

/// One circle of the files of a room, as paths below `src`; empty when there is none.
pub(crate) fn circle(room: &str, files: &[(String, String)]) -> Vec<String> {
    let modules: BTreeMap<String, &str> = files.iter().map(|(path, _)| (module_of(path), path.as_str())).collect();
    let names: BTreeMap<&str, BTreeSet<&str>> = files
        .iter()
        .map(|(path, text)| {
            let own = module_of(path);
            let named = paths(room, &own, text).into_iter().filter_map(|path| file_of(&modules, &path));
            (path.as_str(), named.filter(|named| *named != path.as_str()).collect())
        })
        .collect();
    let mut done = BTreeSet::new();
    for file in names.keys() {
        let mut way = Vec::new();
        if let Some(circle) = walk(&names, file, &mut way, &mut done) {
            return circle.into_iter().map(str::to_owned).collect();
        }
    }
    Vec::new()
}

/// `event_log/disk/row.rs` is `event_log::disk::row`.
fn module_of(path: &str) -> String {
    path.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::")
}

/// The file of the longest part of a path. The room's own module stands for what it gives to others: a file that names
/// something by that names a part of the room that names it.
fn file_of<'a>(modules: &BTreeMap<String, &'a str>, path: &str) -> Option<&'a str> {
    let mut path = path;
    loop {
        if let Some(file) = modules.get(path) {
            return Some(file);
        }
        path = path.rsplit_once("::")?.0;
    }
}

/// The paths that a file's code names within the room.
fn paths(room: &str, own: &str, text: &str) -> Vec<String> {
    let code = production_code_of(text);
    let mut found = Vec::new();
    for (at, start) in code.match_indices(&format!("crate::{room}")).filter(|(at, _)| begins_word(&code, *at)) {
        if let Some(path) = code[at + start.len()..].strip_prefix("::") {
            spread(room, path, &mut found);
        }
    }
    for (at, _) in code.match_indices("super::").filter(|(at, _)| !code[..*at].ends_with("::")) {
        let (mut begins, mut path) = (own, &code[at..]);
        while let Some(rest) = path.strip_prefix("super::") {
            (begins, path) = (begins.rsplit_once("::").map_or("", |(parent, _)| parent), rest);
        }
        spread(begins, path, &mut found);
    }
    // `use crate::{room::{…}, …}`
    for (at, _) in code.match_indices("crate::{") {
        let mut all = Vec::new();
        spread("", &code[at + "crate::".len()..], &mut all);
        found.extend(all.into_iter().filter(|path| path.split("::").next() == Some(room)));
    }
    found
}

/// Adds `begins` with what follows it: a path, or a group of them.
fn spread(begins: &str, rest: &str, found: &mut Vec<String>) {
    let join = |part: &str| if begins.is_empty() { part.to_owned() } else { format!("{begins}::{part}") };
    let rest = rest.trim_start();
    if let Some(group) = rest.strip_prefix('{') {
        let (mut depth, mut item) = (0, 0);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' | ',' if depth == 0 => {
                    spread(begins, &group[item..at], found);
                    item = at + 1;
                    if c == '}' {
                        return;
                    }
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
        return;
    }
    let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if word.is_empty() || word == "self" {
        found.push(begins.to_owned());
        return;
    }
    match rest[word.len()..].strip_prefix("::") {
        Some(more) => spread(&join(&word), more, found),
        None => found.push(join(&word)),
    }
}

fn walk<'a>(
    names: &BTreeMap<&'a str, BTreeSet<&'a str>>,
    file: &'a str,
    way: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Option<Vec<&'a str>> {
    if let Some(at) = way.iter().position(|before| *before == file) {
        return Some(way[at..].to_vec());
    }
    if !done.insert(file) {
        return None;
    }
    way.push(file);
    let found = names.get(file)?.iter().find_map(|named| walk(names, named, way, done));
    way.pop();
    found
}
