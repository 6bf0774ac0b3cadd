//! The agent's end of security: whom it trusts and how it proves itself, against a real TLS server with certificates made
//! for the test.

pub(crate) mod authority;
mod issued;
mod peer;
mod refusals;
mod rotation;
mod scene;
mod secrets;
