//! `/livez`, `/readyz` and `/metrics` over HTTP/1.1, for whoever runs the program. Nothing secret is shown, and nothing can
//! be changed; yet it belongs on the loopback or into a management network.
//!
//! What holds: at most [`CONNECTIONS_MAX`] connections, each for at most [`CONNECTION_MAX`]; no body is read. `/livez` asks
//! nobody, so that it answers whatever the program waits for.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use super::Format;

/// Connections at once; more wait in the queue of the kernel.
const CONNECTIONS_MAX: usize = 32;

/// How long a connection may last: a scrape a minute needs no more.
const CONNECTION_MAX: Duration = Duration::from_secs(90);

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
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if open.len() < CONNECTIONS_MAX => match accepted {
                    Ok((stream, _)) => open.push(answer(stream, Arc::clone(&exposed))),
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                },
                Some(()) = open.next() => {}
            }
        }
    }
}

async fn answer(stream: TcpStream, exposed: Arc<dyn Exposed>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let exposed = Arc::clone(&exposed);
        async move { Ok::<_, Infallible>(respond(&request, exposed).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // Err: the caller has gone, spoke something else, or stayed too long.
    let _ = timeout(CONNECTION_MAX, connection).await;
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

    #[tokio::test]
    async fn the_page_comes_in_the_format_that_is_asked_for() {
        let get = |accept: &'static [&'static str]| ask(Method::GET, "/metrics", accept, Program(None));
        let (_, kind, page) = get(&["application/openmetrics-text", "*/*;q=0.1"]).await;
        assert_eq!((kind.as_str(), page.as_str()), (Format::OpenMetrics.content_type(), "OpenMetrics"));
        let (_, kind, page) = get(&[]).await;
        assert_eq!((kind.as_str(), page.as_str()), ("text/plain; version=0.0.4; charset=utf-8", "Text"));
    }
}
