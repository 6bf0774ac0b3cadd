//! Standard error, where lines go that no journal takes. It may be a pipe or a stream to journald, and who should read there
//! may not: a thread waits for it, and whoever logs does not.

use std::io::{self, IsTerminal as _, Write as _};

use tracing_subscriber::fmt::{MakeWriter, writer::BoxMakeWriter};

use super::outbox::{Ending, Outbox, Sent, Target};

/// Where lines are written to, and what waits a moment for the last of them when it is dropped. A terminal is written to
/// at once.
pub fn writer() -> (BoxMakeWriter, Option<Ending>) {
    let direct = || (BoxMakeWriter::new(io::stderr), None);
    if io::stderr().is_terminal() {
        return direct();
    }
    match Outbox::start(Stderr, |lines| format!("{lines} lines are missing here: nobody read them\n").into_bytes()) {
        Ok((outbox, ending)) => (BoxMakeWriter::new(outbox), Some(ending)),
        Err(_) => direct(),
    }
}

/// As the outbox sends to it.
struct Stderr;

impl Target for Stderr {
    fn send(&self, line: &[u8]) -> Sent {
        match io::stderr().write_all(line) {
            Ok(()) => Sent::Yes,
            Err(_) => Sent::Never,
        }
    }
}

/// One line on its way into the outbox.
pub(super) struct Line<'a>(&'a Outbox);

impl io::Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.put(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Outbox {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}
