//! How far something is that takes long: one line on standard error that is written over, for a person who waits. Nothing
//! where standard error or standard output is no terminal.

use std::io::{self, IsTerminal, Write};

use crate::visible::visible;

/// Back to the beginning of the line, which is emptied.
const ERASE: &str = "\r\x1b[K";

/// The line.
pub struct Progress {
    out: Option<Box<dyn Write + Send>>,
    is_shown: bool,
}

impl Progress {
    /// On standard error.
    pub fn stderr() -> Progress {
        let is_watched = io::stderr().is_terminal() && io::stdout().is_terminal();
        Progress { out: is_watched.then(|| Box::new(io::stderr()) as Box<dyn Write + Send>), is_shown: false }
    }

    /// Writes it anew.
    pub fn show(&mut self, text: &str) {
        self.put(&format!("{ERASE}{}", visible(text)));
        self.is_shown = true;
    }

    /// Takes it away, for what is printed next.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            self.put(ERASE);
        }
    }

    fn put(&mut self, text: &str) {
        if let Some(out) = &mut self.out {
            // Err: nobody is watching any more.
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("a lock").write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_line_is_written_over_and_gone_before_anything_else_is_printed() {
        let kept = Kept::default();
        let mut progress = Progress { out: Some(Box::new(kept.clone())), is_shown: false };
        progress.clear();
        progress.show("1 of 2");
        progress.show("2 of 2");
        progress.clear();
        drop(progress);
        let written = String::from_utf8(kept.0.lock().expect("a lock").clone()).expect("text");
        assert_eq!(written, "\r\x1b[K1 of 2\r\x1b[K2 of 2\r\x1b[K");
    }
}
