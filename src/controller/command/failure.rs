//! Which exit code each of what goes wrong in a command has.

use std::io;

use crate::controller::{
    denied::DeniedError,
    server::ControllerServeError,
    store::StoreError,
    tls::TlsError,
    token::{KeysError, PublicKeyError, SecretError, SigningKeyError},
};
pub(super) use crate::terminal::{Code, Failure};

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let code = match &error {
            StoreError::Missing { .. } => Code::NoInput,
            #[cfg(feature = "nats")]
            StoreError::MissingStream { .. } => Code::NoInput,
            StoreError::Foreign { .. } => Code::Data,
            _ => Code::Io,
        };
        Failure::of(code, &error)
    }
}

impl From<SecretError> for Failure {
    fn from(error: SecretError) -> Failure {
        let code = match &error {
            SecretError::Read { .. } => Code::NoInput,
            _ => Code::Config,
        };
        Failure::of(code, &error)
    }
}

impl From<KeysError> for Failure {
    fn from(error: KeysError) -> Failure {
        let code = match &error {
            KeysError::Secret(SecretError::Read { .. }) | KeysError::PublicKey(PublicKeyError::Read { .. }) => {
                Code::NoInput
            }
            _ => Code::Config,
        };
        Failure::of(code, &error)
    }
}

impl From<DeniedError> for Failure {
    fn from(error: DeniedError) -> Failure {
        Failure::of(Code::NoInput, &error)
    }
}

impl From<SigningKeyError> for Failure {
    fn from(error: SigningKeyError) -> Failure {
        let code = match &error {
            SigningKeyError::Read { .. } => Code::NoInput,
            SigningKeyError::Foreign { .. } => Code::Config,
        };
        Failure::of(code, &error)
    }
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Failure {
        let code = match &error {
            TlsError::Read { .. } => Code::NoInput,
            _ => Code::Config,
        };
        Failure::of(code, &error)
    }
}

impl From<ControllerServeError> for Failure {
    fn from(error: ControllerServeError) -> Failure {
        let code = match &error {
            ControllerServeError::Listen { source, .. } if is_for_good(source) => Code::Config,
            // Taken by a controller that is about to end, or not there yet after a boot: systemd tries again.
            ControllerServeError::Listen { .. } | ControllerServeError::Serve(_) => Code::Io,
        };
        Failure::of(code, &error)
    }
}

/// Whether an address that was refused like this is refused every time.
fn is_for_good(refused: &io::Error) -> bool {
    matches!(refused.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput)
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn an_address_that_may_be_had_later_is_no_fault_of_the_configuration() {
        let code = |errno: Errno| {
            let address = "192.0.2.1:7443".parse().expect("an address");
            Failure::from(ControllerServeError::Listen { address, source: errno.into() }).code()
        };
        for later in [Errno::EADDRNOTAVAIL, Errno::EADDRINUSE, Errno::ENODEV, Errno::EMFILE] {
            assert_eq!(code(later), Code::Io, "{later}");
        }
        for never in [Errno::EACCES, Errno::EPERM, Errno::EINVAL] {
            assert_eq!(code(never), Code::Config, "{never}");
        }
    }
}
