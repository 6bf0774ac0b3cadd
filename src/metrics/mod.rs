//! What is counted while a program runs, and how whoever runs it reads that: `/metrics`, `/livez` and `/readyz` over
//! HTTP/1.1. Used by the agent and by the controller; knows neither.
//!
//! A room counts with [`Counter`] and [`Histogram`]; the program lists each [`Family`] with its help in one table, writes
//! a [`Page`] from it, and a [`Listener`] shows the page. What holds: labels come from closed sets, so that a page does not
//! grow with events, nodes, or what others send. Deliberately absent: exemplars, timestamps of samples, a registry;
//! anything that changes the program or shows a secret.

mod accept;
mod counter;
mod family;
mod histogram;
mod listener;
mod page;
mod process;

pub use self::{
    accept::Format,
    counter::Counter,
    family::{Family, FamilyKind},
    histogram::Histogram,
    listener::{Exposed, Listener},
    page::{Page, Samples},
    process::{FAMILIES as PROCESS, stat_field, write as write_process},
};
