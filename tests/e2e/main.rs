//! End to end: the programs as they are shipped, on a machine that is booted for the purpose. Needs root, and fails
//! where it cannot run. `make test` installs what it needs first.

mod container;
mod foreign;
#[path = "../it/process.rs"]
mod process;
