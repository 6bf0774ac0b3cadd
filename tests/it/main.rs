//! The integration tests: one binary, so that it links once.

mod address;
mod at_disk;
mod command_line;
mod config;
mod control;
mod controller;
mod copied;
mod dead_letters;
mod events_document;
mod fork;
mod hooks;
mod hundred_thousand;
mod journal;
mod local_socket;
mod metrics;
mod path_as_authority;
mod process;
mod refused;
mod reload;
mod rough;
mod site;
mod tls;
mod uplink;
mod usual_place;
mod webhook;
mod wire;
