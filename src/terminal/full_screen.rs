//! The whole terminal for one program: drawn anew as it changes, keys as they are pressed, and everything as it was afterwards,
//! however it ends.
//!
//! The program draws on the alternate screen, without cursor and echo. Always holds: dropping a [`FullScreen`] restores the
//! terminal, and so does a panic, before its message is written. Ctrl-C, Ctrl-Z and Ctrl-S are keys like others: whoever draws
//! decides. Deliberately absent: a mouse, and keys that are more than a character.

use std::{
    env,
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::AsFd,
    panic,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use nix::sys::{
    signal::{Signal, raise},
    termios::{InputFlags, LocalFlags, SetArg, Termios, tcgetattr, tcsetattr},
};
use tokio::sync::mpsc;

use super::Line;

/// The alternate screen, without a cursor, and lines that end where the terminal ends.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &str = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Keys that nobody has taken yet; more are not read.
const KEYS_MAX: usize = 16;

/// Columns and rows of a terminal that does not tell.
const SIZE_DEFAULT: (usize, usize) = (80, 24);

/// The terminal, as long as it lives.
pub struct FullScreen {
    terminal: File,
    before: libc::termios,
    colour: bool,
    /// Shared with who restores it at a panic: restored twice, the cursor would go back over what was written in between.
    is_entered: Arc<AtomicBool>,
}

impl FullScreen {
    /// Takes over the terminal that this process belongs to.
    ///
    /// # Errors
    /// When it belongs to none, or that cannot be set.
    pub fn enter() -> io::Result<FullScreen> {
        FullScreen::on(File::options().read(true).write(true).open("/dev/tty")?)
    }

    /// Takes over this terminal.
    ///
    /// # Errors
    /// When it is none, or cannot be set.
    pub fn on(terminal: File) -> io::Result<FullScreen> {
        let before: libc::termios = tcgetattr(&terminal)?.into();
        let colour = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
        let mut screen = FullScreen { terminal, before, colour, is_entered: Arc::default() };
        screen.take_over()?;
        restore_at_panic(screen.terminal.try_clone()?, before, Arc::clone(&screen.is_entered));
        Ok(screen)
    }

    /// The keys as they are pressed; ends with the terminal. To be called once.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn keys(&self) -> io::Result<mpsc::Receiver<u8>> {
        let (pressed, keys) = mpsc::channel(KEYS_MAX);
        let mut terminal = self.terminal.try_clone()?;
        // Waits in the kernel for a key that may never come; goes with the process.
        thread::Builder::new().name("keys".to_owned()).spawn(move || {
            let mut key = [0];
            while matches!(terminal.read(&mut key), Ok(1)) && pressed.blocking_send(key[0]).is_ok() {}
        })?;
        Ok(keys)
    }

    /// Columns and rows.
    pub fn size(&self) -> (usize, usize) {
        let size = terminal_size::terminal_size_of(self.terminal.as_fd());
        size.map_or(SIZE_DEFAULT, |(width, height)| (width.0.into(), height.0.into()))
    }

    /// Draws these lines, from the top left corner; what does not fit is left out.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn show(&mut self, lines: &[Line]) -> io::Result<()> {
        let (width, height) = self.size();
        let mut drawn = String::from("\x1b[H");
        for (number, line) in lines.iter().take(height).enumerate() {
            if number > 0 {
                drawn.push_str("\r\n");
            }
            let line = line.clone().cut(width);
            drawn.push_str(&line.painted(self.colour));
            // Behind a full line the cursor stands on its last column, which would be erased.
            if line.width() < width {
                drawn.push_str("\x1b[K");
            }
        }
        if lines.len() < height {
            drawn.push_str("\r\n\x1b[J");
        }
        // At once, so that nobody sees half of it.
        self.terminal.write_all(drawn.as_bytes())
    }

    /// Gives the terminal back and stops this process, as Ctrl-Z does; comes back when it is continued.
    ///
    /// # Errors
    /// When the terminal cannot be set.
    pub fn suspend(&mut self) -> io::Result<()> {
        self.give_back();
        raise(Signal::SIGTSTP)?;
        self.take_over()
    }

    fn take_over(&mut self) -> io::Result<()> {
        let mut settings = Termios::from(self.before);
        settings.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG | LocalFlags::IEXTEN);
        settings.input_flags.remove(InputFlags::IXON | InputFlags::ICRNL);
        tcsetattr(&self.terminal, SetArg::TCSAFLUSH, &settings)?;
        self.is_entered.store(true, Ordering::SeqCst);
        self.terminal.write_all(ENTER.as_bytes())
    }

    fn give_back(&mut self) {
        restore(&mut self.terminal, self.before, &self.is_entered);
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        self.give_back();
        // Taking the hook while a panic is under way is another panic; the process ends anyway.
        if !thread::panicking() {
            drop(panic::take_hook());
        }
    }
}

/// Once. A terminal that is gone has nothing to restore.
fn restore(terminal: &mut File, before: libc::termios, is_entered: &AtomicBool) {
    if !is_entered.swap(false, Ordering::SeqCst) {
        return;
    }
    let _ = terminal.write_all(LEAVE.as_bytes());
    let _ = tcsetattr(&*terminal, SetArg::TCSAFLUSH, &Termios::from(before));
}

/// So that what the panic says is read.
fn restore_at_panic(terminal: File, before: libc::termios, is_entered: Arc<AtomicBool>) {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |what| {
        if let Ok(mut terminal) = terminal.try_clone() {
            restore(&mut terminal, before, &is_entered);
        }
        usual(what);
    }));
}

/// Whether a full screen makes sense here: somebody looks, and the terminal can do more than print.
pub fn can_draw() -> bool {
    io::IsTerminal::is_terminal(&io::stdout()) && env::var_os("TERM").is_none_or(|name| name != "dumb")
}
