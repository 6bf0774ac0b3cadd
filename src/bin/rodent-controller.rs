//! The reference controller: what stores the events that agents upload.

use std::process::ExitCode;

fn main() -> ExitCode {
    rodent::controller::command::run(std::env::args_os())
}
