//! The order of the house as a test: who may name whom, which crate belongs where, what no file may hold.
//!
//! Every rule is a pure function over a file's text and is shown to fail below. What a rule allows as an exception
//! stands in a table here with its reason.

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/code.rs"]
mod code;
#[path = "tidy/registries.rs"]
mod registries;
#[path = "tidy/rules.rs"]
mod rules;

use std::{fs, path::Path};

use rules::Breach;

/// Which rooms a room may name, besides its own and those of [`EVERYONE`].
const LAYERS: &[(&str, &[&str])] = &[
    ("allocator", &[]),
    ("backoff", &[]),
    ("schema", &[]),
    ("service_manager", &[]),
    ("settings", &[]),
    ("metrics", &[]),
    ("health", &[]),
    ("telemetry", &[]),
    ("words", &[]),
    ("limits", &[]),
    ("files", &[]),
    ("tls", &[]),
    ("lock", &[]),
    ("order", &[]),
    ("visible", &[]),
    ("terminal", &["event"]),
    ("event", &[]),
    ("event_log", &["event"]),
    ("host", &[]),
    ("hooks", &["event"]),
    ("spool", &["event"]),
    ("pipeline", &["event_log", "event"]),
    ("collectors", &["pipeline", "host", "event"]),
    // Of the log it takes the words only: lane, state of the clock.
    ("dead_letters", &["event_log", "event"]),
    ("consumers", &["dead_letters", "event_log", "event"]),
    // Of the log it takes the words only: lane, gap.
    ("state", &["event_log", "event"]),
    ("telling", &[]),
    ("sinks", &["consumers", "telling", "state", "dead_letters", "event_log", "event"]),
    ("client", &["event"]),
    ("local_api", &["pipeline", "consumers", "dead_letters", "event_log", "event"]),
    ("controller", &["event"]),
    (
        "agent",
        &[
            "event",
            "event_log",
            "dead_letters",
            "host",
            "spool",
            "pipeline",
            "collectors",
            "consumers",
            "sinks",
            "state",
            "client",
            "local_api",
        ],
    ),
    (
        "bench",
        &[
            "allocator",
            "event",
            "event_log",
            "dead_letters",
            "pipeline",
            "client",
            "local_api",
            "consumers",
            "sinks",
            "controller",
        ],
    ),
    ("cli", &["allocator", "event", "event_log", "client", "hooks", "spool", "agent", "controller", "bench"]),
];
/// Rooms that everyone may name.
const EVERYONE: &[&str] = &[
    "schema",
    "service_manager",
    "settings",
    "telemetry",
    "backoff",
    "terminal",
    "metrics",
    "health",
    "words",
    "limits",
    "files",
    "tls",
    "lock",
    "order",
    "visible",
];

/// Crates that only some rooms may name, and which.
const CRATES: &[(&str, &[&str])] = &[
    ("sled", &["event_log/"]),
    ("zbus", &["host/"]),
    ("netlink_packet", &["host/"]),
    ("rusqlite", &["controller/"]),
    ("async_nats", &["controller/store/nats/"]),
    ("serde_saphyr", &["settings/yaml.rs"]),
    ("tokio_rustls", &["tls/", "sinks/", "controller/"]),
    ("rustls_native_certs", &["tls/"]),
    (
        "tonic",
        &["schema.rs", "health.rs", "sinks/", "client/", "local_api/", "controller/", "agent/", "cli/", "bench/"],
    ),
];

/// Rooms with a table of their folders, and which folders do not stand in it.
const REGISTRIES: &[(&str, &[&str])] = &[
    // What runs each of them.
    ("collectors", &["driver"]),
    // There is one, and it has its own part in the configuration.
    ("sinks", &["uplink"]),
];

/// Rooms that see bytes where others see messages: what an event or an answer is made of is none of their business.
const WITHOUT_SCHEMA: &[&str] = &["event_log"];

/// The most lines of a file.
const LINES_MAX: usize = 500;
/// Files that are longer, and why.
const LONG: &[(&str, &str)] = &[];

/// A source file: its path below a directory, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Whether it holds tests only.
    fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs") || self.path.contains("/tests/")
    }
}

fn sources(directory: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let text = |path: &Path| fs::read_to_string(path).expect("a source file is text");
    let below = |path: &Path| path.strip_prefix(&root).expect("it is below").to_string_lossy().into_owned();
    let files = files(&root).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files.map(|path| Source { path: below(&path), text: text(&path) }).collect()
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("the directory is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Fails with every breach of a rule, as `FILE:LINE: WHAT`.
fn hold<'a>(sources: impl IntoIterator<Item = &'a Source>, rule: impl Fn(&Source) -> Vec<Breach>) {
    let breaches: Vec<String> = sources
        .into_iter()
        .flat_map(|source| rule(source).into_iter().map(|(line, what)| format!("{}:{line}: {what}", source.path)))
        .collect();
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn rooms_name_only_the_rooms_below_them() {
    let sources = sources("src");
    let production = || sources.iter().filter(|source| !source.is_test());
    assert!(production().count() > 50, "the sources are found");
    hold(production(), |source| rules::layers(&source.path, &source.text, LAYERS, EVERYONE));
    let sees_bytes = |source: &&Source| rules::room_of(&source.path).is_some_and(|room| WITHOUT_SCHEMA.contains(&room));
    let others: Vec<_> = EVERYONE.iter().copied().filter(|room| *room != "schema").collect();
    hold(production().filter(sees_bytes), |source| rules::layers(&source.path, &source.text, LAYERS, &others));
    hold(production(), |source| rules::supers(&source.path, &source.text));
}

#[test]
fn the_table_of_layers_has_no_cycle_and_no_room_that_is_not_there() {
    let sources = sources("src");
    for (room, allowed) in LAYERS {
        assert!(sources.iter().any(|source| rules::room_of(&source.path) == Some(room)), "`{room}` is no room");
        for other in *allowed {
            let (_, back) = LAYERS.iter().find(|(own, _)| own == other).expect("a room in the table");
            assert!(!back.contains(room), "`{room}` and `{other}` may name each other");
        }
    }
}

#[test]
fn files_of_a_room_name_each_other_in_no_circle() {
    for (room, _) in LAYERS {
        let of_room = |source: &Source| rules::room_of(&source.path) == Some(room) && !source.is_test();
        let files: Vec<_> =
            sources("src").into_iter().filter(of_room).map(|source| (source.path, source.text)).collect();
        let circle = circles::circle(room, &files);
        assert!(circle.is_empty(), "{}", circle.join(" -> "));
    }
}

#[test]
fn every_folder_of_a_registry_stands_in_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (room, others) in REGISTRIES {
        let entries = fs::read_dir(root.join(room)).expect("a room").map(|entry| entry.expect("an entry"));
        let folders: Vec<_> = entries
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| !others.contains(&name.as_str()))
            .collect();
        assert!(!folders.is_empty(), "the folders of {room} are found");
        let text = fs::read_to_string(root.join(room).join("mod.rs")).expect("a room");
        let missing = registries::unregistered(&folders.iter().map(String::as_str).collect::<Vec<_>>(), &text);
        assert!(missing.is_empty(), "not in `ALL` of {room}: {}", missing.join(", "));
    }
}

#[test]
fn every_local_method_asks_who_calls_and_the_client_has_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = |path: &str| fs::read_to_string(root.join(path)).expect("it is there");
    let proto = text("proto/local.proto");
    assert!(proto.contains("rpc Status("), "the methods are found");
    let client: String = sources("src/client").into_iter().map(|source| source.text).collect();
    let lacking = registries::local_methods(&proto, &text("src/local_api/service.rs"), &client);
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}

#[test]
fn a_public_type_has_a_name_of_its_own() {
    let sources = sources("src");
    let library = sources.iter().filter(|source| !source.path.starts_with("bin/") && !source.is_test());
    let ambiguous = registries::ambiguous(library.map(|source| (source.path.as_str(), source.text.as_str())));
    assert!(ambiguous.is_empty(), "\n{}", ambiguous.join("\n"));
}

#[test]
fn crates_stay_in_their_rooms() {
    hold(&sources("src"), |source| rules::crates(&source.path, &source.text, CRATES));
}

#[test]
fn nothing_is_left_unfinished() {
    hold(&sources("src"), |source| rules::unfinished(&source.text));
    hold(sources("tests").iter().filter(|source| !source.path.starts_with("tidy")), |source| {
        rules::unfinished(&source.text)
    });
}

#[test]
fn production_code_has_no_unwrap() {
    hold(sources("src").iter().filter(|source| !source.is_test()), |source| rules::unwraps(&source.text));
}

#[test]
fn every_file_says_what_it_is_and_is_named_for_it() {
    for directory in ["src", "tests"] {
        // A `tests.rs` is what its name says, of the file beside it.
        let sources = sources(directory);
        hold(sources.iter().filter(|source| !source.path.ends_with("/tests.rs")), |source| rules::head(&source.text));
        hold(&sources, |source| rules::name(&source.path));
    }
}

#[test]
fn files_are_short_but_for_those_with_a_reason() {
    for directory in ["src", "tests"] {
        let is_long = |source: &Source| LONG.iter().any(|(path, _)| *path == source.path);
        hold(sources(directory).iter().filter(|source| !is_long(source)), |source| {
            rules::length(&source.text, LINES_MAX)
        });
    }
    let all: Vec<_> = ["src", "tests"].into_iter().flat_map(sources).collect();
    for (path, reason) in LONG {
        let source = all.iter().find(|source| source.path == *path).unwrap_or_else(|| panic!("{path} is gone"));
        assert!(source.text.lines().count() > LINES_MAX, "{path} needs no reason any more: {reason}");
    }
}

#[test]
fn every_fixture_is_used() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let sources: Vec<_> = ["src", "tests"].into_iter().flat_map(sources).collect();
    let is_named = |name: &str| sources.iter().any(|source| source.text.contains(name));
    // A directory that is read whole is named with nothing behind it; where a macro makes the name, its end is.
    let is_used = |path: &Path| {
        let (file, stem) = (path.file_name().expect("a name"), path.file_stem().expect("a name").to_string_lossy());
        let directory = path.parent().expect("a parent").strip_prefix(&fixtures).expect("it is below");
        is_named(&file.to_string_lossy())
            || is_named(&format!("fixtures/{}\"", directory.display()))
            || stem.char_indices().any(|(at, _)| at + 4 < stem.len() && is_named(&format!("\"{}\"", &stem[at..])))
    };
    let unused: Vec<_> =
        files(&fixtures).into_iter().filter(|path| !path.ends_with("README.md") && !is_used(path)).collect();
    assert!(unused.is_empty(), "{unused:#?}");
}

#[test]
fn every_link_in_the_documents_leads_to_a_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let paths = files(&root.join("docs")).into_iter().chain([root.join("README.md")]);
    let text = |path: &Path| fs::read_to_string(path).expect("a document is text");
    let documents: Vec<_> = paths.map(|path| Source { text: text(&path), path: path.display().to_string() }).collect();
    assert!(documents.len() > 5, "the documents are found");
    hold(&documents, |document| {
        let directory = Path::new(&document.path).parent().expect("a parent");
        rules::links(&document.text, |target| directory.join(target).exists())
    });
}

mod each_rule_can_fail {
    use super::*;

    const TABLE: &[(&str, &[&str])] = &[("event", &[]), ("pipeline", &["event"])];

    fn layers(path: &str, source: &str) -> Vec<String> {
        let breaches = rules::layers(path, source, TABLE, &["schema"]);
        breaches.into_iter().map(|(line, what)| format!("{line}: {what}")).collect()
    }

    #[test]
    fn a_room_that_names_one_above_it() {
        assert_eq!(layers("event/view.rs", "use crate::pipeline::Emitter;"), ["1: `event` names `pipeline`"]);
        assert_eq!(layers("event/view.rs", "\nfn a() { crate::pipeline::b() }"), ["2: `event` names `pipeline`"]);
        assert!(
            layers("pipeline/mod.rs", "use crate::event::Level; use crate::schema::X; use crate::pipeline::Y;")
                .is_empty()
        );
    }

    #[test]
    fn files_that_name_each_other() {
        let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
        let root = file("log/mod.rs", "mod a;\nmod b;\npub use self::a::A;");
        let circle =
            |a: &str, b: &str| circles::circle("log", &[root.clone(), file("log/a.rs", a), file("log/b.rs", b)]);
        assert_eq!(circle("use crate::{event::X, log::{b::B, b}};", "use super::a::A;"), ["log/a.rs", "log/b.rs"]);
        assert!(circle("use crate::log::b::B;", "use std::sync::Arc;").is_empty());
        assert!(circle("use crate::log::b::B;", "#[cfg(test)]\nmod tests { use crate::log::a::A; }").is_empty());
        assert!(circle("use super::super::log::b::B;", "use super::super::a::A;").is_empty(), "another room's `a`");
        assert_eq!(circle("use super::super::log::b::B;", "use super::a::A;"), ["log/a.rs", "log/b.rs"]);
    }

    #[test]
    fn a_folder_that_is_not_in_its_registry() {
        let room = "mod phone;\nmod mail;\n// phone::SPEC\npub const ALL: &[Spec] = &[\n    mail::SPEC, xphone::SPEC];";
        assert_eq!(registries::unregistered(&["mail", "phone"], room), ["phone"]);
        assert_eq!(registries::unregistered(&["mail"], "mod mail;\nfn a() { mail::SPEC }"), ["mail"]);
    }

    #[test]
    fn a_local_method_that_anybody_may_call_or_nobody_can() {
        let proto = "service Local {\n  rpc FlushAll(A) returns (B);\n  // rpc None(A)\n}";
        let method = |body: &str| format!("async fn flush_all(&self, request: R) -> X {{\n    {body}\n}}");
        let found = |body: &str, client: &str| registries::local_methods(proto, &method(body), client).len();
        assert_eq!(found("self.gate.admit(&request).await?; work()", "self.service.flush_all(x)"), 0);
        assert_eq!(found("work(); self.gate.admit(&request).await?;", "self.service.flush_all(x)"), 1);
        assert_eq!(found("self.gate.admit_owner(&request, \"x\").await?;", "self.service.flush(x)"), 1);
        assert_eq!(registries::local_methods(proto, "", "").len(), 1);
    }

    #[test]
    fn a_public_type_whose_name_another_has() {
        let (one, other) = ("pub struct Page<T> {}\npub(super) struct Row;", "pub enum Page {}\npub struct Row;");
        assert_eq!(registries::ambiguous([("a.rs", one), ("b.rs", other)]), ["`Page` is a type of a.rs and of b.rs"]);
        let in_test = "#[cfg(test)]\nmod tests { pub struct Row; }\n// pub struct Row;";
        assert!(registries::ambiguous([("b.rs", other), ("c.rs", in_test)]).is_empty());
    }

    #[test]
    fn a_room_that_names_one_in_a_group() {
        let group =
            "use crate::{\n    event::{Level, kind},\n    host::{Host, clock::{self}},\n    schema,\n    sinks,\n};";
        assert_eq!(layers("pipeline.rs", group), ["3: `pipeline` names `host`", "5: `pipeline` names `sinks`"]);
    }

    #[test]
    fn a_room_may_name_any_in_its_tests_and_its_words() {
        let source = "//! See [`crate::host::Host`].\nconst A: &str = \"crate::host\";\n#[cfg(test)]\nmod tests { use crate::host::Host; }";
        assert!(layers("event/view.rs", source).is_empty());
    }

    #[test]
    fn a_room_that_nobody_has_put_in_the_table() {
        assert_eq!(layers("moon/mod.rs", ""), ["1: `moon` is not in the table of layers"]);
        assert!(layers("bin/rodent.rs", "use crate::anything;").is_empty());
    }

    #[test]
    fn a_chain_of_super_that_leaves_its_room() {
        assert_eq!(rules::supers("event/mod.rs", "use super::host;").len(), 1);
        assert_eq!(rules::supers("event/view/part.rs", "use super::super::super::host;").len(), 1);
        assert_eq!(rules::supers("backoff.rs", "use super::host;").len(), 1);
        assert!(rules::supers("event/view/part.rs", "use super::super::Level;").is_empty());
    }

    #[test]
    fn a_crate_in_a_room_that_it_does_not_belong_to() {
        let found = |path, source| {
            rules::crates(path, source, &[("sled", &["event_log/"]), ("netlink_packet", &["host/"])]).len()
        };
        assert_eq!(found("pipeline/mod.rs", "fn a(tree: sled::Tree) {}"), 1);
        assert_eq!(found("pipeline/mod.rs", "use sled;"), 1);
        assert_eq!(found("pipeline/mod.rs", "use netlink_packet_core::X;"), 1);
        assert_eq!(found("event_log/generation.rs", "use sled::Db;"), 0);
        assert_eq!(found("pipeline/mod.rs", "// sled::Db\nlet unsled::x = \"sled::Db\";"), 0);
    }

    #[test]
    fn a_file_that_is_not_finished() {
        assert_eq!(rules::unfinished("fn a() { todo!() }\nfn b() { unimplemented!(\"x\") }").len(), 2);
        assert_eq!(rules::unfinished("// FIXME: later\n/* TODO */").len(), 2);
        assert!(rules::unfinished("let todo = \"todo!\"; // the MAX_TODOS of them").is_empty());
    }

    #[test]
    fn a_file_with_an_unwrap() {
        assert_eq!(rules::unwraps("a\n  .unwrap()").len(), 1);
        assert!(
            rules::unwraps("a.unwrap_or(b) // .unwrap()\n#[cfg(test)]\nmod tests { fn a() { b.unwrap() } }").is_empty()
        );
    }

    #[test]
    fn a_file_that_does_not_say_what_it_is() {
        for source in ["use x;", "", "// A comment.", "//! Stub.\n", "//!\n"] {
            assert_eq!(rules::head(source).len(), 1, "{source:?}");
        }
        assert!(rules::head("//! Says it.\n").is_empty());
    }

    #[test]
    fn a_document_with_a_link_to_nothing() {
        let found = |text| rules::links(text, |target| target == "docs/herd.md");
        assert_eq!(found("See\n[herd](herd.md)."), [(2, "the link to `herd.md` leads nowhere".to_owned())]);
        assert!(found("[herd](docs/herd.md#why), [below](#why), [there](https://example.com), a](b c)").is_empty());
    }

    #[test]
    fn a_file_that_is_long_or_named_for_nothing() {
        assert_eq!(rules::length("a\nb\nc", 2).len(), 1);
        assert!(rules::length("a\nb", 2).is_empty());
        assert_eq!(rules::name("event/utils.rs").len(), 1);
        assert_eq!(rules::name("common/mod.rs").len(), 1);
        assert!(rules::name("event/view.rs").is_empty());
    }
}
