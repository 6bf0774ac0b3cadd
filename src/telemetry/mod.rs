//! How the program speaks about itself: logging, and errors with their causes.

mod error_chain;
pub mod logging;

pub use error_chain::ErrorChain;
