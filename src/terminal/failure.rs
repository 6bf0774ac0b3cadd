//! How a command ends badly: one line for people, and an exit code of sysexits.

use std::{
    error::Error,
    fmt,
    io::{self, Write as _},
    process::ExitCode,
};

use crate::{telemetry::ErrorChain, visible::visible};

/// Exit codes, as `sysexits.h` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Anything that has no code of its own. As grep: there is something that should not be.
    Other = 1,
    /// The words of the command line.
    Usage = 64,
    /// What was to be processed.
    Data = 65,
    /// An input that is not there.
    NoInput = 66,
    /// The agent cannot be reached, or cannot do it now.
    Unavailable = 69,
    /// Reading or writing.
    Io = 74,
    /// Who may do what.
    Permission = 77,
    /// The configuration.
    Config = 78,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> ExitCode {
        ExitCode::from(code as u8)
    }
}

/// A line on standard error, with what nobody sees in it spelt out. Who has closed that does not want to be told.
pub fn tell(line: &str) {
    let _ = writeln!(anstream::stderr(), "{}", visible(line));
}

/// Why a command did not do its work.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    /// In one line or several of our own; empty when there is nothing to say.
    message: String,
}

impl Failure {
    /// An error with its causes: one line, whatever stands in them.
    pub fn of(code: Code, error: &(dyn Error + 'static)) -> Failure {
        Failure { code, message: visible(&ErrorChain(error).to_string()).into_owned() }
    }

    fn new(code: Code, message: impl fmt::Display) -> Failure {
        Failure { code, message: message.to_string() }
    }

    /// The words of the command line do not make sense. Exit code 64.
    pub fn usage(message: impl fmt::Display) -> Failure {
        Failure::new(Code::Usage, message)
    }

    /// What was given is wrong. Exit code 65.
    pub fn data(message: impl fmt::Display) -> Failure {
        Failure::new(Code::Data, message)
    }

    /// An input is not there. Exit code 66.
    pub fn no_input(message: impl fmt::Display) -> Failure {
        Failure::new(Code::NoInput, message)
    }

    /// Something that is needed does not answer. Exit code 69.
    pub fn unavailable(message: impl fmt::Display) -> Failure {
        Failure::new(Code::Unavailable, message)
    }

    /// It may not be done, by this user or there. Exit code 77.
    pub fn permission(message: impl fmt::Display) -> Failure {
        Failure::new(Code::Permission, message)
    }

    /// The configuration is wrong. Exit code 78.
    pub fn config(message: impl fmt::Display) -> Failure {
        Failure::new(Code::Config, message)
    }

    /// Anything else. Exit code 1.
    pub fn other(message: impl fmt::Display) -> Failure {
        Failure::new(Code::Other, message)
    }

    /// What the program ends with.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What it says; empty when there is nothing to say.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Says it on standard error, as the program that it is given, and gives the exit code.
    pub fn report(&self, program: &str) -> ExitCode {
        if !self.message.is_empty() {
            format!("{program}: {}", self.message).lines().for_each(tell);
        }
        self.code.into()
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::of(Code::Io, &error)
    }
}
