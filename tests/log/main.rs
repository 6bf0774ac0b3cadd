//! Trials of the event log as a library: kills, power cuts, full disks, months offline. One binary, so that it links once.
//!
//! Each is sized for every change; docs/measuring.md tells how to run them at full size. What needs root stands in modules
//! `as_root`.

#[path = "../log_faults/account.rs"]
mod account;
mod child;
mod conservation;
mod dice;
mod disk;
mod full;
mod kill;
mod ledger;
mod model;
mod numbered;
mod offline;
mod power;
mod ranges;
mod report;
mod rounds;
mod writer;
