//! A look at the way to the controller, step by step and with the uplink's own means: for whoever wants to know where it
//! ends, beside an agent that runs or without one.
//!
//! Takes the settings of an uplink, gives a [`ControllerLook`]. Always holds: nothing is registered and no event is sent, so that
//! neither the controller's idea of the node nor a running uplink changes; the call that proves the token is a batch
//! without events. Each step has the bound [`STEP_TIME_MAX`]. Deliberately absent: trying again.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use tokio::time::timeout;
use tonic::{Code, Request, Status, metadata::MetadataMap};

use super::{
    Patience, UplinkSettings, connection::Connection, credentials::Credentials, failure::describe_status,
    stream::Stream, tls, token::Token,
};
use crate::{
    schema::wire::{EventBatch, rodent_service_client::RodentServiceClient},
    telemetry::ErrorChain,
    tls::validity,
};

/// How long each step may take.
pub const STEP_TIME_MAX: Duration = Duration::from_secs(5);

/// What a step gave; why it failed, in one line.
pub type Step<T> = Result<T, String>;

/// What was found. A step that was not reached, since one before it failed, is `None`.
#[derive(Clone, Debug, Default)]
pub struct ControllerLook {
    /// The addresses that the controller's name has.
    pub resolved: Option<Step<Vec<IpAddr>>>,
    /// Which of them took a connection, and after how long.
    pub connected: Option<Step<(SocketAddr, Duration)>>,
    /// How the connection was secured; `None` also where the settings say that it is not.
    pub secured: Option<Step<Secured>>,
    /// What the controller answered to a call.
    pub answered: Option<Step<Answered>>,
}

/// A TLS connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secured {
    /// `TLS 1.3`.
    pub version: String,
    /// Certificates that the controller showed, its own first.
    pub chain_length: usize,
    /// From when on and until when the controller's own is valid.
    pub validity: Option<(SystemTime, SystemTime)>,
    /// Until when this node's own is, where it showed one.
    pub own_expires: Option<SystemTime>,
}

/// An answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// What is said of the node.
    pub verdict: ProbeVerdict,
    /// The controller's clock less this machine's, seconds; where it tells the time. Good to a second or two.
    pub clock_offset_seconds: Option<i64>,
    /// How long it took.
    pub took: Duration,
}

/// What a controller says to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeVerdict {
    /// It knows the token.
    Known,
    /// It answers, but not so that one could tell whether it knows the token.
    Unclear(String),
    /// It is too busy, or its store does not work.
    Busy(String),
    /// It does not accept the token or the certificate.
    Refused(String),
    /// It could not be asked with the token, which cannot be used here.
    NoToken(String),
}

/// Looks at the way to the controller. `issued` is where the certificate is kept that the controller issued.
pub async fn look(settings: &UplinkSettings, patience: &Patience, issued: PathBuf) -> ControllerLook {
    let mut look = ControllerLook::default();
    let credentials = Credentials::new(settings.token.clone(), &settings.tls);
    credentials.keep_issued_in(issued);
    let proof = credentials.read_tls().await;
    // Told also where no connection comes about: what is wrong is on this machine.
    look.secured = proof.as_ref().err().map(|error| Err(error.clone()));
    let resolved = resolve(&settings.address).await;
    let has_address = resolved.is_ok();
    look.resolved = Some(resolved);
    if !has_address {
        return look;
    }
    let begun = Instant::now();
    let stream = match tls::reach(&settings.address, STEP_TIME_MAX).await {
        Ok(stream) => stream,
        Err(error) => {
            look.connected = Some(Err(words(&error)));
            return look;
        }
    };
    let peer = stream.peer_addr().map_err(|error| error.to_string());
    look.connected = Some(peer.map(|peer| (peer, begun.elapsed())));

    let Ok(proof) = proof else { return look };
    let stream = match &proof {
        None => Stream::plain(stream),
        Some(proof) => match tls::secure(&settings.address, stream, proof, STEP_TIME_MAX).await {
            Ok(stream) => {
                let (_, session) = stream.get_ref();
                let chain = session.peer_certificates().unwrap_or_default();
                look.secured = Some(Ok(Secured {
                    version: session
                        .protocol_version()
                        .map(|version| version_name(&format!("{version:?}")))
                        .unwrap_or_default(),
                    chain_length: chain.len(),
                    validity: chain.first().and_then(|leaf| validity(leaf)),
                    own_expires: proof.identity.as_ref().map(|own| own.validity.1),
                }));
                Stream::encrypted(stream)
            }
            Err(error) => {
                look.secured = Some(Err(words(&error)));
                return look;
            }
        },
    };
    let opening = timeout(STEP_TIME_MAX, Connection::over(stream, &settings.address, proof.as_ref(), patience));
    look.answered = Some(match opening.await {
        Ok(Ok(connection)) => ask(&connection, settings).await,
        Ok(Err(error)) => Err(words(&error)),
        Err(_) => Err(no_answer()),
    });
    look
}

/// Finds the addresses of a `host:port`.
async fn resolve(address: &str) -> Step<Vec<IpAddr>> {
    match timeout(STEP_TIME_MAX, tokio::net::lookup_host(address)).await {
        Ok(Ok(found)) => {
            let mut found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            found.dedup();
            if found.is_empty() { Err(format!("{address} has no address")) } else { Ok(found) }
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", STEP_TIME_MAX.as_secs())),
    }
}

/// Sends a batch without events.
async fn ask(connection: &Connection, settings: &UplinkSettings) -> Step<Answered> {
    let source = settings.token.clone();
    let token = match tokio::task::spawn_blocking(move || Token::of(&source)).await {
        Ok(Ok(token)) => token.header,
        Ok(Err(error)) => return Ok(no_token(words(&error))),
        Err(error) => return Ok(no_token(words(&error))),
    };
    let mut client = RodentServiceClient::new(connection.way());
    let mut request = Request::new(EventBatch::default());
    request.metadata_mut().insert("authorization", token);
    let begun = Instant::now();
    let Ok(outcome) = timeout(STEP_TIME_MAX, client.send_events(request)).await else { return Err(no_answer()) };
    let took = begun.elapsed();
    let answered = |verdict, metadata: &MetadataMap| {
        Ok(Answered { verdict, clock_offset_seconds: clock_offset(metadata, SystemTime::now()), took })
    };
    match outcome {
        Ok(response) => answered(ProbeVerdict::Known, response.metadata()),
        Err(status) => match connection.refusal() {
            // What ended the connection says more than that it ended.
            Some(refusal) => answered(ProbeVerdict::Refused(refusal), status.metadata()),
            None => match verdict(&status) {
                Some(verdict) => answered(verdict, status.metadata()),
                None => Err(describe_status(&status)),
            },
        },
    }
}

/// What an error says of the node; `None` when nobody answered.
fn verdict(status: &Status) -> Option<ProbeVerdict> {
    let said = describe_status(status);
    match status.code() {
        // It knows who asks and does not like a batch without events.
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition => Some(ProbeVerdict::Known),
        Code::Unauthenticated | Code::PermissionDenied => Some(ProbeVerdict::Refused(said)),
        Code::ResourceExhausted => Some(ProbeVerdict::Busy(said)),
        // Of its own, or of the connection? Only an answer has headers.
        Code::Unavailable if !status.metadata().is_empty() => Some(ProbeVerdict::Busy(said)),
        Code::Unimplemented | Code::NotFound | Code::Internal | Code::Aborted => Some(ProbeVerdict::Unclear(said)),
        _ => None,
    }
}

fn no_token(reason: String) -> Answered {
    Answered { verdict: ProbeVerdict::NoToken(reason), clock_offset_seconds: None, took: Duration::ZERO }
}

fn no_answer() -> String {
    format!("no answer within {} s", STEP_TIME_MAX.as_secs())
}

fn words(error: &(dyn std::error::Error + 'static)) -> String {
    ErrorChain(error).to_string()
}

/// `TLS 1.3` of `TLSv1_3`.
fn version_name(debug: &str) -> String {
    debug.replace("TLSv", "TLS ").replace('_', ".")
}

/// How far the controller's clock is ahead, by the header `date`.
fn clock_offset(metadata: &MetadataMap, now: SystemTime) -> Option<i64> {
    let controller = http_date(metadata.get("date")?.to_str().ok()?)?;
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Some(match controller.duration_since(now) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => -seconds(behind.duration()),
    })
}

/// `Fri, 21 Nov 2026 15:55:42 GMT`, the form that RFC 9110 has everybody send.
fn http_date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split(' ').skip(1);
    let (day, month, year, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    humantime::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z")).ok()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn the_date_of_an_answer_tells_how_far_the_clocks_are_apart() {
        assert_eq!(http_date("Thu, 01 Jan 1970 00:01:40 GMT"), Some(UNIX_EPOCH + Duration::from_secs(100)));
        for wrong in ["", "yesterday", "Thu, 01 Foo 1970 00:01:40 GMT", "Thu, 1 Jan", "Thu, 99 Jan 1970 00:00:00 GMT"] {
            assert_eq!(http_date(wrong), None, "{wrong}");
        }
        let mut metadata = MetadataMap::new();
        assert_eq!(clock_offset(&metadata, UNIX_EPOCH), None);
        metadata.insert("date", "Thu, 01 Jan 1970 00:01:40 GMT".parse().expect("a value"));
        assert_eq!(clock_offset(&metadata, UNIX_EPOCH), Some(100));
        assert_eq!(clock_offset(&metadata, UNIX_EPOCH + Duration::from_secs(160)), Some(-60));
    }

    #[test]
    fn what_an_answer_says_of_the_token_is_told_from_what_it_does_not() {
        let of = |code| verdict(&Status::new(code, "why"));
        assert_eq!(of(Code::InvalidArgument), Some(ProbeVerdict::Known));
        assert_eq!(of(Code::Unauthenticated), Some(ProbeVerdict::Refused("why (Unauthenticated)".to_owned())));
        assert_eq!(of(Code::ResourceExhausted), Some(ProbeVerdict::Busy("why (ResourceExhausted)".to_owned())));
        assert_eq!(of(Code::Unavailable), None, "nobody answered");
        assert_eq!(version_name("TLSv1_3"), "TLS 1.3");
    }

    #[tokio::test]
    async fn the_first_step_that_fails_is_the_last() {
        let settings = |address: &str| UplinkSettings {
            address: address.to_owned(),
            token: super::super::TokenSource::File("/nowhere/token".into()),
            tls: super::super::Tls::Off,
            node_id: String::new(),
        };
        // A port of the loopback that nobody listens on any more.
        let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
        let found = look(&settings(&closed.to_string()), &Patience::default(), PathBuf::new()).await;
        assert!(matches!(found.resolved, Some(Ok(_))) && matches!(found.connected, Some(Err(_))), "{found:?}");
        assert!(found.secured.is_none() && found.answered.is_none(), "{found:?}");
        let found = look(&settings("nobody.invalid:443"), &Patience::default(), PathBuf::new()).await;
        assert!(matches!(found.resolved, Some(Err(_))) && found.connected.is_none(), "{found:?}");
    }
}
