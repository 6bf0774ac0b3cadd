//! What a panic leaves of a full screen. A program of its own: what is called at a panic is called for the whole process.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::AsFd as _,
    panic,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::openpty,
    sys::termios::tcgetattr,
};
use rodent::terminal::{FullScreen, Line, Tone};

/// Back from the alternate screen.
const LEFT: &str = "\x1b[?1049l";

/// How long a terminal may take on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a terminal shows, up to `end`; all that it shows when that does not come.
fn read_until(end: &str, mut shown: &File) -> String {
    let start = Instant::now();
    let mut text = String::new();
    while !text.contains(end) && start.elapsed() < PATIENCE {
        let mut ready = [PollFd::new(shown.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::from(100u8)) == Ok(1) {
            let mut bytes = [0; 4096];
            let length = shown.read(&mut bytes).expect("the other end is open");
            text.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
    }
    text
}

#[test]
fn a_panic_is_told_on_a_terminal_that_is_as_it_was() {
    let pair = openpty(None, None).expect("a terminal");
    let (shown, mut terminal) = (File::from(pair.master), File::from(pair.slave));
    let copy = |file: &File| file.try_clone().expect("a descriptor");
    let before = tcgetattr(&terminal).expect("its settings");
    let (tell, told) = mpsc::sync_channel(1);
    let (shown_then, terminal_then) = (copy(&shown), copy(&terminal));
    // Instead of what writes the message: how that would find the terminal.
    panic::set_hook(Box::new(move |_| {
        let _ = tell.try_send((read_until(LEFT, &shown_then), tcgetattr(&terminal_then)));
    }));
    let drawn_on = copy(&terminal);
    let drawing = thread::spawn(move || {
        let mut screen = FullScreen::on(drawn_on).expect("a terminal");
        screen.show(&[Line::of(Tone::Plain, "drawn")]).expect("drawn");
        panic!("this is what went wrong");
    });
    assert!(drawing.join().is_err(), "it panics");
    let (text, settings) = told.try_recv().expect("the message is written");
    // From here on a panic is for people again.
    drop(panic::take_hook());
    let (drawn, left) = text.split_once("drawn").expect("something was drawn");
    assert!(drawn.starts_with("\x1b[?1049h") && left.ends_with(LEFT) && left.contains("\x1b[?25h"), "{text:?}");
    assert_eq!(settings, Ok(before), "as stty has it");
    terminal.write_all(b"end").expect("written");
    assert_eq!(read_until("end", &shown), "end", "restored once: twice would move the cursor back over the message");
}
