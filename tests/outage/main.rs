//! Outages: the built agent and the built controller with a spoilt way between them. Whatever happens to it, every event is
//! in the controller's store once, the agent has not grown, and its log tells of the outage once.
//!
//! And what `rodent doctor` and `rodent top` show of it, the latter in a terminal (tmux).
//!
//! By a proxy that the test spoils, and in networks of their own, where only root can go (modules `as_root`).

#[path = "../it/address.rs"]
mod address;
#[path = "../it/copied.rs"]
mod copied;
mod day;
mod dns;
mod doctor;
mod footprint;
mod namespace;
mod network;
#[path = "../it/process.rs"]
mod process;
mod proxy;
mod site;
mod story;
mod terminal;
mod top;
mod way;
