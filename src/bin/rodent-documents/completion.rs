//! Kinds of events and their fields in completions: asked of the program that is installed, so that they are always its own.

use anyhow::ensure;
use clap_complete::Shell;

/// Before the completion's own end, words are looked at that it knows nothing of.
const BASH: &str = r#"
# Kinds of events and their fields, as the program that is installed has them.
_rodent_with_kinds() {
    local current="${COMP_WORDS[COMP_CWORD]}" command="" kind="" word skip=""
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$skip$word" in
            -l|--level|-m|--meta|--json|--socket|-n|--limit|-o|--output|--since|--until) skip=" " ;;
            -*) ;;
            " "*) skip="" ;;
            *) if [[ -z $command ]]; then command=$word; elif [[ -z $kind ]]; then kind=$word; fi ;;
        esac
    done
    case "$command" in
        emit|events|kinds|describe) ;;
        *) _rodent "$@"; return ;;
    esac
    if [[ $current == -* || -n $skip ]]; then
        _rodent "$@"
    elif [[ $command == emit && -n $kind ]]; then
        compopt -o nospace
        COMPREPLY=($(compgen -S = -W "$(rodent describe --names "$kind" 2>/dev/null)" -- "$current"))
    else
        COMPREPLY=($(compgen -W "$(rodent kinds --names 2>/dev/null)" -- "$current"))
    fi
}
complete -F _rodent_with_kinds -o bashdefault -o default rodent
"#;

const ZSH: &str = r#"
# Kinds of events and their fields, as the program that is installed has them.
_rodent_kinds() {
    compadd -- ${(f)"$(rodent kinds --names 2>/dev/null)"}
}
_rodent_fields() {
    compadd -S = -- ${(f)"$(rodent describe --names ${line[1]} 2>/dev/null)"}
}
"#;

const FISH: &str = r#"
# Kinds of events and their fields, as the program that is installed has them.
function __rodent_fields
    for word in (commandline -opc)[3..]
        if string match -qr '^[a-z_]+\.[a-z_.]+$' -- $word
            rodent describe --names $word 2>/dev/null | string replace -r '$' '='
            return
        end
    end
    return 1
end
complete -c rodent -n "__fish_rodent_using_subcommand emit; and not __rodent_fields >/dev/null" -f -a "(rodent kinds --names 2>/dev/null)"
complete -c rodent -n "__fish_rodent_using_subcommand emit" -f -a "(__rodent_fields)"
for command in events kinds describe
    complete -c rodent -n "__fish_rodent_using_subcommand $command" -f -a "(rodent kinds --names 2>/dev/null)"
end
"#;

/// What zsh completes an argument with that says nothing better.
const ZSH_DEFAULT: &str = ":_default'";

/// A completion that knows kinds and fields, too.
///
/// # Errors
/// When the completion does not have the places that they go to.
pub(crate) fn with_kinds(shell: Shell, text: &str) -> anyhow::Result<String> {
    match shell {
        Shell::Bash => {
            ensure!(text.contains("complete -F _rodent "), "the completion for bash has another function");
            Ok(format!("{text}{BASH}"))
        }
        Shell::Zsh => in_zsh(text),
        _ => {
            ensure!(
                text.contains("__fish_rodent_using_subcommand emit"),
                "the completion for fish has another function"
            );
            Ok(format!("{text}{FISH}"))
        }
    }
}

fn in_zsh(text: &str) -> anyhow::Result<String> {
    let mut replaced = 0;
    let mut line = |line: &str| {
        let is = |name: &str| line.trim_start().starts_with(&format!("'{name}"));
        let with = match line {
            _ if [":kind -- ", "::kind -- ", "*::patterns -- ", "*::conditions -- "].iter().any(|name| is(name)) => {
                "kinds"
            }
            _ if is("*::fields -- ") => "fields",
            _ => return line.to_owned(),
        };
        replaced += usize::from(line.contains(ZSH_DEFAULT));
        line.replace(ZSH_DEFAULT, &format!(":_rodent_{with}'"))
    };
    let lines: Vec<_> = text.lines().map(&mut line).collect();
    ensure!(replaced >= 5, "the completion for zsh has {replaced} places for kinds and fields");
    let text = lines.join("\n");
    let begin = text.find("_rodent() {").unwrap_or_default();
    Ok(format!("{}{}\n{}\n", &text[..begin], ZSH.trim_start(), &text[begin..]))
}
