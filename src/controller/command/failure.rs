//! Which exit code each of what goes wrong in a command has.

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
            ControllerServeError::Listen { .. } => Code::Config,
            ControllerServeError::Serve(_) => Code::Io,
        };
        Failure::of(code, &error)
    }
}
