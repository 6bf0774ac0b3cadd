//! `rodent-documents`: what the packages carry beside programs and that is made from them: man pages, completions, and
//! the licences of what is linked in.
//!
//! Takes the definitions of both command lines, the records of the settings and what `cargo metadata` prints; gives files
//! below a directory, for packaging/documents.sh. Always holds: the same input gives the same bytes. It is in no package.

mod completion;
mod licences;
mod page;
mod roff_text;
mod settings_page;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Parser;
use clap_complete::Shell;

use page::{Manual, pages};

/// Write man pages, completions and licences for the packages
#[derive(Parser)]
struct Arguments {
    /// Where to write them
    directory: PathBuf,
    /// What `cargo metadata` prints
    #[arg(long, value_name = "FILE")]
    metadata: PathBuf,
    /// The day that stands in the man pages
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: String,
}

/// What `rodent` leaves and finds on a machine.
const AGENT_FILES: &[(&str, &str)] = &[
    ("/etc/rodent/rodent.yml", "the agent's settings: rodent.yml(5)"),
    ("/etc/rodent/rodent.d/*.yml", "more of them; they are read after that file, by name, and win over it"),
    (rodent::agent::config::STATE_DIRECTORY, "the event log and what the agent remembers"),
    (rodent::client::SOCKET, "the agent's socket; root and the group rodent may use it"),
    ("/usr/share/doc/rodent", "the documentation, with examples"),
];

/// What `rodent-controller` leaves and finds, as its package and its unit have it.
const CONTROLLER_FILES: &[(&str, &str)] = &[
    ("/etc/rodent-controller/secret", "what tokens are signed with; made at random by the package"),
    ("/var/lib/rodent-controller/events.db", "the events"),
    ("/usr/share/doc/rodent-controller", "the documentation"),
];

fn main() -> ExitCode {
    match write(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Err: standard error is closed, and there is nobody left to tell.
            let _ = io::Write::write_all(&mut io::stderr(), format!("rodent-documents: {error:#}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn write(arguments: &Arguments) -> anyhow::Result<()> {
    let codes: Vec<_> = rodent::cli::EXIT_CODES.iter().map(|(code, means)| (*code, (*means).to_owned())).collect();
    let agent = Manual {
        section: 1,
        date: &arguments.date,
        files: AGENT_FILES,
        exit_codes: codes,
        see_also: &["rodent.yml(5)", "rodent-controller(8)", "journalctl(1)", "systemctl(1)"],
    };
    let controller = Manual {
        section: 8,
        date: &arguments.date,
        files: CONTROLLER_FILES,
        exit_codes: Vec::new(),
        see_also: &["rodent(1)", "journalctl(1)", "systemctl(1)"],
    };
    let directory = &arguments.directory;
    for (definition, manual) in
        [(rodent::cli::definition(), agent), (rodent::controller::command::definition(), controller)]
    {
        for (name, text) in pages(definition.clone(), &manual)? {
            put(&directory.join(format!("man/man{}/{name}.{0}", manual.section)), &text)?;
        }
        complete(definition, &directory.join("completions"))?;
    }
    put(&directory.join("man/man5/rodent.yml.5"), &settings_page::page(&arguments.date)?)?;

    let metadata = fs::read(&arguments.metadata).with_context(|| format!("read {}", arguments.metadata.display()))?;
    put(&directory.join("third-party-licences"), licences::listing(&metadata)?.as_bytes())
}

fn put(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    let parent = path.parent().context("a file has a directory")?;
    fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// Completions under the names by which each shell looks for them.
fn complete(mut definition: clap::Command, directory: &Path) -> anyhow::Result<()> {
    let program = definition.get_name().to_owned();
    for (shell, file) in [
        (Shell::Bash, format!("bash/{program}")),
        (Shell::Zsh, format!("zsh/_{program}")),
        (Shell::Fish, format!("fish/{program}.fish")),
    ] {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut definition, program.clone(), &mut text);
        let text = String::from_utf8(text).context("a completion is text")?;
        let text = if program == "rodent" { completion::with_kinds(shell, &text)? } else { text };
        put(&directory.join(file), text.as_bytes())?;
    }
    Ok(())
}
