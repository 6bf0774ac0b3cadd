//! Calls whose `:authority` is the path of the socket, in each form in which a client may send it. What clients send is written
//! out byte by byte, for ours sends a proper one; tests/e2e has a client of others.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::local_socket::Site;

/// Preface and empty SETTINGS.
const START: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const PATIENCE: Duration = Duration::from_secs(60);
/// Kinds of frames (RFC 9113, 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
/// Flags (RFC 9113, 6.1 and 6.2).
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What one frame is: kind, flags and stream.
type Frame = (u8, u8, u32);

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("short");
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A text without Huffman's code.
fn plain(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat()
}

/// A call of `Status` with this field as its authority.
fn call(stream: u8, authority: &[u8]) -> Vec<u8> {
    let path = [vec![0x04], plain("/rodent.local.LocalService/Status")].concat();
    let kind = [vec![0x0f, 0x10], plain("application/grpc")].concat();
    let trailers = [vec![0x00], plain("te"), plain("trailers")].concat();
    let fields = [&[0x83, 0x86], authority, &path, &kind, &trailers].concat();
    // The message: not compressed, and empty.
    [frame(HEADERS, END_HEADERS, stream, &fields), frame(DATA, END_STREAM, stream, &[0; 5])].concat()
}

/// Frames that answer, up to the end of so many streams.
fn answers(socket: &Path, sent: &[u8], streams: usize) -> Vec<Frame> {
    let mut connection = UnixStream::connect(socket).expect("the agent listens");
    connection.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    connection.write_all(sent).expect("the agent reads");
    let (mut frames, mut ended) = (Vec::new(), 0);
    while ended < streams {
        let mut head = [0; 9];
        connection.read_exact(&mut head).expect("a frame");
        let [high, middle, low, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
        connection.read_exact(&mut payload).expect("its payload");
        ended += usize::from(kind == RST_STREAM || kind == HEADERS && flags & END_STREAM != 0);
        frames.push((kind, flags, u32::from_be_bytes(stream)));
    }
    frames
}

/// Makes calls on one connection, each with one of these fields as its authority, and tells which are answered by a message.
async fn answered(socket: PathBuf, authorities: &[&[u8]]) -> Vec<bool> {
    let streams = || (1..).step_by(2);
    let calls = streams().zip(authorities).map(|(stream, authority)| call(stream, authority));
    let (sent, count) = ([vec![START.to_vec()], calls.collect()].concat().concat(), authorities.len());
    let frames = tokio::task::spawn_blocking(move || answers(&socket, &sent, count)).await.expect("the answers");
    let has_message = |stream: u8| frames.iter().any(|&(kind, _, of)| kind == DATA && of == u32::from(stream));
    streams().take(count).map(has_message).collect()
}

#[tokio::test]
async fn a_call_is_answered_that_names_the_path_of_the_socket_as_its_authority() {
    let site = Site::new().await;
    let literal = |head: &[u8], text: &str| [head.to_vec(), plain(text)].concat();
    // `%2Frun%2Frodent%2Frodent.sock`.
    let huffman = b"\x54\x58\x6c\xb6\xa5\x45\x86\xc3\xc8\x5a\x92\xa8\xb0\xd8\x79\x0b\x52\x57\x41\xc9\xd7";
    let huffman = [&[0x41, 0x80 | 21], &huffman[..]].concat();
    // As gRPC's C core sends it, and then the same by its place in the table, where the path in Huffman's code is next.
    let core = literal(&[&[0x40], &plain(":authority")[..]].concat(), "%2Frun%2Frodent%2Frodent.sock");
    let (newest, second): (&[u8], &[u8]) = (&[0x80 | 62], &[0x80 | 63]);
    let raw = literal(&[0x11], "/run/rodent/rodent.sock");
    let proper = literal(&[0x01], "localhost");
    let authorities: [&[u8]; 7] = [&core, newest, &huffman, newest, second, &raw, &proper];
    assert_eq!(answered(site.socket.clone(), &authorities).await, [true; 7]);
}

#[tokio::test]
async fn an_authority_that_cannot_be_mended_ends_its_own_call_alone() {
    let site = Site::new().await;
    // `/tmp/#x` in Huffman's code, where nothing else has the length of `#`; then nothing at all.
    let (sharp, empty): (&[u8], &[u8]) = (b"\x01\x86\x61\x34\xd6\xc7\xfd\x79", b"\x01\x00");
    let proper = [vec![0x01], plain("localhost")].concat();
    assert_eq!(answered(site.socket.clone(), &[sharp, &proper, empty, &proper]).await, [false, true, false, true]);
}
