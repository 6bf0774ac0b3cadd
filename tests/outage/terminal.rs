//! A terminal that a test looks at: tmux, which draws as the terminals of people do, without anybody looking.
//!
//! It is a server of its own in the test's directory; dropping it ends the server and what runs in it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{process::wait, site::PATIENCE};

/// A shell in a terminal.
pub(crate) struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    /// Of so many columns and rows, with its server in `directory`.
    pub(crate) fn open(directory: &Path, (width, height): (u16, u16)) -> Terminal {
        let terminal = Terminal { socket: directory.join("tmux") };
        let size = [width.to_string(), height.to_string()];
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &size[0],
            "-y",
            &size[1],
            "env PS1='ready>' sh -i",
        ]);
        terminal.tmux(&["set", "-g", "status", "off"]);
        terminal.resize((width, height));
        terminal.wait_for("ready>");
        terminal
    }

    /// Types a line.
    pub(crate) fn run(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.press("Enter");
    }

    /// Presses a key, by tmux's name of it.
    pub(crate) fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    pub(crate) fn resize(&self, (width, height): (u16, u16)) {
        self.tmux(&["resize-window", "-x", &width.to_string(), "-y", &height.to_string()]);
    }

    /// What it shows.
    pub(crate) fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until it shows this; gives all that it shows then.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |screen| screen.contains(text))
    }

    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait(what, PATIENCE, || {
                last = self.screen();
                is_so(&last).then(|| last.clone())
            })
        }));
        found.unwrap_or_else(|_| panic!("{what} is not on the screen:\n{last}"))
    }

    /// Whether the alternate screen is shown, and whether the cursor is.
    pub(crate) fn modes(&self) -> (bool, bool) {
        let modes = self.tmux(&["display", "-p", "#{alternate_on} #{cursor_flag}"]);
        let mut flags = modes.split_whitespace().map(|flag| flag == "1");
        (flags.next().expect("a flag"), flags.next().expect("a flag"))
    }

    fn tmux(&self, words: &[&str]) -> String {
        let output = Command::new("tmux").args(["-u", "-S"]).arg(&self.socket).args(words).env_remove("TMUX").output();
        let output = output.expect("tmux is installed (tests/e2e/install.sh installs it)");
        assert!(output.status.success(), "tmux {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut end = Command::new("tmux");
        // An error means that it has ended by itself.
        let _ = end.arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}
