//! One request to a webhook's receiver and its answer, over HTTP/1.1 and connections that are kept while they are used.
//!
//! Always holds: the address that is connected to is the one that was judged; nothing is followed (no redirects); of an answer
//! at most [`ANSWER_BYTES_MAX`] are read; all of it together takes no longer than the caller says.

use std::{
    error::Error,
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::Poll,
    time::{Duration, Instant, SystemTime},
};

use http_body::Body as _;
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header::RETRY_AFTER,
    rt::{Read, Write},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};

use super::{credentials::secured_by, target::Target};
use crate::{lock::lock, tls, visible::is_hidden};

/// The most that is read of an answer, bytes. A longer one is cut off with its connection.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// The most of it that is shown to people, characters.
const SHOWN_CHARACTERS_MAX: usize = 200;

/// A connection that was not used for so long is not used any more: many servers and firewalls have closed it by then.
const IDLE_MAX: Duration = Duration::from_secs(20);

/// The most connections that are kept.
const IDLE_CONNECTIONS_MAX: usize = 2;

/// For how long those that the system trusts are not read again.
const AUTHORITIES_AGE_MAX: Duration = Duration::from_secs(60);

/// What a receiver answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// What it asks to be waited for, as it wrote it.
    pub(super) retry_after: Option<String>,
    /// How its text begins, without what nobody sees.
    pub(super) text: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct NoAnswer {
    pub(super) is_timeout: bool,
    /// Whether the receiver may have taken what was asked all the same.
    pub(super) may_be_taken: bool,
    pub(super) why: String,
}

impl NoAnswer {
    pub(super) fn new(why: impl Into<String>) -> NoAnswer {
        NoAnswer { is_timeout: false, may_be_taken: false, why: why.into() }
    }

    /// The node itself could not ask.
    pub(super) fn local(error: &(dyn Error + 'static)) -> NoAnswer {
        NoAnswer::of("put a request together", error)
    }

    fn of(doing: &str, error: &(dyn Error + 'static)) -> NoAnswer {
        NoAnswer::new(format!("{doing}: {}", crate::telemetry::ErrorChain(error)))
    }
}

/// Connects and asks. Cheap to share.
pub(super) struct Client {
    target: Target,
    /// Whether plain HTTP may leave private networks.
    is_insecure: bool,
    /// Of those that the system trusts, and when they were read.
    system: tokio::sync::Mutex<Option<(Arc<ClientConfig>, Instant)>>,
    idle: Mutex<Vec<(Open, Instant)>>,
    /// Until when the receiver's certificate was valid at the last handshake.
    certificate_until: Mutex<Option<SystemTime>>,
}

/// An open connection. Nobody drives it but who asks over it.
struct Open {
    sender: SendRequest<String>,
    driver: Pin<Box<dyn Future<Output = Result<(), hyper::Error>> + Send>>,
}

impl Client {
    pub(super) fn new(target: Target, is_insecure: bool) -> Client {
        Client {
            target,
            is_insecure,
            system: tokio::sync::Mutex::default(),
            idle: Mutex::default(),
            certificate_until: Mutex::default(),
        }
    }

    /// Until when the receiver's certificate is valid, once it has shown one.
    pub(super) fn certificate_until(&self) -> Option<SystemTime> {
        *lock(&self.certificate_until)
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Sends a request and reads the answer, all within `patience`. A new connection is secured with `tls`, or else by those
    /// whom the system trusts.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) async fn ask(
        &self,
        request: Request<String>,
        tls: Option<&Arc<ClientConfig>>,
        patience: Duration,
    ) -> Result<Answer, NoAnswer> {
        let asking = async {
            let mut open = match self.kept() {
                Some(open) => open,
                None => self.connect(tls).await?,
            };
            let exchanged = exchange(&mut open, request).await;
            let (answer, is_reusable) = exchanged.map_err(|why| NoAnswer { may_be_taken: true, ..why })?;
            if is_reusable {
                self.keep(open);
            }
            Ok(answer)
        };
        tokio::time::timeout(patience, asking).await.unwrap_or_else(|_| {
            let why = format!("no answer from {} within {}", self.target, humantime::format_duration(patience));
            Err(NoAnswer { is_timeout: true, may_be_taken: true, why })
        })
    }

    /// A connection that is open as far as can be known here.
    fn kept(&self) -> Option<Open> {
        while let Some((mut open, since)) = lock(&self.idle).pop() {
            let is_over = open.driver.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
            if since.elapsed() < IDLE_MAX && is_over.is_pending() && !open.sender.is_closed() {
                return Some(open);
            }
        }
        None
    }

    fn keep(&self, open: Open) {
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push((open, Instant::now()));
        }
    }

    async fn connect(&self, tls: Option<&Arc<ClientConfig>>) -> Result<Open, NoAnswer> {
        let stream = self.reach().await?;
        if !self.target.is_encrypted {
            return shake_hands(TokioIo::new(stream)).await;
        }
        let config = match tls {
            Some(config) => Arc::clone(config),
            None => self.system().await?,
        };
        let host = self.target.host.clone();
        let name = ServerName::try_from(host).map_err(|error| NoAnswer::of("name the receiver", &error))?;
        let secured = TlsConnector::from(config).connect(name, stream).await;
        let secured =
            secured.map_err(|error| NoAnswer::of(&format!("secure the connection to {}", self.target), &error))?;
        let shown = secured.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        *lock(&self.certificate_until) = shown.and_then(|its| tls::validity(its)).map(|(_, until)| until);
        shake_hands(TokioIo::new(secured)).await
    }

    /// To the first address that takes a connection, of those that may be reached.
    async fn reach(&self) -> Result<TcpStream, NoAnswer> {
        let Target { host, port, .. } = &self.target;
        let found = tokio::net::lookup_host((host.as_str(), *port)).await;
        let found = found.map_err(|error| NoAnswer::of(&format!("find {host}"), &error))?;
        let (may, may_not): (Vec<_>, Vec<_>) = found.partition(|address| self.target.may_reach(address.ip()));
        if let ([], Some(first)) = (may.as_slice(), may_not.first()) {
            return Err(NoAnswer::new(format!(
                "{host} leads to {}, where only this machine answers; write that address, or `localhost`, if it is meant",
                first.ip()
            )));
        }
        let mut last = NoAnswer::new(format!("{host} has no address"));
        for address in may {
            match self.open(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn open(&self, address: SocketAddr) -> Result<TcpStream, NoAnswer> {
        let ip: IpAddr = address.ip();
        if !self.target.is_encrypted && !self.is_insecure && !Target::is_near(ip) {
            return Err(NoAnswer::new(format!(
                "{} is {ip}, beyond private networks, where anybody may read along; use https, or set `insecure: true`",
                self.target.host
            )));
        }
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|error| NoAnswer::of(&format!("connect to {address}"), &error))?;
        // Without it every request would wait for the last one's acknowledgement.
        stream.set_nodelay(true).map_err(|error| NoAnswer::of("set up the connection", &error))?;
        Ok(stream)
    }

    async fn system(&self) -> Result<Arc<ClientConfig>, NoAnswer> {
        let mut kept = self.system.lock().await;
        if let Some((config, since)) = &*kept
            && since.elapsed() < AUTHORITIES_AGE_MAX
        {
            return Ok(Arc::clone(config));
        }
        let reading = tokio::task::spawn_blocking(tls::system_authorities);
        let authorities = reading.await.map_err(|error| NoAnswer::of("read the authorities", &error))?;
        let config = match &*kept {
            // They are being replaced.
            Some((before, _)) if authorities.is_empty() => Arc::clone(before),
            None if authorities.is_empty() => {
                let why = "no authority is trusted (ca-certificates is missing?); set `ca_file`";
                return Err(NoAnswer::new(why));
            }
            _ => secured_by(authorities).map_err(|error| NoAnswer::of("secure a connection", &error))?,
        };
        *kept = Some((Arc::clone(&config), Instant::now()));
        Ok(config)
    }
}

async fn shake_hands<T: Read + Write + Unpin + Send + 'static>(io: T) -> Result<Open, NoAnswer> {
    let (sender, driver) = http1::handshake(io).await.map_err(|error| NoAnswer::of("begin to speak HTTP", &error))?;
    Ok(Open { sender, driver: Box::pin(driver) })
}

/// The answer, and whether the connection may be used again.
async fn exchange(open: &mut Open, request: Request<String>) -> Result<(Answer, bool), NoAnswer> {
    let Open { sender, driver } = open;
    let mut asking = pin!(async {
        let response = sender.send_request(request).await.map_err(|error| NoAnswer::of("speak HTTP", &error))?;
        read(response).await
    });
    let mut is_open = true;
    // What was read before the connection ended is an answer all the same.
    poll_fn(|cx| {
        is_open = is_open && driver.as_mut().poll(cx).is_pending();
        match asking.as_mut().poll(cx) {
            Poll::Ready(Ok((answer, is_whole))) => Poll::Ready(Ok((answer, is_whole && is_open))),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// The answer, and whether it was read to its end.
async fn read(response: Response<Incoming>) -> Result<(Answer, bool), NoAnswer> {
    let (head, mut body) = response.into_parts();
    let retry_after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (mut bytes, mut is_whole) = (Vec::new(), true);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| NoAnswer::of("read the answer", &error))?;
        let Ok(data) = frame.into_data() else { continue };
        let room = ANSWER_BYTES_MAX - bytes.len();
        bytes.extend_from_slice(data.get(..room).unwrap_or(&data));
        if data.len() > room {
            is_whole = false;
            break;
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    let text: String = text.chars().filter(|c| !is_hidden(*c)).take(SHOWN_CHARACTERS_MAX).collect();
    Ok((Answer { status: head.status, retry_after, text }, is_whole))
}
