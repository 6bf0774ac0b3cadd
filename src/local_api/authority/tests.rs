use std::{collections::VecDeque, future::poll_fn};

use proptest::prelude::*;

use super::*;

const DATA: u8 = 0x0;
const SETTINGS: u8 = 0x4;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;

/// `:authority` as another program encodes it.
const NAME_IN_HUFFMAN: &[u8] = b"\xb8\x3b\x53\x39\xec\x32\x7d\x7f";

/// `%2Frun%2Frodent%2Frodent.sock` as another program encodes it, and the same with `-` for each `%`.
const PATH_HUFFMAN: [&[u8]; 2] = [
    b"\x54\x58\x6c\xb6\xa5\x45\x86\xc3\xc8\x5a\x92\xa8\xb0\xd8\x79\x0b\x52\x57\x41\xc9\xd7",
    b"\x58\x58\x6c\xb6\xa5\x85\x86\xc3\xc8\x5a\x92\xb0\xb0\xd8\x79\x0b\x52\x57\x41\xc9\xd7",
];

/// A client whose bytes come in these pieces, with a wait before each.
struct Client {
    pieces: VecDeque<Vec<u8>>,
    waited: bool,
}

impl Client {
    fn new<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Client {
        let pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
        Client { pieces: pieces.map(<[u8]>::to_vec).collect(), waited: false }
    }
}

impl AsyncRead for Client {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.waited = !self.waited;
        if self.waited {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(mut piece) = self.pieces.pop_front() {
            let later = piece.split_off(piece.len().min(buffer.remaining()));
            buffer.put_slice(&piece);
            if !later.is_empty() {
                self.pieces.push_front(later);
            }
        }
        Poll::Ready(Ok(()))
    }
}

async fn read(filter: &mut AuthorityFilter, client: &mut Client, bytes_max: usize) -> Vec<u8> {
    let mut bytes = vec![0; bytes_max];
    let mut buffer = ReadBuf::new(&mut bytes);
    poll_fn(|cx| filter.poll_read(&mut *client, cx, &mut buffer)).await.expect("no error");
    buffer.filled().to_vec()
}

/// All that h2 gets of these pieces, when it reads so many bytes at once.
fn passed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, bytes_max: usize) -> Vec<u8> {
    let (mut filter, mut client) = (AuthorityFilter::default(), Client::new(pieces));
    let mut all = Vec::new();
    finish(async {
        loop {
            let some = read(&mut filter, &mut client, bytes_max).await;
            if some.is_empty() {
                return;
            }
            all.extend(some);
        }
    });
    all
}

fn finish<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

fn stream(frames: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    frames.into_iter().fold([PREFACE, &frame(SETTINGS, 0, &[])].concat(), |all, frame| [all, frame].concat())
}

/// An integer behind these bits of its first byte.
fn integer(first: u8, prefix: u32, value: usize) -> Vec<u8> {
    let prefix_max = (1 << prefix) - 1;
    if value < prefix_max {
        return vec![first | u8::try_from(value).expect("small")];
    }
    let (mut bytes, mut rest) = (vec![first | u8::try_from(prefix_max).expect("small")], value - prefix_max);
    while rest >= 0x80 {
        bytes.push(u8::try_from(rest & 0x7f).expect("small") | 0x80);
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).expect("small"));
    bytes
}

fn plain(text: &[u8]) -> Vec<u8> {
    [integer(0, 7, text.len()), text.to_vec()].concat()
}

fn huffman(encoded: &[u8]) -> Vec<u8> {
    [integer(0x80, 7, encoded.len()), encoded.to_vec()].concat()
}

/// A POST over http, then these fields, then a path and a time limit.
fn fields(middle: &[u8]) -> Vec<u8> {
    let path = [vec![0x44], plain(b"/rodent.local.LocalService/Emit")].concat();
    [&[0x83, 0x86], middle, &path, &[0x40], &plain(b"grpc-timeout"), &plain(b"10S")].concat()
}

/// What becomes of these fields in a HEADERS frame.
fn mended(fields: &[u8]) -> Vec<u8> {
    let (sent, head) = (stream([frame(HEADERS, END_HEADERS, fields)]), stream([]).len() + HEAD_BYTES);
    let got = passed([&sent[..]], 100_000);
    assert_eq!((got.len(), &got[..head]), (sent.len(), &sent[..head]));
    got[head..].to_vec()
}

#[test]
fn a_path_as_authority_becomes_one_that_h2_takes() {
    let indexed: [&[u8]; 3] = [&[0x41], &[0x01], &[0x11]];
    let named = [0x40, 0x00, 0x10].map(|kind| [vec![kind], plain(NAME)].concat());
    let named_huffman = [0x40, 0x00, 0x10].map(|kind| [vec![kind], huffman(NAME_IN_HUFFMAN)].concat());
    for name in indexed.into_iter().chain(named.iter().chain(&named_huffman).map(Vec::as_slice)) {
        let authority = |value: &[u8]| fields(&[name, value].concat());
        let values: [(&[u8], &[u8]); 4] = [
            (b"%2Frun%2Frodent%2Frodent.sock", b"-2Frun-2Frodent-2Frodent.sock"),
            (b"/run/rodent/rodent.sock", b"-run-rodent-rodent.sock"),
            (b"%2Ftmp%2Fa:b:c[d]@", b"-2Ftmp-2Fa-b-c-d--"),
            ("/tmp/ü#".as_bytes(), b"-tmp----"),
        ];
        for (sent, expected) in values {
            assert_eq!(mended(&authority(&plain(sent))), authority(&plain(expected)));
        }
        let [sent, expected] = PATH_HUFFMAN;
        assert_eq!(mended(&authority(&huffman(sent))), authority(&huffman(expected)));
    }
}

#[test]
fn a_path_is_found_behind_padding_priority_and_other_fields() {
    // Two indexed fields, a literal, two updates: at both sides of what the first byte can hold.
    let before = [0xbf, 0x5f, 0x00, 0xff, 0x00, 0x3f, 0xe1, 0x1f, 0x2f, 0x41];
    let fields = |path: &[u8]| [&before[..], &plain(path), &[0x83]].concat();
    let padded = |path: &[u8]| [&[4, 0x80, 0, 0, 7, 15][..], &fields(path), &[0x41, 0x02, b'/', b'/']].concat();
    let requests = |first: &[u8], second: &[u8]| {
        let padded = frame(HEADERS, PADDED | PRIORITY, &padded(second));
        stream([frame(HEADERS, END_HEADERS, &fields(first)), padded])
    };
    assert_eq!(passed([&requests(b"/a", b"/b")[..]], 1000), requests(b"-a", b"-b"));
}

#[test]
fn what_needs_no_mending_or_is_not_understood_passes_unchanged() {
    let authority = |value: &[u8]| fields(&[&[0x41], value].concat());
    // `www.example.com` (RFC 7541, C.4.1); then `/tmp/#x`, whose `#` has no other of its length.
    let example = huffman(b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff");
    let no_other = huffman(b"\x61\x34\xd6\xc7\xfd\x79");
    // To h2 the last one is a user at a host.
    let valid: [&[u8]; 4] = [b"localhost", b"localhost:50051", b"[::1]:80", b"%2Ftmp%2Fa:b:c@d.sock"];
    let other = fields(&[&[0x40], &plain(b"x-path")[..], &plain(b"/%"), &[0x5a], &plain(b"%/")].concat());
    let blocks = valid.map(|text| authority(&plain(text))).into_iter().chain([
        authority(&example),
        authority(&no_other),
        // Not padded with ones; padded with a whole byte; nothing at all.
        authority(&huffman(&[0x60])),
        authority(&huffman(&[0x63, 0xff])),
        authority(&huffman(&[])),
        authority(&plain(&[])),
        other,
        // Longer than the frame; an integer without an end.
        [&[0x41, 0x7f, 0xff, 0x01][..], b"/run"].concat(),
        [&[0x41, 0x7f][..], &[0xff; 40], &[0x41, 0x01, b'/']].concat(),
        vec![],
    ]);
    for block in blocks {
        assert_eq!(mended(&block), block);
    }
    let path = authority(&plain(b"/run"));
    let streams = [
        stream([frame(DATA, 0, &path)]),
        stream([frame(HEADERS, 0, &[0x83]), frame(CONTINUATION, END_HEADERS, &path)]),
        // Padding and priority that are longer than the frame.
        stream([frame(HEADERS, PADDED, &[&[250], &path[..]].concat()), frame(HEADERS, PRIORITY, &[0x41])]),
        stream([frame(HEADERS, END_HEADERS, &[&path[..], &vec![0x83; PAYLOAD_BYTES_MAX]].concat())]),
        [&b"PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n"[..], &frame(HEADERS, END_HEADERS, &path)].concat(),
    ];
    for sent in streams {
        assert_eq!(passed([&sent[..]], 1000), sent);
    }
}

#[test]
fn a_frame_behind_any_other_is_mended() {
    let headers = |path: &[u8]| frame(HEADERS, END_HEADERS, &[&[0x41][..], &plain(path)].concat());
    let others = [frame(HEADERS, 0, &vec![0x83; PAYLOAD_BYTES_MAX + 1]), frame(DATA, 0, &vec![b'/'; 50_000])];
    let others = others.concat();
    let sent = stream([others.clone(), headers(b"/a"), frame(DATA, 0, b""), frame(HEADERS, 0, b""), headers(b"/b")]);
    let expected = stream([others, headers(b"-a"), frame(DATA, 0, b""), frame(HEADERS, 0, b""), headers(b"-b")]);
    assert_eq!(passed([&sent[..]], 8192), expected);
}

#[test]
fn what_is_no_request_passes_as_it_comes_and_a_request_when_it_is_whole() {
    let headers = frame(HEADERS, END_HEADERS, &fields(&[&[0x41][..], &plain(b"/run")].concat()));
    let data = frame(DATA, 0, b"some bytes");
    let sent = stream([data, headers.clone()]);
    let early = sent.len() - headers.len() + HEAD_BYTES;
    let (mut filter, mut client) = (AuthorityFilter::default(), Client::new(sent.chunks(1)));
    finish(async {
        for byte in &sent[..early] {
            assert_eq!(read(&mut filter, &mut client, 100).await, [*byte]);
        }
        let whole = read(&mut filter, &mut client, 1000).await;
        assert_eq!(whole.len(), headers.len() - HEAD_BYTES);
        assert!(read(&mut filter, &mut client, 100).await.is_empty());
    });
}

#[test]
fn what_a_client_sent_of_a_request_before_it_went_away_passes() {
    let sent = stream([frame(HEADERS, END_HEADERS, &fields(&[&[0x41][..], &plain(b"/run")].concat()))]);
    for end in 0..sent.len() {
        assert_eq!(passed([&sent[..end]], 1000), &sent[..end]);
    }
}

#[test]
fn a_request_that_claims_to_be_long_is_held_within_the_bound() {
    let sent = stream([frame(HEADERS, END_HEADERS, &vec![0x83; PAYLOAD_BYTES_MAX])]);
    let mut filter = AuthorityFilter::default();
    let mut start = sent[..sent.len() - 1].to_vec();
    filter.follow(&mut start);
    assert!(matches!(&filter.place, Place::Held(held, ..) if held.capacity() == PAYLOAD_BYTES_MAX));
}

/// The codes of these symbols, one behind the other, padded.
fn encode(symbols: &[u8]) -> Vec<u8> {
    let (mut text, mut at) = (vec![0xff; symbols.len() * 2], 0);
    for symbol in symbols {
        let row = ROWS.iter().find(|row| row.symbols.contains(symbol)).expect("a symbol in the table");
        let place = row.symbols.iter().position(|other| other == symbol).expect("just found");
        put_bits(&mut text, at, row.bits, row.first + u32::try_from(place).expect("small"));
        at += row.bits;
    }
    text.truncate(at.div_ceil(8));
    text
}

fn decode(text: &[u8]) -> Vec<u8> {
    let (mut symbols, mut at) = (Vec::new(), 0);
    while !is_end(text, at) {
        let (row, symbol) = symbol(text, at).expect("a code in the table");
        symbols.push(symbol);
        at += row.bits;
    }
    symbols
}

/// Frames as clients send them, more or less, with paths in them.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        "[a-z/%:@]{0,40}".prop_map(|text| plain(text.as_bytes())),
        "[a-z/%:@]{0,40}".prop_map(|text| huffman(&encode(text.as_bytes()))),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    let name = prop::sample::select(vec![0x41, 0x01, 0x11, 0x42, 0x3f, 0x82, 0x40]);
    let fields = prop::collection::vec((name, value).prop_map(|(name, value)| [vec![name], value].concat()), 0..5);
    let kind = prop::sample::select(vec![DATA, HEADERS, HEADERS, HEADERS, CONTINUATION, SETTINGS]);
    (kind, any::<u8>(), fields).prop_map(|(kind, flags, fields)| frame(kind, flags, &fields.concat()))
}

proptest! {
    #[test]
    fn however_a_stream_is_split_the_same_comes_out(
        frames in prop::collection::vec(any_frame(), 0..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        bytes_max in 1usize..200,
    ) {
        let sent = stream(frames);
        let whole = passed([&sent[..]], sent.len());
        prop_assert_eq!(whole.len(), sent.len());
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(sent.len())).chain([0, sent.len()]).collect();
        cuts.sort_unstable();
        prop_assert_eq!(&passed(cuts.windows(2).map(|cut| &sent[cut[0]..cut[1]]), bytes_max), &whole);
        prop_assert_eq!(&passed(sent.chunks(1), bytes_max), &whole);
    }

    #[test]
    fn any_bytes_come_out_as_many_and_nothing_panics(
        garbage in prop::collection::vec(any::<u8>(), 0..400),
        has_preface in any::<bool>(),
        is_request in any::<bool>(),
    ) {
        let garbage = if is_request { frame(HEADERS, 0, &garbage) } else { garbage };
        let sent = if has_preface { stream([garbage]) } else { garbage };
        prop_assert_eq!(passed(sent.chunks(7), 64).len(), sent.len());
    }

    #[test]
    fn any_text_but_an_empty_one_becomes_an_authority(text in prop::collection::vec(any::<u8>(), 1..60)) {
        let mut mended = text.clone();
        mend_plain(&mut mended);
        prop_assert!(Authority::try_from(&mended[..]).is_ok());
        prop_assert!(Authority::try_from(&text[..]).is_err() || mended == text);
    }

    #[test]
    fn any_text_in_huffmans_code_becomes_an_authority_in_its_bits(
        text in prop::collection::vec(prop::sample::select(ROWS.iter().flat_map(|row| row.symbols.to_vec()).collect::<Vec<_>>()), 1..60),
    ) {
        let sent = encode(&text);
        prop_assert_eq!(&decode(&sent), &text);
        let mut mended = sent.clone();
        mend_huffman(&mut mended);
        let symbols = decode(&mended);
        prop_assert!(Authority::try_from(&symbols[..]).is_ok());
        prop_assert_eq!(symbols.len(), text.len());
        prop_assert!(Authority::try_from(&text[..]).is_err() || mended == sent);
        for (new, old) in symbols.iter().zip(&text) {
            prop_assert!(new == old || !is_harmless(*old));
        }
    }
}
