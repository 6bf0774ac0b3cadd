//! Watches whether something keeps the wall clock of this machine in step, and tells the log, which notes it beside each
//! event.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    event_log::{ClockState, EventLog},
    health::{Conditions, Fault},
    host::clock::{Clock, Synchronisation},
    telemetry::message,
};

/// How often the kernel is asked.
const INTERVAL: Duration = Duration::from_secs(30);

/// Looks in a row that find the clock out of step before it is told: after a boot it takes some time.
const LOOKS_MAX: u32 = 10;

/// Looks until `shutdown`.
pub(super) async fn run(clock: Clock, log: EventLog, conditions: Conditions, shutdown: CancellationToken) {
    let mut out_of_step: u32 = 0;
    loop {
        let synchronisation = clock.synchronisation();
        log.set_clock(match synchronisation {
            Synchronisation::Synchronised => ClockState::Synchronised,
            Synchronisation::Unsynchronised => ClockState::Unsynchronised,
            Synchronisation::Unknown => ClockState::Unknown,
        });
        let before = out_of_step;
        out_of_step = match synchronisation {
            Synchronisation::Synchronised => 0,
            Synchronisation::Unsynchronised => before.saturating_add(1),
            Synchronisation::Unknown => before,
        };
        if out_of_step == LOOKS_MAX && before != out_of_step {
            tracing::warn!(message_id = %message::CLOCK_UNSYNCHRONISED, "nothing keeps the clock of this machine in step");
            let fault = Fault::warning("nothing keeps the clock of this machine in step");
            conditions.set(message::CLOCK_UNSYNCHRONISED, fault.told());
        } else if out_of_step == 0 && before >= LOOKS_MAX {
            tracing::info!(message_id = %message::CLOCK_SYNCHRONISED, "the clock of this machine is in step again");
            conditions.clear(message::CLOCK_UNSYNCHRONISED);
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}
