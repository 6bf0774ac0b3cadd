//! The agent's program in another place.

use std::{path::Path, process::Command};

/// Copies it to where other users can start it, for the place of the build may be closed to them. By a program of its own:
/// were the copy open for writing here, what another test starts meanwhile would keep it open, and nobody could start it.
pub(crate) fn copy_program(to: &Path) {
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_rodent")).arg(to).status();
    assert!(copied.expect("cp is there").success(), "a copy of the program");
}
