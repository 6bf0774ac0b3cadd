//! End to end: the programs as they are shipped, on a machine that is booted for the purpose. Needs root, and fails
//! where it cannot run. `make test` installs what it needs first.

mod agent;
mod appliance;
mod calling;
mod categories;
mod consuming;
mod container;
mod disk;
mod doctor;
mod drop_ins;
mod faults;
mod foreign;
mod foreign_client;
mod foreign_package;
mod held;
mod hooks;
mod journald;
mod logins;
mod network;
mod odd;
mod packages;
#[path = "../it/process.rs"]
mod process;
mod receivers;
mod sandbox;
mod service;
mod shown_receivers;
mod stopping;
mod storage;
mod systemd;
mod users;
mod watchdog;
