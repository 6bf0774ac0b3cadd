//! Whose work is linked into the programs, and under which licence: a listing for the packages, with the texts.
//!
//! Takes what `cargo metadata` prints for the machines that packages are built for; what only runs during a build (build
//! scripts, macros, tests) is left out. Always holds: each crate stands there with its licence, and each text once. A
//! crate that carries no text is said to carry none.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::Value;

/// A text of a licence is shorter; a longer file is something else.
const TEXT_BYTES_MAX: u64 = 256 * 1024;
/// What names of files with licences begin with.
const NAMES: &[&str] = &["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

const HEAD: &str = "\
Rodent is licensed under the Apache License, version 2.0. Its programs contain
the Rust standard library (MIT OR Apache-2.0) and the crates below, each under
the licence named behind it. Their texts and notices follow, each once, under
the names of the crates that carry it.

";

/// The crates, then the texts.
///
/// # Errors
/// When `metadata` is not what `cargo metadata` prints, or a crate says nothing about its licence.
pub(crate) fn listing(metadata: &[u8]) -> anyhow::Result<String> {
    let metadata: Value = serde_json::from_slice(metadata).context("the metadata are no JSON")?;
    let linked = linked(&metadata)?;
    let mut crates = BTreeSet::new();
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in list(&metadata["packages"]).iter().filter(|package| linked.contains(text(&package["id"]))) {
        let name = format!("{} {}", text(&package["name"]), text(&package["version"]));
        let licence = text(&package["license"]);
        anyhow::ensure!(!licence.is_empty(), "{name} does not tell its licence");
        let directory = Path::new(text(&package["manifest_path"])).parent().context("a manifest has a directory")?;
        let files = files(directory)?;
        let none = if files.is_empty() { " (carries no text of it)" } else { "" };
        crates.insert(format!("{name}: {licence}{none}\n"));
        for file in files {
            let bytes = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
            let shape = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
            texts.entry(shape.trim_matches('\n').to_owned()).or_default().insert(name.clone());
        }
    }
    anyhow::ensure!(!crates.is_empty(), "nothing is linked into the programs");
    // By the first of those who carry it, so that a new crate moves nothing else.
    let mut texts: Vec<_> = texts.into_iter().map(|(text, carriers)| (carriers, text)).collect();
    texts.sort();
    let mut listing = HEAD.to_owned() + &String::from_iter(crates);
    for (carriers, text) in texts {
        let rule = "-".repeat(72);
        let carriers = Vec::from_iter(carriers).join("\n");
        listing += &format!("\n\n{rule}\n{carriers}\n{rule}\n\n{text}\n");
    }
    Ok(listing)
}

/// The identifiers of the packages that are linked in, the root itself left out.
fn linked(metadata: &Value) -> anyhow::Result<BTreeSet<&str>> {
    let resolve = &metadata["resolve"];
    let nodes: BTreeMap<_, _> = list(&resolve["nodes"]).iter().map(|node| (text(&node["id"]), node)).collect();
    let macros: BTreeSet<_> = list(&metadata["packages"])
        .iter()
        .filter(|package| {
            list(&package["targets"]).iter().any(|target| list(&target["kind"]).contains(&"proc-macro".into()))
        })
        .map(|package| text(&package["id"]))
        .collect();
    let root = resolve["root"].as_str().context("the metadata have no root")?;
    let (mut linked, mut waiting) = (BTreeSet::new(), vec![root]);
    while let Some(node) = waiting.pop().and_then(|id| nodes.get(id)) {
        for dependency in list(&node["deps"]) {
            let id = text(&dependency["pkg"]);
            // Of no kind is what is neither for builds nor for tests.
            let normal = list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
            if normal && !macros.contains(id) && linked.insert(id) {
                waiting.push(id);
            }
        }
    }
    Ok(linked)
}

/// The files with licences of a crate: its own, and those of what it brings along in a directory.
fn files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in sorted(directory)? {
        if entry.is_dir() { found.extend(sorted(&entry)?) } else { found.push(entry) }
    }
    found.retain(|path| {
        let name = path.file_name().map(|name| name.to_string_lossy().to_uppercase()).unwrap_or_default();
        let is_code =
            path.extension().is_some_and(|extension| extension == "rs" || extension == "c" || extension == "h");
        NAMES.iter().any(|begin| name.starts_with(begin))
            && !is_code
            && fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= TEXT_BYTES_MAX)
    });
    Ok(found)
}

fn sorted(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let context = || format!("read {}", directory.display());
    let entries = fs::read_dir(directory).with_context(context)?;
    let mut paths =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().with_context(context)?;
    paths.sort();
    Ok(paths)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
