//! The integration tests: one binary, so that it links once.

mod address;
mod at_disk;
mod coming_from;
mod command_line;
mod config;
mod consume;
mod control;
mod controller;
mod copied;
mod dead_letters;
#[expect(dead_code, reason = "the trials of the log throw more kinds of dice")]
#[path = "../log/dice.rs"]
mod dice;
mod ended;
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
mod states;
mod tls;
mod uplink;
mod usual_place;
mod webhook;
mod whole_frames;
mod wire;
