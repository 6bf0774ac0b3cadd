//! What is printed, as text: for the tests of whoever prints.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use super::Screen;

/// Takes what a screen prints.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic while writing").write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `print` prints: for a terminal of so many columns, or for a pipe.
pub(crate) fn printed(width: Option<usize>, print: impl FnOnce(&mut Screen) -> io::Result<()>) -> String {
    let page = Page::default();
    let mut screen = Screen::to(page.clone(), width);
    print(&mut screen).and_then(|()| screen.flush()).expect("a page takes everything");
    String::from_utf8(page.0.lock().expect("no panic while writing").clone()).expect("UTF-8")
}
