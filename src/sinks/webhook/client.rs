//! One request to a webhook's receiver and its answer, over HTTP/1.1 and connections that are kept while they are used.
//!
//! Always holds: nothing is followed (no redirects); all of it together takes no longer than the caller says; a connection that was
//! made with credentials that are none any more is not used again.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Mutex,
    task::Poll,
    time::{Duration, Instant, SystemTime},
};

use hyper::{
    Method, Request,
    client::conn::http1::{self, SendRequest},
    header::{HOST, PROXY_AUTHORIZATION, USER_AGENT},
    http::request,
};
use hyper_util::rt::TokioIo;

use super::{
    answer::{Answer, NoAnswer},
    body::Whole,
    connector::Connector,
    credentials::Trust,
    distrust,
    target::Target,
};
use crate::lock::lock;

/// A connection that was not used for so long is not used any more: many servers and firewalls have closed it by then.
const IDLE_MAX: Duration = Duration::from_secs(20);

/// The most connections that are kept.
const IDLE_CONNECTIONS_MAX: usize = 2;

/// Connects and asks. Cheap to share.
pub(super) struct Client {
    connector: Connector,
    idle: Mutex<Vec<(Open, Instant)>>,
}

/// An open connection. Nobody drives it but who asks over it.
struct Open {
    sender: SendRequest<Whole>,
    driver: Pin<Box<dyn Future<Output = Result<(), hyper::Error>> + Send>>,
    /// Of what it is secured with.
    edition: u64,
}

impl Client {
    pub(super) fn new(connector: Connector) -> Client {
        Client { connector, idle: Mutex::default() }
    }

    /// Until when the receiver's certificate is valid, once it has shown one.
    pub(super) fn certificate_until(&self) -> Option<SystemTime> {
        self.connector.certificate_until()
    }

    pub(super) fn target(&self) -> &Target {
        &self.connector.target
    }

    /// A request to the receiver, with what every request has.
    pub(super) fn request(&self, method: Method) -> request::Builder {
        let Connector { target, proxy, .. } = &self.connector;
        let request = Request::builder().method(method).header(HOST, target.authority());
        let request = request.header(USER_AGENT, concat!("rodent/", env!("CARGO_PKG_VERSION")));
        match proxy.as_ref().filter(|_| !target.is_encrypted) {
            None => request.uri(&target.path),
            // The proxy itself is asked, for all of the URL.
            Some(proxy) => {
                let request = request.uri(format!("{target}{}", target.path));
                let own = proxy.authorization.iter();
                own.fold(request, |request, own| request.header(PROXY_AUTHORIZATION, own.reveal()))
            }
        }
    }

    /// Sends a request and reads the answer, all within `patience`.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) async fn ask(
        &self,
        request: Request<Whole>,
        trust: &Trust,
        patience: Duration,
    ) -> Result<Answer, NoAnswer> {
        let asking = async {
            let mut open = match self.kept(trust.edition) {
                Some(open) => open,
                None => self.connect(trust).await?,
            };
            let exchanged = exchange(&mut open, request, self.target()).await;
            let (answer, is_reusable) = exchanged.map_err(|why| NoAnswer { may_be_taken: true, ..why })?;
            if is_reusable {
                self.keep(open);
            }
            Ok(answer)
        };
        tokio::time::timeout(patience, asking).await.unwrap_or_else(|_| {
            let why = format!("no answer from {} within {}", self.target(), humantime::format_duration(patience));
            Err(NoAnswer { is_timeout: true, may_be_taken: true, why })
        })
    }

    /// A connection that is open as far as can be known here.
    fn kept(&self, edition: u64) -> Option<Open> {
        while let Some((mut open, since)) = lock(&self.idle).pop() {
            let is_over = open.driver.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
            let is_fresh = since.elapsed() < IDLE_MAX && open.edition == edition;
            if is_fresh && is_over.is_pending() && !open.sender.is_closed() {
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

    async fn connect(&self, trust: &Trust) -> Result<Open, NoAnswer> {
        let stream = TokioIo::new(self.connector.connect(trust).await?);
        let (sender, driver) =
            http1::handshake(stream).await.map_err(|error| NoAnswer::of("begin to speak HTTP", &error))?;
        Ok(Open { sender, driver: Box::pin(driver), edition: trust.edition })
    }
}

/// The answer, and whether the connection may be used again.
async fn exchange(open: &mut Open, request: Request<Whole>, target: &Target) -> Result<(Answer, bool), NoAnswer> {
    let Open { sender, driver, .. } = open;
    let mut asking = pin!(async {
        let response = sender.send_request(request).await.map_err(|error| match distrust::within(&error, target) {
            Some(why) => NoAnswer::new(why),
            None => NoAnswer::of("speak HTTP", &error),
        })?;
        Answer::read(response).await
    });
    let mut is_open = true;
    // What was read before the connection ended is an answer all the same.
    poll_fn(|cx| {
        is_open = is_open && driver.as_mut().poll(cx).is_pending();
        match asking.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(answer.map(|answer| {
                let is_reusable = answer.is_whole && is_open;
                (answer, is_reusable)
            })),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        net::TcpListener,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
    };

    use super::*;

    /// What a receiver says to a request; it hangs up where that is nothing.
    type Says = Option<&'static str>;

    /// One that answers so, and how many connections it has had. Its threads end with the test.
    fn receiver(says: Says) -> (Client, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("bound"));
        let connections = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counting.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    let mut lines = BufReader::new(stream.try_clone().expect("a copy")).lines().map_while(Result::ok);
                    while lines.find(String::is_empty).is_some() {
                        match says {
                            Some(says) => (&stream).write_all(says.as_bytes()).expect("it listens"),
                            None => return,
                        }
                    }
                });
            }
        });
        (Client::new(Connector::new(Target::parse(&url).expect("a URL"), None, false)), connections)
    }

    async fn ask(client: &Client, edition: u64) -> Result<Answer, NoAnswer> {
        let request = client.request(Method::GET).body(Whole::default()).expect("a request");
        client.ask(request, &Trust { edition, ..Trust::default() }, Duration::from_secs(1)).await
    }

    #[tokio::test]
    async fn a_connection_is_used_again_for_as_long_as_the_credentials_are_the_same() {
        let (client, connections) = receiver(Some("HTTP/1.1 204 No Content\r\n\r\n"));
        for (edition, expected) in [(1, 1), (1, 1), (2, 2), (2, 2)] {
            assert!(ask(&client, edition).await.expect("an answer").status.is_success());
            assert_eq!(connections.load(Ordering::SeqCst), expected, "{edition}");
        }
    }

    #[tokio::test]
    async fn who_was_asked_and_says_nothing_may_have_taken_it_and_who_was_not_reached_has_not() {
        let (hangs_up, _) = receiver(None);
        let why = ask(&hangs_up, 0).await.expect_err("no answer");
        assert!(why.may_be_taken && !why.is_timeout, "{why:?}");
        let (is_silent, _) = receiver(Some(""));
        let why = ask(&is_silent, 0).await.expect_err("no answer");
        assert!(why.may_be_taken && why.is_timeout, "{why:?}");
        let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
        let target = Target::parse(&format!("http://{gone}/")).expect("a URL");
        let why = ask(&Client::new(Connector::new(target, None, false)), 0).await.expect_err("nobody is there");
        assert!(!why.may_be_taken, "{why:?}");
    }
}
