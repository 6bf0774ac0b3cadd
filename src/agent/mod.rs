//! Puts the rooms together.

pub mod config;
