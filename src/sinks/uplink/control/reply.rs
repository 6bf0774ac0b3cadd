//! What a message of the controller asks, and how it is answered: a command with its response, settings with an
//! acknowledgement. An error has a code and a message in both; where there is only a text for it, as JSON.

use tonic::Code;

use super::{Demand, PAYLOAD_BYTES_MAX};
use crate::schema::wire::{
    Acknowledgement, CommandResponse, RodentError, RodentRequest, ToggleRequest, rodent_request::Payload as Answer,
    toggle_request::Payload as Question,
};

/// The longest identifier of a request that is given back, bytes.
const IDENTIFIER_BYTES_MAX: usize = 256;

/// Whose errors these are.
const DOMAIN: &str = "rodent";

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRefusal {
    /// A code of gRPC.
    pub code: Code,
    /// In one line.
    pub message: String,
    /// Each thing that is wrong, in one line.
    pub details: Vec<String>,
}

impl OrderRefusal {
    /// Without details.
    pub fn new(code: Code, message: impl Into<String>) -> OrderRefusal {
        OrderRefusal { code, message: message.into(), details: Vec::new() }
    }

    fn error(&self) -> RodentError {
        RodentError {
            code: self.code as i32,
            domain: DOMAIN.to_owned(),
            message: self.message.clone(),
            details: if self.details.is_empty() { String::new() } else { serde_json::json!(self.details).to_string() },
            http_status: http_status(self.code),
            ..RodentError::default()
        }
    }

    fn json(&self) -> String {
        let OrderRefusal { code, message, details } = self;
        serde_json::json!({"code": *code as i32, "domain": DOMAIN, "message": message, "details": details}).to_string()
    }
}

fn http_status(code: Code) -> i32 {
    match code {
        Code::InvalidArgument | Code::FailedPrecondition => 400,
        Code::ResourceExhausted => 429,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::DeadlineExceeded => 504,
        _ => 500,
    }
}

/// A message that wants an answer.
pub(super) struct Asked {
    identifier: String,
    question: Option<Question>,
}

impl Asked {
    /// What the message asks; nothing when it answers itself.
    pub(super) fn by(message: ToggleRequest) -> Option<Asked> {
        let ToggleRequest { request_id: identifier, payload: question } = message;
        (!matches!(question, Some(Question::Ack(_)))).then_some(Asked { identifier, question })
    }

    /// For the agent.
    ///
    /// # Errors
    /// When it is none, or too large.
    pub(super) fn demand(&self) -> Result<Demand, OrderRefusal> {
        let bytes = match &self.question {
            Some(Question::Command(command)) => command.payload.len() + command.command_type.len(),
            Some(Question::Config(update)) => update.payload.len() + update.config_type.len(),
            Some(Question::Ack(_)) | None => {
                return Err(OrderRefusal::new(Code::Unimplemented, "a kind of message that this agent does not know"));
            }
        };
        if bytes > PAYLOAD_BYTES_MAX || self.identifier.len() > IDENTIFIER_BYTES_MAX {
            let message = format!(
                "too large; {PAYLOAD_BYTES_MAX} bytes of payload and {IDENTIFIER_BYTES_MAX} of identifier are the most"
            );
            return Err(OrderRefusal::new(Code::InvalidArgument, message));
        }
        match &self.question {
            Some(Question::Config(update)) => {
                Ok(Demand::Configure { part: update.config_type.clone(), settings: update.payload.clone() })
            }
            Some(Question::Command(command)) => Ok(Demand::Command(command.command_type.clone())),
            Some(Question::Ack(_)) | None => Err(OrderRefusal::new(Code::Unimplemented, "nothing is asked")),
        }
    }

    /// The answer on the wire.
    pub(super) fn reply(self, outcome: Result<Vec<u8>, OrderRefusal>) -> RodentRequest {
        let Asked { identifier, question } = self;
        let identifier = if identifier.len() > IDENTIFIER_BYTES_MAX { String::new() } else { identifier };
        let request_id = identifier.clone();
        let answer = match (question, outcome) {
            (Some(Question::Config(_)), Ok(text)) => {
                let message = String::from_utf8_lossy(&text).into_owned();
                Answer::Ack(Acknowledgement { request_id, success: true, message })
            }
            (Some(Question::Config(_)), Err(refusal)) => {
                Answer::Ack(Acknowledgement { request_id, success: false, message: refusal.json() })
            }
            (_, Ok(payload)) => {
                let message = String::new();
                Answer::CommandResponse(CommandResponse { request_id, success: true, message, payload, error: None })
            }
            (_, Err(refusal)) => Answer::CommandResponse(CommandResponse {
                request_id,
                success: false,
                message: refusal.message.clone(),
                payload: Vec::new(),
                error: Some(refusal.error()),
            }),
        };
        RodentRequest { request_id: identifier, payload: Some(answer) }
    }
}
