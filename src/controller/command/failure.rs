//! How a command ends badly: one line, and a code of sysexits.

use std::{fmt, io, process::ExitCode};

use crate::{
    controller::{
        denied::DeniedError,
        server::ServeError,
        store::StoreError,
        tls::TlsError,
        token::{KeysError, PublicKeyError, SecretError, SigningKeyError},
    },
    telemetry::ErrorChain,
};

/// As grep: there is something that should not be.
const MISSING: u8 = 1;
/// The command line was wrong.
pub(super) const USAGE: u8 = 64;
const DATA: u8 = 65;
const NO_INPUT: u8 = 66;
const IO: u8 = 74;
const CONFIG: u8 = 78;

/// Why a command ends without having done what was asked.
#[derive(Debug)]
pub(super) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// The arguments do not go together, or one of them is not understood.
    pub(super) fn usage(message: impl fmt::Display) -> Failure {
        Failure { code: USAGE, message: message.to_string() }
    }

    /// What was asked about is not in the store.
    pub(super) fn no_input(message: impl fmt::Display) -> Failure {
        Failure { code: NO_INPUT, message: message.to_string() }
    }

    /// The command did what was asked; what it found is not complete.
    pub(super) fn missing(message: impl fmt::Display) -> Failure {
        Failure { code: MISSING, message: message.to_string() }
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }

    fn new(code: u8, error: &(dyn std::error::Error + 'static)) -> Failure {
        Failure { code, message: ErrorChain(error).to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let code = match &error {
            StoreError::Missing { .. } => NO_INPUT,
            #[cfg(feature = "nats")]
            StoreError::MissingStream { .. } => NO_INPUT,
            StoreError::Foreign { .. } => DATA,
            _ => IO,
        };
        Failure::new(code, &error)
    }
}

impl From<SecretError> for Failure {
    fn from(error: SecretError) -> Failure {
        let code = match &error {
            SecretError::Read { .. } => NO_INPUT,
            _ => CONFIG,
        };
        Failure::new(code, &error)
    }
}

impl From<KeysError> for Failure {
    fn from(error: KeysError) -> Failure {
        let code = match &error {
            KeysError::Secret(SecretError::Read { .. }) | KeysError::PublicKey(PublicKeyError::Read { .. }) => NO_INPUT,
            _ => CONFIG,
        };
        Failure::new(code, &error)
    }
}

impl From<DeniedError> for Failure {
    fn from(error: DeniedError) -> Failure {
        Failure::new(NO_INPUT, &error)
    }
}

impl From<SigningKeyError> for Failure {
    fn from(error: SigningKeyError) -> Failure {
        let code = match &error {
            SigningKeyError::Read { .. } => NO_INPUT,
            SigningKeyError::Foreign { .. } => CONFIG,
        };
        Failure::new(code, &error)
    }
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Failure {
        let code = match &error {
            TlsError::Read { .. } => NO_INPUT,
            _ => CONFIG,
        };
        Failure::new(code, &error)
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Failure {
        let code = match &error {
            ServeError::Listen { .. } => CONFIG,
            ServeError::Serve(_) => IO,
        };
        Failure::new(code, &error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::new(IO, &error)
    }
}
