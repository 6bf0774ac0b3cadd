//! Makes connections to a receiver: finds it, judges where its name leads, connects, straight or by way of a proxy, and secures the
//! connection.
//!
//! Always holds: a name is looked up once for a connection, and the address that is connected to is one that was judged; with a
//! proxy in between that is the proxy's, which looks the receiver up itself. A certificate is checked against the name in the URL.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};

use super::{
    answer::NoAnswer,
    credentials::{Trust, secured_by},
    distrust,
    proxy::Proxy,
    target::Target,
};
use crate::{lock::lock, tls};

/// For how long those that the system trusts are not read again.
const AUTHORITIES_AGE_MAX: Duration = Duration::from_secs(60);

/// The addresses of a name and a port.
type LookUp = dyn Fn(String, u16) -> Found + Send + Sync;
type Found = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// What a request goes over. One type for both kinds, so that HTTP is compiled for one.
pub(super) type Stream = Box<dyn Io>;

/// Both ends of a connection.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Connects to one receiver.
pub(super) struct Connector {
    pub(super) target: Target,
    pub(super) proxy: Option<Proxy>,
    /// Whether plain HTTP may leave private networks.
    is_insecure: bool,
    look_up: Box<LookUp>,
    system: tokio::sync::Mutex<Option<System>>,
    /// Until when the receiver's certificate was valid at the last handshake.
    certificate_until: Mutex<Option<SystemTime>>,
}

/// What connections are secured with to whom the system trusts.
struct System {
    config: Arc<ClientConfig>,
    /// Of the files, when it was made.
    edition: u64,
    read_at: Instant,
}

impl Connector {
    pub(super) fn new(target: Target, proxy: Option<Proxy>, is_insecure: bool) -> Connector {
        Connector {
            target,
            proxy,
            is_insecure,
            look_up: Box::new(|host, port| {
                Box::pin(async move { Ok(tokio::net::lookup_host((host.as_str(), port)).await?.collect()) })
            }),
            system: tokio::sync::Mutex::default(),
            certificate_until: Mutex::default(),
        }
    }

    /// Until when the receiver's certificate is valid, once it has shown one.
    pub(super) fn certificate_until(&self) -> Option<SystemTime> {
        *lock(&self.certificate_until)
    }

    /// # Errors
    /// Why there is no connection.
    pub(super) async fn connect(&self, trust: &Trust) -> Result<Stream, NoAnswer> {
        let mut stream = self.reach(self.proxy.as_ref().map_or(&self.target, |proxy| &proxy.target)).await?;
        if !self.target.is_encrypted {
            return Ok(Box::new(stream));
        }
        if let Some(proxy) = &self.proxy {
            proxy.tunnel(&mut stream, &self.target).await.map_err(NoAnswer::new)?;
        }
        let config = match &trust.own {
            Some(config) => Arc::clone(config),
            None => self.system(trust).await?,
        };
        let host = self.target.host.clone();
        let name = ServerName::try_from(host).map_err(|error| NoAnswer::of("name the receiver", &error))?;
        let secured = TlsConnector::from(config).connect(name, stream).await;
        let secured = secured.map_err(|error| NoAnswer::new(distrust::of(&error, &self.target)))?;
        let shown = secured.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        *lock(&self.certificate_until) = shown.and_then(|its| tls::validity(its)).map(|(_, until)| until);
        Ok(Box::new(secured))
    }

    /// To the first address that takes a connection, of those that may be reached.
    async fn reach(&self, target: &Target) -> Result<TcpStream, NoAnswer> {
        let Target { host, port, .. } = target;
        let found = (self.look_up)(host.clone(), *port).await;
        let found = found.map_err(|error| NoAnswer::of(&format!("find {host}"), &error))?;
        let (may, may_not): (Vec<_>, Vec<_>) = found.into_iter().partition(|address| target.may_reach(address.ip()));
        if let ([], Some(first)) = (may.as_slice(), may_not.first()) {
            return Err(NoAnswer::new(format!(
                "{host} leads to {}, where only this machine answers; write that address, or `localhost`, if it is meant",
                first.ip()
            )));
        }
        let mut last = NoAnswer::new(format!("{host} has no address"));
        for address in may {
            match self.open(target, address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn open(&self, target: &Target, address: SocketAddr) -> Result<TcpStream, NoAnswer> {
        let ip: IpAddr = address.ip();
        if !target.is_encrypted && !self.is_insecure && !Target::is_near(ip) {
            let host = if target.host.parse() == Ok(ip) { String::new() } else { format!("{}: ", target.host) };
            return Err(NoAnswer::new(format!(
                "{host}{ip} is beyond private networks, where anybody may read along; use https, or set `insecure: true`"
            )));
        }
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|error| NoAnswer::of(&format!("connect to {address}"), &error))?;
        // Without it every request would wait for the last one's acknowledgement.
        stream.set_nodelay(true).map_err(|error| NoAnswer::of("set up the connection", &error))?;
        Ok(stream)
    }

    async fn system(&self, trust: &Trust) -> Result<Arc<ClientConfig>, NoAnswer> {
        let mut kept = self.system.lock().await;
        let is_current = |kept: &&System| kept.edition == trust.edition && kept.read_at.elapsed() < AUTHORITIES_AGE_MAX;
        if let Some(kept) = kept.as_ref().filter(is_current) {
            return Ok(Arc::clone(&kept.config));
        }
        let reading = tokio::task::spawn_blocking(tls::system_authorities);
        let authorities = reading.await.map_err(|error| NoAnswer::of("read the authorities", &error))?;
        let config = match &*kept {
            // They are being replaced.
            Some(before) if authorities.is_empty() => Arc::clone(&before.config),
            None if authorities.is_empty() => {
                let why = "no authority is trusted (ca-certificates is missing?); set `ca_file`";
                return Err(NoAnswer::new(why));
            }
            _ => secured_by(authorities, trust.identity.as_ref())
                .map_err(|error| NoAnswer::of("secure a connection", &error))?,
        };
        *kept = Some(System { config: Arc::clone(&config), edition: trust.edition, read_at: Instant::now() });
        Ok(config)
    }
}

#[cfg(test)]
mod tests;
