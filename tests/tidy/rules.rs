//! The rules: each takes a file and gives what breaks it, as `LINE: WHAT`. Pure.

use crate::code::{begins_word, code_of, first_word, line_of, production_code_of};

/// What breaks a rule: the line and what is wrong there.
pub(crate) type Breach = (usize, String);

/// Rooms of this crate that the code of a file names, with their lines. The file is given by its path below `src`.
pub(crate) fn rooms_named(source: &str) -> Vec<(usize, String)> {
    let code = production_code_of(source);
    let mut rooms = Vec::new();
    for (at, _) in code.match_indices("crate::").filter(|(at, _)| begins_word(&code, *at)) {
        for (offset, room) in heads(&code[at + "crate::".len()..]) {
            rooms.push((line_of(&code, at + offset), room.to_owned()));
        }
    }
    rooms
}

/// The first words of what follows `crate::`: one, or those of a group, with how far behind `crate` they stand.
fn heads(path: &str) -> Vec<(usize, &str)> {
    let path_start = "crate::".len();
    let Some(group) = path.strip_prefix('{') else { return vec![(path_start, first_word(path))] };
    let (mut depth, mut item_begins, mut heads) = (0, true, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => item_begins = true,
            c if item_begins && !c.is_whitespace() => {
                heads.push((path_start + 1 + at, first_word(&group[at..])));
                item_begins = false;
            }
            _ => {}
        }
    }
    heads
}

/// Room of a file, by its path below `src`; nothing for the files that are no room.
pub(crate) fn room_of(path: &str) -> Option<&str> {
    let head = path.split('/').next()?;
    match head.strip_suffix(".rs").unwrap_or(head) {
        "bin" | "lib" => None,
        room => Some(room),
    }
}

/// Where a room names one that it must not: the table says which it may.
pub(crate) fn layers(path: &str, source: &str, table: &[(&str, &[&str])], everyone: &[&str]) -> Vec<Breach> {
    let Some(room) = room_of(path) else { return Vec::new() };
    let Some((_, allowed)) = table.iter().find(|(own, _)| *own == room) else {
        return vec![(1, format!("`{room}` is not in the table of layers"))];
    };
    let may = |named: &str| named == room || everyone.contains(&named) || allowed.contains(&named);
    let all = rooms_named(source).into_iter();
    all.filter(|(_, named)| !may(named)).map(|(line, named)| (line, format!("`{room}` names `{named}`"))).collect()
}

/// Where a chain of `super` leaves its room: rooms are named from the root, so that the table can be held.
pub(crate) fn supers(path: &str, source: &str) -> Vec<Breach> {
    let Some(_) = room_of(path) else { return Vec::new() };
    let modules = path.trim_end_matches(".rs").trim_end_matches("/mod").split('/').count();
    let code = production_code_of(source);
    let chain = "super::".repeat(modules);
    let starts = code.match_indices(&chain).filter(|(at, _)| begins_word(&code, *at) && !code[..*at].ends_with("::"));
    starts.map(|(at, _)| (line_of(&code, at), "`super` leaves its room; begin with `crate::`".to_owned())).collect()
}

/// Where the code names a crate that belongs to other rooms. `crates` gives a crate's name and the paths that may.
pub(crate) fn crates(path: &str, source: &str, crates: &[(&str, &[&str])]) -> Vec<Breach> {
    let code = production_code_of(source);
    let mut breaches = Vec::new();
    for (name, _) in crates.iter().filter(|(_, paths)| !paths.iter().any(|own| path.starts_with(own))) {
        for (at, _) in code.match_indices(name).filter(|(at, _)| begins_word(&code, *at)) {
            let after = &code[at + first_word(&code[at..]).len()..];
            if after.starts_with("::") || code[..at].ends_with("use ") {
                breaches.push((line_of(&code, at), format!("`{name}` does not belong here")));
            }
        }
    }
    breaches
}

/// Code that is not finished: marks in comments count as much as macros.
pub(crate) fn unfinished(source: &str) -> Vec<Breach> {
    let code = code_of(source);
    let macros = ["todo!", "unimplemented!"].into_iter().flat_map(|mark| places(&code, mark));
    let comments = ["FIXME", "TODO", "XXX"].into_iter().flat_map(|mark| places(source, mark));
    macros.chain(comments).collect()
}

/// `unwrap()` in production code: an error has a message, an invariant an `expect`.
pub(crate) fn unwraps(source: &str) -> Vec<Breach> {
    let code = production_code_of(source);
    code.match_indices(".unwrap()").map(|(at, mark)| (line_of(&code, at), format!("`{mark}`"))).collect()
}

fn places<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = Breach> + 'a {
    let found = text.match_indices(mark).filter(|(at, _)| begins_word(text, *at));
    let whole = found.filter(|(at, _)| first_word(&text[*at..]) == mark.trim_end_matches('!'));
    whole.map(|(at, mark)| (line_of(text, at), format!("`{mark}`")))
}

/// A file that does not say what it is.
pub(crate) fn head(source: &str) -> Vec<Breach> {
    let says = source.starts_with("//! ") && source.lines().next().is_some_and(|line| line != "//! Stub.");
    if says { Vec::new() } else { vec![(1, "does not begin with `//!` and what it is".to_owned())] }
}

/// A file that is too long for one noun.
pub(crate) fn length(source: &str, lines_max: usize) -> Vec<Breach> {
    let lines = source.lines().count();
    if lines <= lines_max { Vec::new() } else { vec![(lines, format!("{lines} lines; {lines_max} are the most"))] }
}

/// A name that says nothing.
pub(crate) fn name(path: &str) -> Vec<Breach> {
    const EMPTY: [&str; 7] = ["util", "utils", "helper", "helpers", "common", "misc", "stuff"];
    let parts = path.trim_end_matches(".rs").split('/');
    parts.filter(|part| EMPTY.contains(part)).map(|part| (1, format!("`{part}` is no name for anything"))).collect()
}

/// Links of a document to files that are not there.
pub(crate) fn links(text: &str, is_there: impl Fn(&str) -> bool) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (at, opening) in text.match_indices("](") {
        let target = text[at + opening.len()..].split(')').next().unwrap_or_default();
        let file = target.split('#').next().unwrap_or_default();
        let is_elsewhere = file.is_empty() || file.contains("://") || file.contains(char::is_whitespace);
        if !is_elsewhere && !is_there(file) {
            breaches.push((line_of(text, at), format!("the link to `{target}` leads nowhere")));
        }
    }
    breaches
}
