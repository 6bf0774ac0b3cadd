//! The agent and its command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    rodent::cli::main()
}
