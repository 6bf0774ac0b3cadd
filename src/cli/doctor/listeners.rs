//! Where the agent answers besides its socket: metrics and health over HTTP, if it is to.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{finding::Finding, patient::Patient};

/// How long an answer may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(3);

/// The first port that needs no privilege.
const UNPRIVILEGED_PORT: u16 = 1024;

/// As much of an answer as is read, bytes.
const ANSWER_BYTES_MAX: u64 = 4096;

pub(super) async fn look(patient: Arc<Patient>) -> Vec<Finding> {
    let Ok(loaded) = &patient.config else {
        return vec![Finding::skip("whether metrics are answered is not known without the configuration")];
    };
    let Some(listen) = loaded.config.metrics.listen else {
        return vec![Finding::skip("metrics are not switched on")];
    };
    if patient.status.is_err() {
        return vec![Finding::skip("only a running agent answers metrics")];
    }
    let asked = timeout(ANSWER_TIME_MAX, ask(reachable(listen))).await;
    vec![judge(listen, asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())))]
}

fn judge(listen: SocketAddr, answer: io::Result<String>) -> Finding {
    let advice = format!("curl http://{}/readyz", reachable(listen));
    match answer {
        Ok(line) if line.contains(" 200 ") => {
            let who = if listen.ip().is_loopback() { "" } else { ", to everybody who reaches this machine" };
            Finding::pass(format!("metrics are answered on {listen}, and the agent is ready{who}"))
        }
        Ok(line) if line.starts_with("HTTP/") => {
            Finding::warn(format!("on {listen} the agent says that it is not ready: {line}"), advice)
        }
        Ok(_) => Finding::fail(
            format!("something else answers on {listen}"),
            format!("ss -ltnp 'sport = :{}'", listen.port()),
        ),
        Err(error) => {
            // The text of the entry does not tell why, its fields do.
            let advice = match error.kind() == io::ErrorKind::ConnectionRefused && listen.port() < UNPRIVILEGED_PORT {
                true => "the service may not use ports below 1024 unless a drop-in lets it: take another, then rodent reload".to_owned(),
                false => format!("journalctl -t rodent RODENT_ADDRESS={listen} -n 1 -o verbose"),
            };
            Finding::fail(format!("metrics are not answered on {listen}: {error}"), advice)
        }
    }
}

/// Where an address that means all of them can be called.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let mut address = listen;
    match listen {
        SocketAddr::V4(_) if listen.ip().is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        SocketAddr::V6(_) if listen.ip().is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// The first line of the answer to whether the agent is ready.
async fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Mark;

    #[test]
    fn what_answers_is_told_from_what_does_not_and_from_something_else() {
        let listen = "127.0.0.1:7444".parse().expect("an address");
        let mark = |line: &str| judge(listen, Ok(line.to_owned())).mark;
        assert_eq!((mark("HTTP/1.1 200 OK"), mark("HTTP/1.1 503 Service Unavailable")), (Mark::Pass, Mark::Warn));
        assert_eq!((mark("220 mail"), mark("")), (Mark::Fail, Mark::Fail));
        let silent =
            |listen: &str| judge(listen.parse().expect("an address"), Err(io::ErrorKind::ConnectionRefused.into()));
        assert_eq!(silent("127.0.0.1:7444").mark, Mark::Fail);
        assert!(silent("127.0.0.1:7444").advice.contains("RODENT_ADDRESS=127.0.0.1:7444"));
        assert!(silent("127.0.0.1:80").advice.contains("below 1024"));
        let open = judge("0.0.0.0:7444".parse().expect("an address"), Ok("HTTP/1.1 200 OK".to_owned()));
        assert!(open.text.ends_with("to everybody who reaches this machine"), "{open:?}");
        assert_eq!(reachable("[::]:80".parse().expect("an address")).to_string(), "[::1]:80");
    }
}
