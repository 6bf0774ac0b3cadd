//! How the program speaks about itself: logging, and errors with their causes.

mod error_chain;
pub mod flood;
pub mod journal;
mod levels;
pub mod logging;
pub mod message;
mod outbox;
pub mod stderr;

pub use error_chain::ErrorChain;
pub use levels::levels;
pub use outbox::Ending;
