//! A way to the controller that can be spoilt: a TCP proxy that cuts, swallows, stalls or dribbles, by word of the test.
//!
//! It knows as much of HTTP/2 as it takes to tell the answer to a batch from everything else. A connection that has lost
//! bytes is dead for good, as it would be in the world: it stays as it is until an end gives up.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt};

/// How long a thread of the proxy looks at nothing else.
const TICK: Duration = Duration::from_millis(10);

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Both ways are open.
    Open,
    /// A connection is reset as soon as it is there.
    Reset,
    /// Half of the answer to a batch comes, then a reset.
    ResetMidAnswer,
    /// A batch arrives, its answer does not: the connection is cut instead.
    LoseAnswer,
    /// Connections are taken, and nothing comes of what is sent into them.
    Mute,
    /// Nothing is read any more.
    Deaf,
    /// Answers come byte by byte, with such pauses.
    Dribble(Duration),
}

/// The proxy. Dropping it ends its threads and its connections.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    target: SocketAddr,
    way: Mutex<Way>,
    /// Connections so far.
    connections: AtomicU64,
    /// How often the way has spoilt something.
    spoilt: AtomicU64,
    ends: AtomicBool,
}

impl Proxy {
    /// To `target`, open.
    pub(crate) fn to(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            target,
            way: Mutex::new(Way::Open),
            connections: AtomicU64::new(0),
            spoilt: AtomicU64::new(0),
            ends: AtomicBool::new(false),
        });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Proxy { address, shared, acceptor: Some(acceptor) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, also for connections that are there.
    pub(crate) fn set(&self, way: Way) {
        *self.shared.way.lock().expect("no panic under the lock") = way;
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// How often something has been cut, swallowed or held up.
    pub(crate) fn spoilt(&self) -> u64 {
        self.shared.spoilt.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn way(&self) -> Way {
        *self.way.lock().expect("no panic under the lock")
    }

    fn ends(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    fn spoil(&self) {
        self.spoilt.fetch_add(1, Ordering::Relaxed);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut pumps = Vec::new();
    while !shared.ends() {
        match listener.accept() {
            Ok((agent, _)) => {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                pumps.extend(Link::open(agent, shared).map(Link::pump).unwrap_or_default());
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(TICK),
            Err(error) => panic!("take a connection: {error}"),
        }
        pumps.retain(|pump: &JoinHandle<()>| !pump.is_finished());
    }
    for pump in pumps {
        let _ = pump.join();
    }
}

/// A connection through the proxy.
struct Link {
    agent: TcpStream,
    controller: TcpStream,
    shared: Arc<Shared>,
    /// Bytes have been lost on it: nothing comes through any more.
    dead: Arc<AtomicBool>,
    /// One of its pumps has ended it.
    over: Arc<AtomicBool>,
}

impl Link {
    fn open(agent: TcpStream, shared: &Arc<Shared>) -> Option<Link> {
        if shared.way() == Way::Reset {
            shared.spoil();
            reset(&agent);
            return None;
        }
        let Ok(controller) = TcpStream::connect(shared.target) else {
            reset(&agent);
            return None;
        };
        for end in [&agent, &controller] {
            end.set_nonblocking(false).expect("a connection that blocks");
            end.set_read_timeout(Some(TICK)).expect("a timeout");
            end.set_nodelay(true).expect("no delay");
        }
        let (shared, flag) = (Arc::clone(shared), || Arc::new(AtomicBool::new(false)));
        Some(Link { agent, controller, shared, dead: flag(), over: flag() })
    }

    fn pump(self) -> Vec<JoinHandle<()>> {
        let other = Link {
            agent: self.agent.try_clone().expect("a second handle"),
            controller: self.controller.try_clone().expect("a second handle"),
            shared: Arc::clone(&self.shared),
            dead: Arc::clone(&self.dead),
            over: Arc::clone(&self.over),
        };
        vec![thread::spawn(move || self.pump_batches()), thread::spawn(move || other.pump_answers())]
    }

    /// From the agent to the controller.
    fn pump_batches(mut self) {
        let mut buffer = [0; 16 * 1024];
        while !self.is_over() {
            match self.shared.way() {
                Way::Reset => return self.reset(),
                Way::Deaf => self.die(),
                _ => {}
            }
            if self.shared.way() == Way::Deaf {
                thread::sleep(TICK);
                continue;
            }
            let length = match self.agent.read(&mut buffer) {
                Ok(0) => return self.end(),
                Ok(length) => length,
                Err(error) if is_idle(&error) => continue,
                Err(_) => return self.end(),
            };
            if self.shared.way() == Way::Mute {
                self.die();
            }
            if !self.is_dead() && self.controller.write_all(&buffer[..length]).is_err() {
                return self.end();
            }
        }
    }

    /// From the controller to the agent, frame by frame.
    fn pump_answers(mut self) {
        let (mut buffer, mut unread) = ([0; 16 * 1024], Vec::new());
        while !self.is_over() {
            match self.controller.read(&mut buffer) {
                Ok(0) => return self.end(),
                Ok(length) => unread.extend_from_slice(&buffer[..length]),
                Err(error) if is_idle(&error) => {}
                Err(_) => return self.end(),
            }
            while let Some(frame) = Frame::first_of(&unread) {
                let rest = unread.split_off(frame.length);
                let bytes = std::mem::replace(&mut unread, rest);
                if !self.pass(&frame, &bytes) {
                    return self.reset();
                }
            }
        }
    }

    /// Gives a frame to the agent, as well as the way allows. False when the connection is to be cut.
    fn pass(&mut self, frame: &Frame, bytes: &[u8]) -> bool {
        if self.is_dead() {
            return true;
        }
        match self.shared.way() {
            Way::Reset => return false,
            // None of it comes through, and at its end the connection goes.
            Way::LoseAnswer if frame.answers_a_batch() => {
                self.shared.spoil();
                return !frame.ends_stream();
            }
            Way::ResetMidAnswer if frame.answers_a_batch() && frame.is_data() => {
                self.shared.spoil();
                // The connection is cut whether this came through or not.
                let _ = self.agent.write_all(&bytes[..bytes.len() / 2]);
                // What has been written would be thrown away by a reset that follows at once.
                thread::sleep(TICK);
                return false;
            }
            Way::Mute | Way::Deaf => {
                self.die();
                return true;
            }
            Way::Dribble(pause) => {
                self.shared.spoil();
                return bytes.iter().all(|byte| {
                    thread::sleep(pause);
                    self.agent.write_all(&[*byte]).is_ok()
                });
            }
            _ => {}
        }
        self.agent.write_all(bytes).is_ok()
    }

    fn die(&self) {
        if !self.dead.swap(true, Ordering::Relaxed) {
            self.shared.spoil();
        }
    }

    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        self.shared.ends() || self.over.load(Ordering::Relaxed)
    }

    /// Both ends learn that it is over. A dead connection tells the agent nothing.
    fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.controller.shutdown(Shutdown::Both);
        let _ = self.agent.shutdown(Shutdown::Both);
    }

    fn reset(&self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.controller.shutdown(Shutdown::Both);
        reset(&self.agent);
    }
}

/// Has a connection end with a reset, when its last handle is closed.
fn reset(stream: &TcpStream) {
    let now = libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(stream, sockopt::Linger, &now).expect("a connection that does not linger");
}

fn is_idle(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// A frame of HTTP/2, as far as it matters here.
struct Frame {
    /// With its head.
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Frame {
    const HEAD_BYTES: usize = 9;

    fn first_of(bytes: &[u8]) -> Option<Frame> {
        let head: &[u8; Frame::HEAD_BYTES] = bytes.first_chunk()?;
        let payload = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        let length = Frame::HEAD_BYTES + payload;
        (bytes.len() >= length).then_some(Frame { length, kind: head[3], flags: head[4], stream })
    }

    /// The first call of a connection registers the node; what comes later on a stream of its own are batches.
    fn answers_a_batch(&self) -> bool {
        self.stream > 1 && self.kind <= 1
    }

    fn is_data(&self) -> bool {
        self.kind == 0
    }

    fn ends_stream(&self) -> bool {
        self.flags & 1 != 0
    }
}
