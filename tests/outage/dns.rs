//! A name server that knows one name, and answers as the test says, or not at all.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::namespace::Namespace;

/// How long the server looks at nothing else.
const TICK: Duration = Duration::from_millis(20);

/// How the server answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// With this address, for no time at all.
    Address(Ipv4Addr),
    /// That it cannot say.
    Failure,
    /// Not.
    Silence,
}

/// The server. Dropping it ends it.
pub(crate) struct NameServer {
    answer: Arc<Mutex<Answer>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// On port 53 of the loopback of a network.
    pub(crate) fn start(namespace: &Namespace, answer: Answer) -> NameServer {
        let socket = namespace.inside(|| {
            let socket =
                UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 53))).expect("nobody serves names there");
            socket.set_read_timeout(Some(TICK)).expect("a timeout");
            socket
        });
        let (answer, ends) = (Arc::new(Mutex::new(answer)), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let (answer, ends) = (Arc::clone(&answer), Arc::clone(&ends));
            move || serve(&socket, &answer, &ends)
        });
        NameServer { answer, ends, thread: Some(thread) }
    }

    pub(crate) fn set(&self, answer: Answer) {
        *self.answer.lock().expect("no panic under the lock") = answer;
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, answer: &Mutex<Answer>, ends: &AtomicBool) {
    let mut buffer = [0; 512];
    while !ends.load(Ordering::Relaxed) {
        let Ok((length, asker)) = socket.recv_from(&mut buffer) else { continue };
        let answer = *answer.lock().expect("no panic under the lock");
        if let Some(reply) = reply(&buffer[..length], answer) {
            // Who asked may be gone.
            let _ = socket.send_to(&reply, asker);
        }
    }
}

/// A question with its answer (RFC 1035): other types than addresses have none.
fn reply(question: &[u8], answer: Answer) -> Option<Vec<u8>> {
    let name = question.get(12..)?;
    let name_length = name.iter().position(|byte| *byte == 0)? + 1;
    let asked = question.get(12..12 + name_length + 4)?;
    let is_address = asked.get(name_length..)? == [0, 1, 0, 1];
    let (code, address) = match answer {
        Answer::Silence => return None,
        Answer::Failure => (2, None),
        Answer::Address(address) => (0, Some(address).filter(|_| is_address)),
    };
    let mut reply = question.get(..2)?.to_vec();
    reply.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
    reply.extend_from_slice(asked);
    if let Some(address) = address {
        // The name of the question; an address of the internet, for 0 seconds, of 4 bytes.
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        reply.extend(address.octets());
    }
    Some(reply)
}
