//! What callers hold of the agent's memory: the bytes of requests that are being received or answered, and large answers that
//! nobody has read yet.
//!
//! Stands before a service. Always holds: of all requests no more is held than the bounds say, a user's and everybody's, and no
//! more large answers; a request that was begun and of which nothing more comes has an end. Between two requests a stream may be
//! silent for ever.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use http_body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tonic::{
    Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
    server::NamedService,
    transport::server::UdsConnectInfo,
};

use super::shares::{Bounds, Share, Shares};
use crate::lock::lock;

/// Bytes of requests that are held at once.
const HELD_BYTES: Bounds = Bounds { max: 64 << 20, user_max: 24 << 20, kept: 16 << 20 };

/// Calls that are answered at once, with up to a MiB, whether or not somebody reads it. What is given page by page has places of
/// its own.
const LARGE_ANSWERS: [&str; 3] = ["/State", "/Status", "/ListDeadLetters"];

/// So many of these at once, until their answers are taken.
const LARGE: Bounds = Bounds { max: 48, user_max: 12, kept: 24 };

/// A caller of which nothing more comes for so long in the middle of a request is given up.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Before each message: whether it is compressed, and its length in four bytes (the gRPC protocol over HTTP/2).
const PREFIX_BYTES: usize = 5;

/// A service whose requests are counted.
#[derive(Clone)]
pub(super) struct Counted<S> {
    service: S,
    shares: Arc<Shares>,
    /// Places for large answers.
    large: Arc<Shares>,
    silence_max: Duration,
}

/// What is held for one call. Shared by its request, which changes it, and its answer, which keeps it.
type CallShare = Arc<Mutex<Option<Share>>>;

/// What callers may hold together, through whichever service.
pub(super) fn shares() -> Arc<Shares> {
    Shares::new(HELD_BYTES)
}

impl<S> Counted<S> {
    pub(super) fn new(service: S, shares: Arc<Shares>) -> Counted<S> {
        Counted { service, shares, large: Shares::new(LARGE), silence_max: SILENCE_MAX }
    }
}

impl<S: NamedService> NamedService for Counted<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Counted<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<http::Response<Body>, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let peer = request.extensions().get::<UdsConnectInfo>().and_then(|info| info.peer_cred);
        // Whom the kernel does not name is nobody, and refused behind this.
        let user = peer.map_or(u32::MAX, |peer| peer.uid());
        let is_large = LARGE_ANSWERS.iter().any(|method| request.uri().path().ends_with(method));
        let place = is_large.then(|| self.large.take(user, 1));
        if let Some(None) = place {
            let Bounds { max, user_max, .. } = LARGE;
            let what = format!("too many such answers wait to be read ({max} in all, {user_max} of one user)");
            return Box::pin(async move { Ok(Status::resource_exhausted(what).into_http()) });
        }
        let share: CallShare = Arc::new(Mutex::new(self.shares.take(user, 0)));
        let (of_request, silence_max) = (Arc::clone(&share), self.silence_max);
        let counted = |body| {
            Body::new(Request { body, share: of_request, message: Message::default(), silence_max, silence: None })
        };
        let answering = self.service.call(request.map(counted));
        Box::pin(async move {
            let response = answering.await?;
            Ok(response.map(|body| Body::new(Answer { body, _share: share, _place: place.flatten() })))
        })
    }
}

/// The body of a request.
struct Request {
    body: Body,
    share: CallShare,
    message: Message,
    silence_max: Duration,
    /// Runs while a message is not complete and nothing comes.
    silence: Option<Pin<Box<Sleep>>>,
}

/// The message that is being received.
#[derive(Default)]
struct Message {
    prefix: [u8; PREFIX_BYTES],
    /// Bytes that have come of it, its prefix among them; 0 between messages.
    came: usize,
}

impl Message {
    /// More bytes have come, perhaps of several messages.
    fn follow(&mut self, mut bytes: &[u8]) {
        while bytes.has_remaining() {
            if let Some(rest) = self.prefix.get_mut(self.came..).filter(|rest| !rest.is_empty()) {
                let taken = rest.len().min(bytes.len());
                bytes.copy_to_slice(&mut rest[..taken]);
                self.came += taken;
            } else {
                let taken = self.left().min(bytes.len());
                bytes.advance(taken);
                self.came += taken;
            }
            if self.came >= PREFIX_BYTES && self.left() == 0 {
                self.came = 0;
            }
        }
    }

    fn left(&self) -> usize {
        let [_, length @ ..] = self.prefix;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        length.saturating_add(PREFIX_BYTES).saturating_sub(self.came)
    }
}

impl http_body::Body for Request {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            if this.message.came == 0 {
                return Poll::Pending;
            }
            let silence_max = this.silence_max;
            ready!(this.silence.get_or_insert_with(|| Box::pin(sleep(silence_max))).as_mut().poll(cx));
            let what = format!("a request was begun, and nothing more of it came for {} s", silence_max.as_secs());
            return Poll::Ready(Some(Err(Status::deadline_exceeded(what))));
        };
        this.silence = None;
        if let Some(Ok(Some(data))) = frame.as_ref().map(|frame| frame.as_ref().map(Frame::data_ref)) {
            // Who asks for more has done with every whole message before.
            let held = this.message.came + data.len();
            let mut share = lock(&this.share);
            if !share.as_mut().is_some_and(|share| share.change(held)) {
                let what = "too much is being sent to the agent at the moment; try again later";
                return Poll::Ready(Some(Err(Status::resource_exhausted(what))));
            }
            this.message.follow(data);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer, which keeps what its request holds, and its own place.
struct Answer {
    body: Body,
    _share: CallShare,
    _place: Option<Share>,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible, future::poll_fn};

    use http_body::Body as _;

    use super::*;

    /// A body in pieces, and silent then.
    struct Pieces(VecDeque<Bytes>);

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.pop_front().map_or(Poll::Pending, |piece| Poll::Ready(Some(Ok(Frame::data(piece)))))
        }
    }

    /// Answers at once, with what nobody has read yet.
    struct Answering;

    impl Service<http::Request<Body>> for Answering {
        type Response = http::Response<Body>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<http::Response<Body>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Request<Body>) -> Self::Future {
            std::future::ready(Ok(http::Response::new(Body::new(Pieces(VecDeque::new())))))
        }
    }

    #[tokio::test]
    async fn large_answers_that_a_user_does_not_read_are_bounded_and_nothing_else_waits_for_them() {
        let mut counted = Counted::new(Answering, shares());
        let mut call = |method: &str| {
            let uri = format!("/rodent.local.LocalService/{method}");
            counted.call(http::Request::builder().uri(uri).body(Body::default()).expect("a request"))
        };
        let is_refused = |answer: &http::Response<Body>| answer.headers().contains_key("grpc-status");
        let mut unread = Vec::new();
        for method in ["State", "Status", "ListDeadLetters"].iter().cycle().take(LARGE.user_max) {
            unread.push(call(method).await.expect("an answer"));
        }
        assert!(!unread.iter().any(is_refused));
        assert!(is_refused(&call("State").await.expect("an answer")));
        assert!(!is_refused(&call("Flush").await.expect("an answer")));
        unread.pop();
        assert!(!is_refused(&call("State").await.expect("an answer")), "there is room again");
    }

    fn message(bytes: usize) -> Vec<u8> {
        let length = u32::try_from(bytes).expect("small").to_be_bytes();
        [&[0], length.as_slice(), &vec![7; bytes]].concat()
    }

    fn request(shares: &Arc<Shares>, pieces: Vec<Vec<u8>>) -> Request {
        let body = Body::new(Pieces(pieces.into_iter().map(Bytes::from).collect()));
        let share = Arc::new(Mutex::new(shares.take(1000, 0)));
        Request { body, share, message: Message::default(), silence_max: Duration::from_millis(30), silence: None }
    }

    async fn next(request: &mut Request) -> Result<(), Status> {
        let frame = poll_fn(|cx| Pin::new(&mut *request).poll_frame(cx));
        let frame = tokio::time::timeout(Duration::from_secs(20), frame).await.expect("in time").expect("no end");
        frame.map(|_| ())
    }

    #[tokio::test]
    async fn a_request_that_was_begun_and_does_not_go_on_is_given_up_and_a_stream_between_two_waits() {
        let shares = shares();
        let mut begun = request(&shares, vec![[message(100), message(50)[..20].to_vec()].concat()]);
        next(&mut begun).await.expect("what came");
        assert_eq!(next(&mut begun).await.expect_err("silent").code(), tonic::Code::DeadlineExceeded);
        let mut between = request(&shares, vec![message(100)[..3].to_vec(), message(100)[3..].to_vec(), message(0)]);
        for _ in 0..3 {
            next(&mut between).await.expect("what came");
        }
        assert!(tokio::time::timeout(Duration::from_millis(200), next(&mut between)).await.is_err(), "it waits");
    }

    #[tokio::test]
    async fn what_one_user_holds_is_bounded_and_given_back_with_the_request() {
        let shares = shares();
        let large = || message(1 << 20);
        let half = |shares: &_| request(shares, vec![large()[..1 << 19].to_vec()]);
        let (mut held, mut refused) = (Vec::new(), None);
        while refused.is_none() && held.len() < 100 {
            let mut one = half(&shares);
            match next(&mut one).await {
                Ok(()) => held.push(one),
                Err(status) => refused = Some(status.code()),
            }
        }
        assert_eq!((refused, held.len()), (Some(tonic::Code::ResourceExhausted), 48));
        held.clear();
        next(&mut half(&shares)).await.expect("there is room again");
        // A stream of many counts what it has not done with.
        let mut many = request(&shares, (0..100).map(|_| large()).collect());
        for _ in 0..100 {
            next(&mut many).await.expect("one at a time");
        }
    }
}
