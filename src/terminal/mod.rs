//! How the commands speak to people and to pipes: columns, colour by importance, JSON lines, times and sizes in
//! words. Taken by the command line and by the controller's commands; knows levels and nothing else of ours.
//!
//! What holds: text from outside reaches a terminal with what nobody sees in it spelt out; a pipe gets no colour and nothing cut
//! off; a reader that goes away ends the command quietly ([`quiet_end`]).
//!
//! ```no_run
//! use rodent::terminal::{Cell, Column, Screen, TextTable, quiet_end};
//!
//! let print = || {
//!     let mut screen = Screen::stdout();
//!     let mut table = TextTable::new(&[Column::left("POOL"), Column::right("USED"), Column::left("STATE").elastic(10)]);
//!     table.row([Cell::from("tank"), Cell::from("1.2 TiB"), Cell::from("online")]);
//!     table.print(&mut screen)?;
//!     screen.flush()
//! };
//! quiet_end(print())?;
//! # std::io::Result::Ok(())
//! ```

mod clock;
mod event_table;
mod failure;
mod full_screen;
mod line;
pub mod moment;
mod output;
#[cfg(test)]
pub(crate) mod page;
mod progress;
mod screen;
mod table;
mod wrapped;

pub use crate::words::{grouped, human_bytes, human_duration, time_utc};
pub use clock::TimeZone;
pub use event_table::{EventColumns, EventTable};
pub use failure::{Code, Failure, tell};
pub use full_screen::{FullScreen, can_draw};
pub use line::Line;
pub use output::{EventOutput, Output};
pub use progress::Progress;
pub use screen::{Screen, quiet_end};
pub use table::{Cell, Column, TextTable, Tone};
pub use wrapped::wrapped;
