//! `/livez`, `/readyz` and `/metrics` over HTTP/1.1, for whoever runs the controller. Nothing secret is shown, and
//! nothing can be changed; yet it belongs on the loopback or into a management network.
//!
//! What holds: at most [`CONNECTIONS_MAX`] connections, each for at most [`CONNECTION_MAX`]; no body is read.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use super::state::State;

/// Connections at once; more wait in the queue of the kernel.
const CONNECTIONS_MAX: usize = 32;

/// How long a connection may last: a scrape a minute needs no more.
const CONNECTION_MAX: Duration = Duration::from_secs(90);

/// How long the head of a request may take.
const HEAD_MAX: Duration = Duration::from_secs(5);

/// The wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const EXPOSITION: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Answers for as long as it is polled; without a listener it only waits.
pub(super) async fn serve(listener: Option<TcpListener>, state: Arc<State>) -> Infallible {
    let Some(listener) = listener else { return std::future::pending().await };
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if open.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => open.push(answer(stream, Arc::clone(&state))),
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
            Some(()) = open.next() => {}
        }
    }
}

async fn answer(stream: TcpStream, state: Arc<State>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = respond(request.method(), request.uri().path(), &state);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // Err: the caller has gone, spoke something else, or stayed too long.
    let _ = timeout(CONNECTION_MAX, connection).await;
}

fn respond(method: &Method, path: &str, state: &State) -> Response<String> {
    let (status, kind, text) = match (method, path) {
        (&Method::GET | &Method::HEAD, "/livez") => (StatusCode::OK, TEXT, "alive\n".to_owned()),
        (&Method::GET | &Method::HEAD, "/readyz") => match state.trouble() {
            None => (StatusCode::OK, TEXT, "ready\n".to_owned()),
            Some(trouble) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{trouble}\n")),
        },
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, EXPOSITION, state.page()),
        (_, "/livez" | "/readyz" | "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, TEXT, "there is /livez, /readyz and /metrics\n".to_owned()),
    };
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
