//! What NFS exports: `/etc/exports` and its kin, and `etab`, the table of what is in force, which looks nearly the same. Pure.

use std::collections::BTreeMap;

/// By path: who may use it, and with which options.
pub(super) type Exports = BTreeMap<String, BTreeMap<String, String>>;

/// The most paths, and clients of each, that are followed.
pub(super) const EXPORTS_MAX: usize = 1024;
const CLIENTS_MAX: usize = 256;

/// `/srv/x  10.0.0.0/24(rw,no_root_squash) @hosts(ro)`; `"/srv/with space" *`; `/srv/y -ro host1 host2(rw)`. Gives how many paths
/// are beyond the bound.
pub(super) fn read(text: &str, exports: &mut Exports) -> usize {
    let (mut joined, mut beyond) = (String::new(), 0);
    for line in text.lines() {
        if let Some(part) = line.strip_suffix('\\') {
            joined.push_str(part);
            joined.push(' ');
            continue;
        }
        joined.push_str(line);
        beyond += usize::from(!export(&std::mem::take(&mut joined), exports));
    }
    beyond + usize::from(!export(&joined, exports))
}

/// Whether it is taken, or none.
fn export(line: &str, exports: &mut Exports) -> bool {
    let line = line.trim();
    let (path, rest) = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
        None => line.split_once(char::is_whitespace).unwrap_or((line, "")),
    };
    if !path.starts_with('/') {
        return true;
    }
    let path = unescaped(path);
    if exports.len() >= EXPORTS_MAX && !exports.contains_key(&path) {
        return false;
    }
    let clients = exports.entry(path).or_default();
    let mut by_default = "";
    for word in rest.split_whitespace().take_while(|word| !word.starts_with('#')) {
        if let Some(options) = word.strip_prefix('-') {
            by_default = options;
        } else if clients.len() < CLIENTS_MAX {
            let (client, options) = word.split_once('(').unwrap_or((word, ""));
            let client = if client.is_empty() { "*" } else { client };
            let options = options.trim_end_matches(')');
            let all = [by_default, options].into_iter().filter(|some| !some.is_empty()).collect::<Vec<_>>().join(",");
            clients.insert(client.to_owned(), all);
        }
    }
    if clients.is_empty() {
        clients.insert("*".to_owned(), by_default.to_owned());
    }
    true
}

/// `\040` is a space.
fn unescaped(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.split_at_checked(3).filter(|_| first == b'\\').and_then(|(digits, after)| {
            let number = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()?;
            Some((number, after))
        });
        let (byte, after) = octal.unwrap_or((first, after));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `10.0.0.0/24(rw,no_root_squash)`: of the options what a person asks for.
pub(super) fn client(name: &str, options: &str) -> String {
    let has = |wanted: &str| options.split(',').any(|option| option == wanted);
    let squash = if has("no_root_squash") { ",no_root_squash" } else { "" };
    format!("{name}({}{squash})", if has("rw") { "rw" } else { "ro" })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ETAB: &str = include_str!("../../../tests/fixtures/nfs/etab");

    fn all(text: &str) -> Vec<String> {
        let mut exports = Exports::new();
        read(text, &mut exports);
        let words = |(path, clients): (&String, &BTreeMap<String, String>)| {
            let clients: Vec<_> = clients.iter().map(|(name, options)| client(name, options)).collect();
            format!("{path} {}", clients.join(" "))
        };
        exports.iter().map(words).collect()
    }

    #[test]
    fn the_table_in_force_and_the_configuration_say_the_same() {
        assert_eq!(all(ETAB), ["/srv/x 127.0.0.1(rw,no_root_squash)"]);
        assert_eq!(all("/srv/x 127.0.0.1(rw,no_root_squash)\n"), all(ETAB));
    }

    #[test]
    fn quotes_escapes_comments_long_lines_and_options_for_all_are_read() {
        let text =
            "# none\n\"/srv/a b\" *(ro)\n/srv/c\\040d -rw h1 \\\n h2(ro,rw) # no\n/srv/e (rw)\n/srv/f\nnot one\n";
        let expected = ["/srv/a b *(ro)", "/srv/c d h1(rw) h2(rw)", "/srv/e *(rw)", "/srv/f *(ro)"];
        assert_eq!(all(text), expected);
    }

    #[test]
    fn beyond_the_bound_exports_are_counted() {
        let text: String = (0..EXPORTS_MAX + 2).map(|number| format!("/srv/{number} *\n")).collect();
        assert_eq!(read(&text, &mut Exports::new()), 2);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_is_no_path_is_no_export(text in "(/[a-z]{0,3}|\\\\|\"|\\(|\\)|-| |\t|\n|#|[0-7]{3}|.){0,60}") {
            let mut exports = Exports::new();
            read(&text, &mut exports);
            prop_assert!(exports.iter().all(|(path, clients)| path.starts_with('/') && !clients.is_empty()));
        }
    }
}
