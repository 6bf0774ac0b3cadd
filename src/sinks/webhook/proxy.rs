//! A proxy on the way to a receiver: it is asked for a tunnel (CONNECT) to one that is spoken to in TLS, and for the exchange itself
//! with one that is not.
//!
//! Given a connection to it; gives the same one, leading to the receiver. Always holds: what it wants to know of the node (user and
//! password) is shown by no message; of its answer at most [`HEAD_BYTES_MAX`] are read. Deliberately absent: proxies that are
//! themselves spoken to in TLS, and the environment's `http_proxy`, which would lead each sink there.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::StatusCode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::target::Target;
use crate::settings::Secret;

/// The longest head of an answer, bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Where it is, and what it wants to know. Shows itself without that.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    pub(super) target: Target,
    /// The value of `proxy-authorization`.
    pub(super) authorization: Option<Secret>,
}

impl Proxy {
    /// # Errors
    /// What is wrong with the URL, without quoting it.
    pub(super) fn parse(url: &str) -> Result<Proxy, String> {
        let (scheme, rest) = url.split_once("://").ok_or("expected a URL, such as http://proxy.lan:3128")?;
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, rest),
        };
        let target = Target::parse(&format!("{scheme}://{rest}"))?;
        if target.is_encrypted {
            return Err(
                "a proxy is spoken to in plain http: write http://; what goes through it stays encrypted".to_owned()
            );
        }
        if target.path != "/" {
            return Err("a proxy has no path".to_owned());
        }
        let authorization = user.map(|user| match user.contains(':') {
            true => Ok(Secret::new(format!("Basic {}", STANDARD.encode(decoded(user)?)))),
            false => Err("user and password stand before `@`, with `:` between them".to_owned()),
        });
        Ok(Proxy { target, authorization: authorization.transpose()? })
    }

    /// Has it connect to a receiver.
    ///
    /// # Errors
    /// Why it does not, in words.
    pub(super) async fn tunnel(&self, stream: &mut TcpStream, to: &Target) -> Result<(), String> {
        let (proxy, place) = (&self.target, to.place());
        let own = self.authorization.as_ref();
        let own = own.map(|own| format!("proxy-authorization: {}\r\n", own.reveal())).unwrap_or_default();
        let request = format!("CONNECT {place} HTTP/1.1\r\nhost: {place}\r\n{own}\r\n");
        let gone = |error: std::io::Error| format!("ask the proxy {proxy} for {place}: {error}");
        stream.write_all(request.as_bytes()).await.map_err(gone)?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            // Byte by byte: what comes behind the head is the receiver's already.
            match stream.read_u8().await {
                Ok(byte) if head.len() < HEAD_BYTES_MAX => head.push(byte),
                Ok(_) => return Err(format!("the proxy {proxy} answers without end")),
                Err(error) => return Err(gone(error)),
            }
        }
        match status(&head) {
            Some(status) if status.is_success() => Ok(()),
            Some(StatusCode::PROXY_AUTHENTICATION_REQUIRED) => {
                Err(format!("the proxy {proxy} wants another user or password (407); correct `http_proxy`"))
            }
            Some(status) => Err(format!("the proxy {proxy} does not lead to {place}: {status}")),
            None => Err(format!("the proxy {proxy} does not speak HTTP")),
        }
    }
}

/// The status of an answer.
fn status(head: &[u8]) -> Option<StatusCode> {
    let line = str::from_utf8(head).ok()?.lines().next()?;
    line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()
}

/// `%XX` as the byte that it stands for.
fn decoded(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || "behind `%` stand two hexadecimal digits".to_owned();
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let digits = after.get(..2).ok_or_else(wrong)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        rest = after.get(2..).unwrap_or_default();
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_shows_neither_user_nor_password_and_what_is_none_is_refused_without_being_quoted() {
        let proxy = Proxy::parse("http://nas:p%40ss@proxy.lan:3128").expect("a proxy");
        assert_eq!(format!("{proxy} {proxy:?}"), "http://proxy.lan:3128 http://proxy.lan:3128");
        let authorization = proxy.authorization.expect("a user");
        assert_eq!(authorization.reveal(), format!("Basic {}", STANDARD.encode("nas:p@ss")));
        assert!(Proxy::parse("http://[fd00::1]:3128/").expect("a proxy").authorization.is_none());
        for (url, why) in [
            ("proxy.lan:3128", "expected a URL"),
            ("https://hidden@proxy.lan", "write http://"),
            ("http://hidden@proxy.lan", "with `:` between them"),
            ("http://hid:den%4@proxy.lan", "two hexadecimal digits"),
            ("http://hid:den%4ö@proxy.lan", "two hexadecimal digits"),
            ("http://proxy.lan/hidden", "no path"),
            ("socks5://hid:den@proxy.lan", "only http:// and https:// are spoken"),
        ] {
            let error = Proxy::parse(url).expect_err(url);
            assert!(error.contains(why) && !error.contains("hid"), "{error}");
        }
    }

    #[test]
    fn the_status_of_an_answer_is_read_and_what_is_none_gives_none() {
        assert_eq!(status(b"HTTP/1.1 200 Connection established\r\n\r\n"), Some(StatusCode::OK));
        assert_eq!(status(b"HTTP/1.0 407 No\r\nx: y\r\n\r\n"), Some(StatusCode::PROXY_AUTHENTICATION_REQUIRED));
        for head in
            [&b"SSH-2.0-x\r\n\r\n"[..], b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 ok\r\n\r\n", b"\xff\r\n\r\n", b"\r\n\r\n"]
        {
            assert_eq!(status(head), None);
        }
    }
}
