//! Our protobuf events against the same events as JSON: size, and the speed of encoding and decoding.
//!
//! JSON is given its best: a plain structure with serde_json, no intermediate tree. The structure has the fields of the
//! most frequent event, a file access, with numbers as numbers and without fields that are not set.

use std::{
    collections::BTreeMap,
    hint::black_box,
    io::{self, Write},
    time::Instant,
};

use prost::Message as _;
use serde::{Deserialize, Serialize};

use super::sample;
use crate::schema::{
    Payload as _,
    events::{Event, SharingFileAccessPayload},
};

/// zstd level of the log, for the compressed sizes.
const ZSTD_LEVEL: i32 = 1;

/// Events compressed together: about what a frame of the log holds.
const FRAME_EVENTS: usize = 256;

#[derive(Serialize, Deserialize)]
struct JsonEvent {
    id: String,
    level: String,
    kind: String,
    source: String,
    timestamp: i64,
    metadata: BTreeMap<String, String>,
    payload: JsonPayload,
}

#[derive(Serialize, Deserialize)]
struct JsonPayload {
    file_path: String,
    username: String,
    operation_type: String,
    file_size: i64,
}

/// Measures with `count` events and prints.
///
/// # Errors
/// When the figures cannot be printed.
pub fn run(count: u64, out: &mut dyn Write) -> io::Result<()> {
    let (events, json): (Vec<_>, Vec<_>) = (0..count).map(pair).unzip();
    let (encode, protobuf) = per_second(&events, |event| event.encode_to_vec());
    let (json_encode, text) = per_second(&json, |event| serde_json::to_vec(event).unwrap_or_default());
    let (decode, _) = per_second(&protobuf, |bytes| Event::decode(bytes.as_slice()).ok());
    let (json_decode, _) = per_second(&text, |bytes| serde_json::from_slice::<JsonEvent>(bytes).ok());

    let size = |all: &[Vec<u8>]| all.iter().map(Vec::len).sum::<usize>() as f64 / all.len().max(1) as f64;
    let packed =
        |all: &[Vec<u8>]| all.chunks(FRAME_EVENTS).map(compressed).sum::<usize>() as f64 / all.len().max(1) as f64;
    writeln!(out, "{:<30} {:>12} {:>12} {:>10}", "", "protobuf", "JSON", "ratio")?;
    line(out, "bytes an event", size(&protobuf), size(&text))?;
    line(out, "bytes, zstd, 256 together", packed(&protobuf), packed(&text))?;
    line(out, "encoded a second", encode, json_encode)?;
    line(out, "decoded a second", decode, json_decode)
}

fn line(out: &mut dyn Write, what: &str, protobuf: f64, json: f64) -> io::Result<()> {
    writeln!(out, "{what:<30} {protobuf:>12.0} {json:>12.0} {:>10.2}", protobuf / json)
}

fn compressed(events: &[Vec<u8>]) -> usize {
    zstd::bulk::compress(&events.concat(), ZSTD_LEVEL).map_or(0, |bytes| bytes.len())
}

/// How many a second, and what came of them. The faster of two rounds, so that neither side pays for a cold cache.
fn per_second<T, U>(items: &[T], work: impl Fn(&T) -> U) -> (f64, Vec<U>) {
    let mut best = f64::INFINITY;
    let mut results = Vec::new();
    for _ in 0..2 {
        let started = Instant::now();
        results = items.iter().map(|item| black_box(work(black_box(item)))).collect();
        best = best.min(started.elapsed().as_secs_f64());
    }
    (items.len() as f64 / best.max(1e-9), results)
}

fn pair(n: u64) -> (Event, JsonEvent) {
    let payload = sample::file_access(n);
    let mut event = sample::event(n * 10);
    let json = JsonEvent {
        id: event.event_id.clone(),
        level: "info".to_owned(),
        kind: format!("{}.read", SharingFileAccessPayload::SUBJECT),
        source: event.source.clone(),
        timestamp: event.timestamp,
        metadata: event.metadata.clone(),
        payload: JsonPayload {
            file_path: payload.file_path.clone(),
            username: payload.username.clone(),
            operation_type: payload.operation_type.clone(),
            file_size: payload.file_size,
        },
    };
    event.event_payload = Some(payload.into_event_payload());
    (event, json)
}
