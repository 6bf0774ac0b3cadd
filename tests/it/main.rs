//! The integration tests: one binary, so that it links once.

mod config;
mod local_socket;
mod wire;
