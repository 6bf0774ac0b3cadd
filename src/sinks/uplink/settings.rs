//! Where an uplink delivers to, and what it asks of its surroundings.

use std::sync::Arc;

use super::{Tls, TokenSource};
use crate::schema::wire::SystemInfo;

/// Where to deliver to.
#[derive(Clone, Debug)]
pub struct UplinkSettings {
    /// `host:port`.
    pub address: String,
    /// The bearer token.
    pub token: TokenSource,
    /// How the connection is secured.
    pub tls: Tls,
    /// The node's name when the token has none.
    pub node_id: String,
}

/// What the uplink asks of its surroundings.
#[derive(Clone)]
pub struct Surroundings {
    /// Unix milliseconds.
    pub now: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// How the machine is doing, for `Register`. Blocking.
    pub system_info: Arc<dyn Fn() -> SystemInfo + Send + Sync>,
}
