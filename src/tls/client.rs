//! The end of a connection that begins here: whom it trusts, what it proves itself with.

use std::sync::Arc;

use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, crypto::ring::default_provider, sign::SingleCertAndKey};

use super::Identity;

/// The authorities that this system trusts. Blocks: they are many files, and another set after an update of the system.
pub fn system_authorities() -> RootCertStore {
    let mut authorities = RootCertStore::empty();
    authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    authorities
}

/// What a connection is secured with.
///
/// # Errors
/// When rustls does not take it.
pub fn client(authorities: RootCertStore, identity: Option<&Identity>) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(authorities);
    Ok(match identity {
        Some(identity) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.key))))
        }
        None => builder.with_no_client_auth(),
    })
}
