//! `/livez`, `/readyz` and `/metrics` over HTTP/1.1, for whoever runs the program. Nothing secret is shown, and nothing can
//! be changed; yet it belongs on the loopback or into a management network.
//!
//! What holds: at most [`CONNECTIONS_MAX`] connections, each for one request and at most [`CONNECTION_MAX`]; when another
//! comes, the oldest goes, so that nobody is kept out by who only stays. No body is read. `/livez` asks nobody, so that it
//! answers whatever the program waits for. Where it is bound to the loopback, a request names that: a page in a browser
//! of this machine, whose own name was made to mean 127.0.0.1, gets nothing.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HOST, HeaderMap, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::{sleep, timeout},
};

use super::Format;

/// Connections at once; for another the oldest goes.
const CONNECTIONS_MAX: usize = 32;

/// How long a connection may last, until its one answer is read.
const CONNECTION_MAX: Duration = Duration::from_secs(30);

/// How long the head of a request may take.
const HEAD_MAX: Duration = Duration::from_secs(5);

/// The wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

const TEXT: &str = "text/plain; charset=utf-8";

/// A program that shows how it is. Both may block for a moment: they are asked on a thread of their own.
pub trait Exposed: Send + Sync + 'static {
    /// Why it is not ready.
    fn trouble(&self) -> Option<String>;

    /// The page of metrics.
    fn page(&self, format: Format) -> String;
}

/// A bound address; callers queue in the kernel until it serves.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
}

impl Listener {
    /// Binds the address; port 0 lets the system choose.
    ///
    /// # Errors
    /// When the address is taken, not this machine's, or not allowed.
    pub async fn bind(address: SocketAddr) -> io::Result<Listener> {
        Ok(Listener { listener: TcpListener::bind(address).await? })
    }

    /// What was bound, with its port.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Answers for as long as it is polled.
    pub async fn serve(&self, exposed: Arc<dyn Exposed>) -> Infallible {
        let is_local = self.address().is_some_and(|address| address.ip().to_canonical().is_loopback());
        let mut open = FuturesUnordered::new();
        // By age; dropping one ends its connection.
        let mut stay: VecDeque<oneshot::Sender<()>> = VecDeque::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        stay.retain(|one| !one.is_closed());
                        while stay.len() >= CONNECTIONS_MAX {
                            stay.pop_front();
                        }
                        let (staying, end) = oneshot::channel();
                        stay.push_back(staying);
                        open.push(answer(stream, is_local, Arc::clone(&exposed), end));
                    }
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                },
                Some(()) = open.next() => {}
            }
        }
    }
}

/// Answers one request, unless `end` comes before. `is_local` when it can have come from this machine alone.
async fn answer(stream: TcpStream, is_local: bool, exposed: Arc<dyn Exposed>, end: oneshot::Receiver<()>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let exposed = Arc::clone(&exposed);
        async move {
            Ok::<_, Infallible>(match is_local && !names_loopback(request.headers()) {
                true => {
                    plain(StatusCode::MISDIRECTED_REQUEST, "ask for this machine by 127.0.0.1 or localhost\n".into())
                }
                false => respond(&request, exposed).await,
            })
        }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // Err: the caller has gone, spoke something else, or stayed too long.
        _ = timeout(CONNECTION_MAX, connection) => {}
        // Err: another came.
        _ = end => {}
    }
}

/// Whether a request that came to the loopback asks for it: by its address, by `localhost`, or, before HTTP/1.1, by no
/// name at all.
fn names_loopback(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return !headers.contains_key(HOST) };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    let is_address = address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    is_address || name.eq_ignore_ascii_case("localhost")
}

async fn respond<B>(request: &Request<B>, exposed: Arc<dyn Exposed>) -> Response<String> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    match request.uri().path() {
        "/livez" | "/readyz" | "/metrics" if !is_read => {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
        "/livez" => plain(StatusCode::OK, "alive\n".to_owned()),
        "/readyz" => match asked(move || exposed.trouble()).await {
            Some(None) => plain(StatusCode::OK, "ready\n".to_owned()),
            Some(Some(trouble)) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n")),
            None => failed(),
        },
        "/metrics" => {
            let accept = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
            let format = Format::wanted(&accept.collect::<Vec<_>>().join(","));
            match asked(move || exposed.page(format)).await {
                Some(page) => response(StatusCode::OK, format.content_type(), page),
                None => failed(),
            }
        }
        _ => plain(StatusCode::NOT_FOUND, "there is /livez, /readyz and /metrics\n".to_owned()),
    }
}

/// `None` when whoever is asked has panicked.
async fn asked<T: Send + 'static>(question: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(question).await.ok()
}

fn failed() -> Response<String> {
    plain(StatusCode::INTERNAL_SERVER_ERROR, "the program could not describe itself\n".to_owned())
}

fn plain(status: StatusCode, text: String) -> Response<String> {
    response(status, TEXT, text)
}

fn response(status: StatusCode, kind: &'static str, text: String) -> Response<String> {
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    struct Program(Option<&'static str>);

    impl Exposed for Program {
        fn trouble(&self) -> Option<String> {
            self.0.map(str::to_owned)
        }

        fn page(&self, format: Format) -> String {
            format!("{format:?}")
        }
    }

    async fn ask(method: Method, path: &str, accept: &[&str], program: Program) -> (u16, String, String) {
        let mut request = Request::builder().method(method).uri(path);
        for accept in accept {
            request = request.header(ACCEPT, *accept);
        }
        let response = respond(&request.body(()).expect("a request"), Arc::new(program)).await;
        let kind = response.headers()[CONTENT_TYPE].to_str().expect("text").to_owned();
        (response.status().as_u16(), kind, response.into_body())
    }

    #[tokio::test]
    async fn who_is_not_ready_says_why_and_is_alive_all_the_same() {
        let get = |path, trouble| ask(Method::GET, path, &[], Program(trouble));
        assert_eq!(get("/readyz", None).await.0, 200);
        let (status, _, text) = get("/readyz", Some("stopping")).await;
        assert_eq!((status, text.as_str()), (503, "stopping\n"));
        assert_eq!(get("/livez", Some("stopping")).await.0, 200);
        assert_eq!(get("/", None).await.0, 404);
        assert_eq!(ask(Method::POST, "/metrics", &[], Program(None)).await.0, 405);
    }

    async fn listening() -> SocketAddr {
        let listener = Listener::bind("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
        let address = listener.address().expect("bound");
        #[expect(clippy::disallowed_methods, reason = "it ends with the runtime of the test")]
        tokio::spawn(async move { listener.serve(Arc::new(Program(None))).await });
        address
    }

    async fn said(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("accepted");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer, and the end");
        answer.lines().next().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn who_stays_without_a_word_or_asks_again_and_again_keeps_nobody_out() {
        let address = listening().await;
        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS_MAX * 2 {
            idle.push(TcpStream::connect(address).await.expect("accepted"));
        }
        let livez = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let answered =
            timeout(HEAD_MAX / 2, said(address, &livez.repeat(2))).await.expect("in time, and closed behind it");
        assert_eq!(answered, "HTTP/1.1 200 OK");
    }

    #[tokio::test]
    async fn on_the_loopback_only_who_names_it_is_answered() {
        let address = listening().await;
        for (host, code) in [
            ("127.0.0.1", "200"),
            ("127.0.0.1:9477", "200"),
            ("localhost:1", "200"),
            ("LOCALHOST", "200"),
            ("[::1]:9477", "200"),
            ("evil.example", "421"),
            ("evil.example:9477", "421"),
            ("localhost.evil.example", "421"),
            ("127.0.0.1.evil.example", "421"),
            ("192.0.2.1", "421"),
            ("", "421"),
        ] {
            let status = said(address, &format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
            assert_eq!(status.split(' ').nth(1), Some(code), "{host}");
        }
        assert_eq!(said(address, "GET /livez HTTP/1.0\r\n\r\n").await, "HTTP/1.0 200 OK");
    }

    #[tokio::test]
    async fn the_page_comes_in_the_format_that_is_asked_for() {
        let get = |accept: &'static [&'static str]| ask(Method::GET, "/metrics", accept, Program(None));
        let (_, kind, page) = get(&["application/openmetrics-text", "*/*;q=0.1"]).await;
        assert_eq!((kind.as_str(), page.as_str()), (Format::OpenMetrics.content_type(), "OpenMetrics"));
        let (_, kind, page) = get(&[]).await;
        assert_eq!((kind.as_str(), page.as_str()), ("text/plain; version=0.0.4; charset=utf-8", "Text"));
    }
}
