//! End to end: the programs as they are shipped, on a machine that is booted for the purpose. Needs root, and fails
//! where it cannot run. `make test` installs what it needs first.

mod agent;
mod appliance;
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
mod network;
mod odd;
mod packages;
#[path = "../it/process.rs"]
mod process;
mod sandbox;
mod service;
mod stopping;
mod storage;
mod systemd;
mod users;
mod watchdog;
