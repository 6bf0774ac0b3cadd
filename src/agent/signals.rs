//! The signals that end the program, and the one that has it read its configuration again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for SIGTERM or SIGINT.
///
/// # Errors
/// When the signals cannot be caught.
pub async fn stop_signal() -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Catches SIGHUP from now on; until then it ends the program.
///
/// # Errors
/// When the signal cannot be caught.
pub fn reload_signal() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}
