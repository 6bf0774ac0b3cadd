//! What damage does to the log: flipped bits, files cut short, files that are not the log's, stores that cannot be
//! opened. Always: it opens, gives what is intact in order, and says exactly what is gone.
//!
//! `RODENT_SEED` replays a run, `RODENT_TRIALS` makes it longer.

#[path = "log_damage/commands.rs"]
mod commands;
#[path = "log_damage/cuts.rs"]
mod cuts;
#[path = "log_damage/flips.rs"]
mod flips;
#[path = "log_damage/places.rs"]
mod places;
#[path = "log_damage/store.rs"]
mod store;
#[path = "log_damage/strangers.rs"]
mod strangers;
