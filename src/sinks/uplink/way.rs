//! The way to the controller, on which whatever stands between may answer in its place: a proxy that refuses, or knows no
//! controller behind it, does so in HTTP and HTML.
//!
//! Given a connection, taken by every call over it. Always holds: each answer is one of gRPC, or the status that the code of HTTP
//! stands for; its page is not read.

use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tonic::{
    Code, Status,
    body::Body,
    codegen::http::{HeaderMap, Request, Response, StatusCode, header},
    transport::{Channel, Error},
};
use tower::Service;

/// How the type of every answer of gRPC begins.
const GRPC: &str = "application/grpc";

/// A connection whose answers all speak gRPC. Cheap to copy.
#[derive(Clone)]
pub(super) struct Way(pub(super) Channel);

impl Service<Request<Body>> for Way {
    type Response = Response<Body>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response<Body>, Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move { answer.await.map(in_grpc) })
    }
}

/// The answer as it came, or what it means.
fn in_grpc(answer: Response<Body>) -> Response<Body> {
    match meaning(answer.status(), answer.headers()) {
        Some(status) => status.into_http(),
        None => answer,
    }
}

/// What an answer that does not speak gRPC means. Source: the gRPC protocol's table of HTTP codes, and 413 for a request that is
/// too large; but where nothing is found there is no controller, and not one that lacks a method.
fn meaning(status: StatusCode, headers: &HeaderMap) -> Option<Status> {
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| String::from_utf8_lossy(kind.as_bytes()).into_owned());
    let is_grpc = status == StatusCode::OK && kind.as_ref().is_none_or(|kind| kind.starts_with(GRPC));
    if is_grpc || headers.contains_key("grpc-status") {
        return None;
    }
    let code = match status {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::PAYLOAD_TOO_LARGE => Code::ResourceExhausted,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Code::Unavailable,
        _ => Code::Unknown,
    };
    let what = match code {
        Code::NotFound => ": no controller is there",
        Code::Unknown if status == StatusCode::OK => ", and not in gRPC",
        _ => "",
    };
    Some(Status::new(code, format!("something on the way to the controller answers with HTTP {status}{what}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning_of(status: u16, headers: &[(&'static str, &'static str)]) -> Option<Status> {
        let headers = headers
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), header::HeaderValue::from_static(value)));
        meaning(StatusCode::from_u16(status).expect("a code"), &headers.collect())
    }

    #[test]
    fn what_answers_in_place_of_a_controller_counts_by_its_http_code_whatever_its_page() {
        for (status, code) in [
            (401, Code::Unauthenticated),
            (403, Code::PermissionDenied),
            (404, Code::NotFound),
            (413, Code::ResourceExhausted),
            (429, Code::Unavailable),
            (500, Code::Unknown),
            (502, Code::Unavailable),
            (200, Code::Unknown),
        ] {
            for kind in ["text/html", "application/json"] {
                let meaning = meaning_of(status, &[("content-type", kind)]).expect("not gRPC");
                assert_eq!(meaning.code(), code, "{status}");
                assert!(meaning.message().contains(&format!("answers with HTTP {status} ")), "{meaning}");
            }
        }
        assert!(meaning_of(502, &[("content-type", GRPC)]).is_some(), "it may name the type that was asked for");
    }

    #[test]
    fn what_speaks_grpc_is_left_as_it_is() {
        assert!(meaning_of(200, &[("content-type", "application/grpc+proto")]).is_none());
        assert!(meaning_of(200, &[]).is_none());
        assert!(meaning_of(403, &[("content-type", "text/html"), ("grpc-status", "16")]).is_none());
    }
}
