//! Why the agent could not be reached, or what it answered instead of yes.

use std::{error::Error as _, io, path::PathBuf};

use tonic::{Code, Status};

/// A call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing answers on the socket.
    #[error(
        "no agent answers on {0}: start it (`systemctl start rodent`; by hand: `rodent agent`), or name its \
             socket with --socket or RODENT_SOCKET; `rodent doctor` tells what is wrong"
    )]
    NotRunning(PathBuf),
    /// The socket is not for this user.
    #[error("no permission for {path}: {advice}")]
    NoPermission {
        /// The socket.
        path: PathBuf,
        /// What would help.
        advice: String,
    },
    /// The socket cannot be used for another reason.
    #[error("connect to {path}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The agent does not take what was sent; says what is wrong with it.
    #[error("{0}")]
    Refused(String),
    /// The agent does not serve this caller; says what would help.
    #[error("{0}")]
    Denied(String),
    /// The agent is stopping, cannot write, has too much to do, or went away.
    #[error("{0}")]
    Unavailable(String),
    /// Anything else that went wrong at the agent.
    #[error("the agent answered {code:?}: {message}")]
    Failed {
        /// The kind of answer.
        code: Code,
        /// Its words.
        message: String,
    },
}

impl From<Status> for ClientError {
    fn from(status: Status) -> ClientError {
        // Only what broke on the way has a cause; what the agent answered has none.
        if status.source().is_some() {
            return ClientError::Unavailable("the agent went away in the middle of the call".to_owned());
        }
        let message = status.message().to_owned();
        match status.code() {
            Code::InvalidArgument | Code::OutOfRange | Code::NotFound | Code::Aborted => ClientError::Refused(message),
            Code::PermissionDenied | Code::Unauthenticated => ClientError::Denied(message),
            Code::Unavailable | Code::ResourceExhausted => ClientError::Unavailable(message),
            Code::DeadlineExceeded | Code::Cancelled => {
                ClientError::Unavailable("the agent did not answer in time".to_owned())
            }
            code => ClientError::Failed { code, message },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_agent_refuses_keeps_its_words() {
        let error = ClientError::from(Status::invalid_argument("the event has no payload"));
        assert!(matches!(error, ClientError::Refused(_)));
        assert_eq!(error.to_string(), "the event has no payload");
    }

    #[test]
    fn a_broken_connection_is_no_answer() {
        let status = Status::from_error(Box::new(io::Error::from(io::ErrorKind::BrokenPipe)));
        assert!(matches!(ClientError::from(status), ClientError::Unavailable(_)));
    }
}
