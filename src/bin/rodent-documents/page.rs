//! The man page of each command, out of its definition: what `--help` knows, in the order of a man page.
//!
//! The text behind a help is cut into what it consists of: `Examples:` with indented lines, `Exit codes:`, and the rest,
//! which are notes. A new command gets its page without a word here. Hidden commands have none.

use clap::{Arg, Command};
use clap_mangen::roff::{Inline, bold, italic, roman};

use crate::roff_text::Text;

/// What the pages of one program have in common.
pub(crate) struct Manual<'a> {
    /// 1 for everybody's commands, 8 for those of administrators.
    pub(crate) section: u8,
    /// `YYYY-MM-DD`.
    pub(crate) date: &'a str,
    /// Paths, and what is there.
    pub(crate) files: &'a [(&'a str, &'a str)],
    /// For commands that do not tell their own. Without any, what the program itself tells holds for its commands.
    pub(crate) exit_codes: Vec<(u8, String)>,
    /// Pages besides those of the program and its commands.
    pub(crate) see_also: &'a [&'a str],
}

/// The pages of a program and of its commands, at every depth: name without section, and text.
pub(crate) fn pages(mut program: Command, manual: &Manual) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    program.build();
    let exit_codes = match Help::of(&program).exit_codes {
        told if manual.exit_codes.is_empty() => told,
        _ => manual.exit_codes.clone(),
    };
    let mut pages = Vec::new();
    gather(&program, None, &exit_codes, manual, &mut pages);
    anyhow::ensure!(!exit_codes.is_empty(), "{} does not tell its exit codes", program.get_name());
    Ok(pages)
}

fn gather(
    command: &Command,
    above: Option<&str>,
    exit_codes: &[(u8, String)],
    manual: &Manual,
    into: &mut Vec<(String, Vec<u8>)>,
) {
    let name = name_of(command);
    into.push((name.clone(), page(command, above, exit_codes, manual)));
    for sub in shown(command) {
        gather(sub, Some(&name), exit_codes, manual, into);
    }
}

/// The commands of a command that are shown.
fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
}

/// As the page is called: `rodent-config-check`.
fn name_of(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

fn page(command: &Command, above: Option<&str>, exit_codes: &[(u8, String)], manual: &Manual) -> Vec<u8> {
    let (name, help) = (name_of(command), Help::of(command));
    let mut text = Text::begin(&name, manual.section, manual.date);
    text.section("NAME").line(&format!("{name} - {}", help.about));
    text.section("SYNOPSIS").example(usage(command).iter().map(String::as_str));
    text.section("DESCRIPTION");
    for paragraph in if help.description.is_empty() { std::slice::from_ref(&help.about) } else { &help.description } {
        text.paragraph(&full_stop(paragraph));
    }
    for paragraph in &help.notes {
        text.paragraph(paragraph);
    }
    let subs: Vec<_> = shown(command).collect();
    if !subs.is_empty() {
        text.section("COMMANDS");
        for sub in &subs {
            let term = vec![bold(name_of(sub)), roman(format!("({})", manual.section))];
            text.item(term, &full_stop(&Help::of(sub).about));
        }
    }
    let arguments: Vec<_> = command.get_arguments().filter(|argument| !argument.is_hide_set()).collect();
    for (title, positional) in [("ARGUMENTS", true), ("OPTIONS", false)] {
        let mut of_kind = arguments.iter().filter(|argument| argument.is_positional() == positional).peekable();
        if of_kind.peek().is_some() {
            text.section(title);
        }
        of_kind.for_each(|argument| describe(&mut text, argument));
    }
    if !help.examples.is_empty() {
        text.section("EXAMPLES").example(help.examples.iter().map(String::as_str));
    }
    text.section("EXIT STATUS");
    for (code, means) in if help.exit_codes.is_empty() { exit_codes } else { &help.exit_codes } {
        text.item(vec![bold(code.to_string())], &full_stop(means));
    }
    text.files(manual.files);
    let own = |name: &str| format!("{name}({})", manual.section);
    let mut others: Vec<_> = above.map(own).into_iter().collect();
    others.extend(subs.iter().map(|sub| own(&name_of(sub))));
    others.extend(
        manual
            .see_also
            .iter()
            .map(|page| (*page).to_owned())
            .filter(|page| Some(page.as_str()) != above.map(own).as_deref()),
    );
    text.see_also(&others);
    text.render()
}

/// `rodent emit [OPTIONS] [KIND] [FIELD=VALUE]...`, one line for each way to call it.
fn usage(command: &Command) -> Vec<String> {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage:").unwrap_or(&usage);
    usage.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// One argument or option: how it is written, what it does, its values and its default.
fn describe(text: &mut Text, argument: &Arg) {
    let help = argument.get_long_help().or_else(|| argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut paragraphs = paragraphs(&help).into_iter();
    text.item(term(argument), &full_stop(&paragraphs.next().unwrap_or_default()));
    paragraphs.for_each(|paragraph| {
        text.more(&full_stop(&paragraph));
    });
    let takes_value = argument.get_num_args().is_some_and(|number| number.takes_values());
    let values: Vec<_> = argument.get_possible_values().into_iter().filter(|value| !value.is_hide_set()).collect();
    if takes_value && !values.is_empty() && !argument.is_hide_possible_values_set() {
        let said = |value: &clap::builder::PossibleValue| match value.get_help() {
            Some(help) => format!("`{}` ({help})", value.get_name()),
            None => format!("`{}`", value.get_name()),
        };
        text.more(&format!("Values: {}.", values.iter().map(said).collect::<Vec<_>>().join(", ")));
    }
    let defaults: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if takes_value && !defaults.is_empty() && !argument.is_hide_default_value_set() {
        text.more(&format!("Default: `{}`.", defaults.join(" ")));
    }
    if let Some(variable) = argument.get_env() {
        text.more(&format!("Environment: `{}`.", variable.to_string_lossy()));
    }
}

/// `-o, --output OUTPUT`
fn term(argument: &Arg) -> Vec<Inline> {
    let mut term = Vec::new();
    if let Some(short) = argument.get_short() {
        term.push(bold(format!("-{short}")));
    }
    if let Some(long) = argument.get_long() {
        if !term.is_empty() {
            term.push(roman(", "));
        }
        term.push(bold(format!("--{long}")));
    }
    if argument.get_num_args().is_some_and(|number| number.takes_values()) {
        if !term.is_empty() {
            term.push(roman(" "));
        }
        let names = argument.get_value_names().map(|names| names.iter().map(ToString::to_string).collect());
        let names: Vec<String> = names.unwrap_or_else(|| vec![argument.get_id().to_string()]);
        term.push(italic(names.join(" ")));
    }
    term
}

/// What the help of a command consists of.
#[derive(Default)]
struct Help {
    /// One line, without a full stop.
    about: String,
    /// Paragraphs; none when there is only the line.
    description: Vec<String>,
    notes: Vec<String>,
    /// Lines as they are.
    examples: Vec<String>,
    exit_codes: Vec<(u8, String)>,
}

impl Help {
    fn of(command: &Command) -> Help {
        let text = |styled: Option<&clap::builder::StyledStr>| styled.map(ToString::to_string).unwrap_or_default();
        let short = text(command.get_about().or_else(|| command.get_long_about()));
        let about = paragraphs(&short).into_iter().next().unwrap_or_default();
        let mut help = Help { about: about.trim_end_matches('.').to_owned(), ..Help::default() };
        let mut description = paragraphs(&text(command.get_long_about().or_else(|| command.get_about())));
        if description.first().is_some_and(|first| first.trim_end_matches('.') == help.about) {
            description.remove(0);
        }
        help.description = description;
        let after = text(command.get_after_long_help().or_else(|| command.get_after_help()));
        let mut lines = after.lines().peekable();
        while let Some(line) = lines.next() {
            if line == "Examples:" {
                while let Some(line) = lines.next_if(|line| line.is_empty() || line.starts_with(' ')) {
                    help.examples.push(line.strip_prefix("  ").unwrap_or(line).to_owned());
                }
            } else if !line.is_empty() {
                let mut paragraph = line.to_owned();
                while let Some(line) = lines.next_if(|line| !line.is_empty()) {
                    paragraph = paragraph + " " + line;
                }
                match paragraph.strip_prefix("Exit codes: ") {
                    Some(codes) => help.exit_codes = exit_codes(codes),
                    None => help.notes.push(paragraph),
                }
            }
        }
        while help.examples.last().is_some_and(String::is_empty) {
            help.examples.pop();
        }
        help
    }
}

/// `0 done, 65 something was refused, or not read, 69 no agent.`: each number at the beginning of a part begins another.
fn exit_codes(text: &str) -> Vec<(u8, String)> {
    let mut codes: Vec<(u8, String)> = Vec::new();
    for part in text.trim_end_matches('.').split(", ") {
        let (first, rest) = part.split_once(' ').unwrap_or((part, ""));
        match (first.parse(), codes.last_mut()) {
            (Ok(code), _) => codes.push((code, rest.to_owned())),
            (Err(_), Some((_, means))) => *means = format!("{means}, {part}"),
            (Err(_), None) => {}
        }
    }
    codes
}

/// Paragraphs are what blank lines divide; within them lines are joined.
fn paragraphs(text: &str) -> Vec<String> {
    let joined = |paragraph: &str| paragraph.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    text.split("\n\n").map(joined).filter(|paragraph| !paragraph.is_empty()).collect()
}

fn full_stop(text: &str) -> String {
    if text.is_empty() || text.ends_with(['.', ':', '?']) { text.to_owned() } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manual() -> Manual<'static> {
        Manual { section: 1, date: "2026-11-21", files: &[], exit_codes: vec![(0, "done".into())], see_also: &[] }
    }

    #[test]
    fn what_stands_behind_a_help_becomes_examples_exit_status_and_notes() {
        let command = Command::new("x").about("Do it").after_help(
            "Examples:\n  x --all\n\n  x | y\n\nWhat is\nnoteworthy.\n\nExit codes: 0 done, 65 this, or that, 69 no agent.",
        );
        let help = Help::of(&command);
        assert_eq!(help.examples, ["x --all", "", "x | y"]);
        assert_eq!(help.notes, ["What is noteworthy."]);
        let codes: Vec<_> = help.exit_codes.iter().map(|(code, means)| (*code, means.as_str())).collect();
        assert_eq!(codes, [(0, "done"), (65, "this, or that"), (69, "no agent")]);
    }

    #[test]
    fn every_command_that_is_shown_has_a_page_with_examples_and_exit_status() {
        let pages = pages(rodent::cli::definition(), &manual()).expect("pages");
        assert!(pages.iter().any(|(name, _)| name == "rodent-config-check"), "commands of commands too");
        assert!(!pages.iter().any(|(name, _)| name.contains("bench")), "hidden ones not");
        for (name, text) in pages {
            let text = String::from_utf8(text).expect("text");
            for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "FILES", "SEE ALSO"] {
                assert!(
                    text.contains(&format!(".SH {section}")) || text.contains(&format!(".SH \"{section}\"")),
                    "{name}: {section}"
                );
            }
        }
    }
}
