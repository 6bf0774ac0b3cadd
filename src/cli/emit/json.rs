//! `rodent emit --json`: a thread reads and parses, the client sends, and neither holds more than a few hundred events.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal as _, Read as _, stderr, stdin},
    path::Path,
    process::ExitCode,
};

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::mpsc;

use super::{
    super::{
        Failure,
        failure::{Code, tell},
    },
    pieces::{Piece, Pieces, VALUE_BYTES_MAX},
};
use crate::{
    client::{Client, Durability, Emission, Totals},
    event::{TRACEPARENT, json::view_from_str},
    schema::events::Event,
    terminal::grouped,
};

/// Parsed events that wait to be sent; the reading stops beyond.
const PARSED_MAX: usize = 512;

/// What the reading thread found.
enum Found {
    Event { line: u64, event: Bytes },
    Malformed { line: u64, reason: String },
    Broken(io::Error),
}

pub(super) async fn run(file: &Path, socket: &Path, durability: Durability) -> Result<ExitCode, Failure> {
    let (name, input) = open(file)?;
    let mut emission = Client::connect(socket).await?.emission(durability).await?;
    let (sender, found) = mpsc::channel(PARSED_MAX);
    let trace = super::trace();
    tokio::task::spawn_blocking(move || read(input, trace.as_deref(), &sender));
    let mut sending = Sending { name, malformed: 0, broken: None };
    let sent = sending.send_all(&mut emission, found).await;
    sending.report_refusals(&mut emission);
    let totals = Totals { refused: emission.totals().refused + sending.malformed, ..emission.totals() };
    if totals.refused > 0 || totals.filtered > 0 || sent.is_err() || stderr().is_terminal() {
        tell(&summary(totals));
    }
    if !emission.only_in_memory().is_empty() {
        tell(&format!("some of it is kept in the agent's memory only: {}", emission.only_in_memory()));
    }
    sent?;
    match sending.broken {
        Some(error) => Err(Failure::from(anyhow::Error::new(error).context(format!("read {}", sending.name)))),
        None if totals.refused > 0 => Ok(Code::Data.into()),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn open(file: &Path) -> Result<(String, Box<dyn BufRead + Send>), Failure> {
    if file == Path::new("-") {
        return Ok(("stdin".to_owned(), Box::new(BufReader::new(stdin()))));
    }
    let name = file.display().to_string();
    let opened = File::open(file).map_err(|error| Failure::no_input(format!("open {name}: {error}")))?;
    Ok((name, Box::new(BufReader::new(opened))))
}

/// Reads to the end, or until nobody takes what is found.
fn read(mut input: Box<dyn BufRead + Send>, trace: Option<&str>, sender: &mpsc::Sender<Found>) {
    let mut pieces = Pieces::new();
    loop {
        let (found, at_end) = match read_line(&mut *input) {
            Ok(Some(Ok(line))) => (pieces.add(&line), false),
            Ok(Some(Err(reason))) => (pieces.add_unreadable(reason), false),
            Ok(None) => (pieces.end(), true),
            Err(error) => {
                // The receiver ends only when the command does.
                let _ = sender.blocking_send(Found::Broken(error));
                return;
            }
        };
        let gone = found.into_iter().any(|piece| sender.blocking_send(parse(piece, trace)).is_err());
        if gone || at_end {
            return;
        }
    }
}

/// A line with its line break, or why it is no text; `None` at the end. Never holds more than the bound.
fn read_line(input: &mut dyn BufRead) -> io::Result<Option<Result<String, String>>> {
    let mut line = Vec::new();
    input.take(VALUE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.len() > VALUE_BYTES_MAX && line.last() != Some(&b'\n') {
        input.skip_until(b'\n')?;
        return Ok(Some(Err(format!("the line is longer than {VALUE_BYTES_MAX} bytes"))));
    }
    Ok(Some(String::from_utf8(line).map_err(|_| "the line is not UTF-8".to_owned())))
}

/// `trace` is of the events that do not say to which they belong.
fn parse(piece: Piece, trace: Option<&str>) -> Found {
    match piece {
        Piece::Malformed { line, reason } => Found::Malformed { line, reason },
        Piece::Value { line, text } => match view_from_str(&text) {
            Ok(view) => {
                let mut event = view.message().encode_to_vec();
                if let Some(trace) = trace.filter(|_| view.metadata(TRACEPARENT).is_none()) {
                    // What stands behind is one more entry of the map.
                    let metadata = [(TRACEPARENT.to_owned(), trace.to_owned())].into();
                    event.extend(Event { metadata, ..Event::default() }.encode_to_vec());
                }
                Found::Event { line, event: event.into() }
            }
            Err(error) => Found::Malformed { line, reason: error.to_string() },
        },
    }
}

struct Sending {
    /// Of the input.
    name: String,
    malformed: u64,
    broken: Option<io::Error>,
}

impl Sending {
    async fn send_all(&mut self, emission: &mut Emission, mut found: mpsc::Receiver<Found>) -> Result<(), Failure> {
        loop {
            let next = match found.try_recv() {
                Ok(next) => Some(next),
                Err(_) => {
                    // The input rests: what has been gathered goes now, and its refusals are told now.
                    emission.settle().await?;
                    self.report_refusals(emission);
                    found.recv().await
                }
            };
            match next {
                Some(Found::Event { line, event }) => emission.add(line, event).await?,
                Some(Found::Malformed { line, reason }) => {
                    self.malformed += 1;
                    self.report(line, &reason);
                }
                Some(Found::Broken(error)) => self.broken = Some(error),
                None => return Ok(()),
            }
            self.report_refusals(emission);
        }
    }

    fn report_refusals(&self, emission: &mut Emission) {
        for refusal in emission.take_refusals() {
            self.report(refusal.place, &refusal.reason);
        }
    }

    fn report(&self, line: u64, reason: &str) {
        tell(&format!("{}:{line}: {reason}", self.name));
    }
}

/// `99,999 accepted, 1 refused`.
fn summary(totals: Totals) -> String {
    let mut words = format!("{} accepted", grouped(totals.accepted));
    for (count, what) in [(totals.filtered, "filtered by the agent's settings"), (totals.refused, "refused")] {
        if count > 0 {
            words.push_str(&format!(", {} {what}", grouped(count)));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_only_what_happened() {
        assert_eq!(summary(Totals { accepted: 99_999, filtered: 0, refused: 1 }), "99,999 accepted, 1 refused");
        assert_eq!(summary(Totals { accepted: 5, ..Totals::default() }), "5 accepted");
    }

    #[test]
    fn a_line_beyond_the_bound_is_skipped_without_holding_it() {
        let text = format!("{}\nnext\n", "x".repeat(3 * VALUE_BYTES_MAX));
        let mut input = text.as_bytes();
        assert!(read_line(&mut input).expect("readable").expect("a line").is_err());
        assert_eq!(read_line(&mut input).expect("readable"), Some(Ok("next\n".to_owned())));
        assert_eq!(read_line(&mut input).expect("readable"), None);
    }

    #[test]
    fn a_line_that_is_no_text_is_told_and_the_next_is_read() {
        let mut input: &[u8] = b"\xff\xfe\n{}\n";
        assert_eq!(read_line(&mut input).expect("readable"), Some(Err("the line is not UTF-8".to_owned())));
        assert_eq!(read_line(&mut input).expect("readable"), Some(Ok("{}\n".to_owned())));
    }
}
