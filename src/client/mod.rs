//! Stub
/// The agent's socket, if nothing else is said.
pub const SOCKET: &str = "/run/rodent/rodent.sock";
