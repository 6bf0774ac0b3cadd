//! What has to stand in a table because it is there, and what has to be one because it has one name. Pure.

use std::collections::BTreeMap;

use crate::code::production_code_of;

/// The folders of a room that its table does not name: a line of `ALL` is `NAME::SPEC`.
pub(crate) fn unregistered<'a>(folders: &[&'a str], room: &str) -> Vec<&'a str> {
    let code = production_code_of(room);
    let table =
        code.split_once("pub const ALL").and_then(|(_, rest)| rest.split_once(';')).map_or("", |(table, _)| table);
    let stands = |folder: &str| table.split([' ', '[', ']', ',', '\n']).any(|line| line == format!("{folder}::SPEC"));
    folders.iter().copied().filter(|folder| !stands(folder)).collect()
}

/// What a method of the local API lacks: who calls is asked before anything else, and the client has it.
pub(crate) fn local_methods(proto: &str, service: &str, client: &str) -> Vec<String> {
    let (service, client) = (production_code_of(service), production_code_of(client));
    let names = proto.lines().filter_map(|line| line.trim().strip_prefix("rpc ")?.split('(').next());
    let lacks = |name: &str| {
        let method = snake(name);
        let body = service.split_once(&format!("async fn {method}(")).and_then(|(_, rest)| rest.split_once("{\n"));
        let first = body.and_then(|(_, body)| body.split(';').next()).unwrap_or_default();
        let is_admitted = first.contains("self.gate.admit(") || first.contains("self.gate.admit_owner(");
        match (is_admitted, client.contains(&format!(".{method}("))) {
            (false, _) => Some(format!("{name} does not begin by asking who calls")),
            (true, false) => Some(format!("{name} is nothing that the client can call")),
            (true, true) => None,
        }
    };
    names.filter_map(lacks).collect()
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for (at, c) in name.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// The names of public types that several files give, each with these files.
pub(crate) fn ambiguous<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let mut given: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (path, text) in files {
        let code = production_code_of(text);
        for line in code.lines() {
            let kinds = ["struct ", "enum ", "trait ", "type ", "union "];
            let rest = line.trim_start().strip_prefix("pub ");
            let rest = rest.and_then(|rest| kinds.iter().find_map(|kind| rest.strip_prefix(kind)));
            let name: String =
                rest.unwrap_or_default().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !name.is_empty() {
                given.entry(name).or_default().push(path);
            }
        }
    }
    let several = given.into_iter().filter(|(_, paths)| paths.len() > 1);
    several.map(|(name, paths)| format!("`{name}` is a type of {}", paths.join(" and of "))).collect()
}
