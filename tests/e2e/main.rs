//! End to end: the programs as they are shipped, on a machine that is booted for the purpose. Needs root, and fails
//! where it cannot run. `make test` installs what it needs first.

mod appliance;
mod container;
mod foreign;
mod foreign_package;
mod hooks;
mod network;
#[path = "../it/process.rs"]
mod process;
mod service;
mod storage;
mod systemd;
mod users;
