//! Where the daemons look for hooks, and putting ours there and away again.
//!
//! Always holds: what is not ours is neither changed nor removed, whatever stands in its place; nothing is changed unless
//! all of it can be, and what was begun is undone; what is enabled twice is enabled once, and disabling leaves the directories as they were. Deliberately
//! absent: editing files of others. Where a daemon has no directory for hooks, the administrator is told what to write.

use crate::order::Sorted as _;
use std::{
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, symlink},
    path::{Path, PathBuf},
};

use super::{Daemon, PROGRAMS, zed};

/// Bytes of a configuration file of a daemon that are read.
const CONFIGURATION_BYTES_MAX: u64 = 1024 * 1024;

const ZEDLETS: &str = "/etc/zfs/zed.d";
/// Debian's smartd runs every program in here.
const SMARTD_PROGRAMS: &str = "/etc/smartmontools/run.d";
const SMARTD_CONFIGURATIONS: [&str; 2] = ["/etc/smartd.conf", "/etc/smartmontools/smartd.conf"];
const MDADM_FILES: [&str; 2] = ["/etc/mdadm/mdadm.conf", "/etc/mdadm.conf"];
const MDADM_DIRECTORIES: [&str; 2] = ["/etc/mdadm/mdadm.conf.d", "/etc/mdadm.conf.d"];
const MDADM_HEAD: &str = "# Made by `rodent hooks enable mdadm`; `rodent hooks disable mdadm` removes it.\n";
/// Tells `disable` that the directory was made for the file.
const MDADM_MADE: &str = "# So is its directory.\n";

/// Whether a daemon runs our hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enabled {
    /// It does, as soon as it has read its configuration.
    Yes,
    /// It does not.
    No,
    /// Parts of the hook are missing; enabling again puts them there.
    Partly,
    /// It cannot: something stands in the way, and what.
    Blocked(String),
}

/// How a hook is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookState {
    /// Whose.
    pub daemon: Daemon,
    /// Whether the daemon is installed here.
    pub present: bool,
    /// Whether it runs the hook.
    pub enabled: Enabled,
    /// Where the hook is or would be.
    pub place: String,
    /// What keeps an enabled hook from working, or is to be done by hand; empty when there is nothing.
    pub remark: String,
}

/// What has been changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookChange {
    /// Paths with what was done to each: `made`, `removed`.
    pub done: Vec<(PathBuf, &'static str)>,
    /// What the administrator must do so that the daemon knows.
    pub then: &'static str,
}

/// Why a hook was not enabled or disabled. Nothing has been changed.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// The daemon is not installed.
    #[error("{0} is not installed here: {1}")]
    Absent(Daemon, String),
    /// Something else stands where the hook belongs.
    #[error("{0}")]
    Blocked(String),
    /// It takes a line in a file that is not ours to edit.
    #[error("{0}")]
    ByHand(String),
    /// A file or directory cannot be changed.
    #[error("change {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// How the hook of each daemon is. `root` is `/`, or where a test keeps a machine. Reads some small files.
pub fn state(root: &Path) -> Vec<HookState> {
    Daemon::ALL.into_iter().map(|daemon| Machine { root }.state(daemon)).collect()
}

/// Has the daemon run the hook. Gives what was changed: nothing when it already does.
///
/// # Errors
/// When the daemon is not there, something else stands in the place, or a file cannot be made.
pub fn enable(daemon: Daemon, root: &Path) -> Result<HookChange, HookError> {
    let machine = Machine { root };
    if !machine.has(daemon) {
        return Err(HookError::Absent(daemon, absence(daemon).to_owned()));
    }
    let mut change = HookChange { then: reload(daemon), ..HookChange::default() };
    if machine.is_configured_by_hand(daemon) {
        return Ok(change);
    }
    let pieces = machine.pieces(daemon)?;
    if let Some(why) = machine.obstacle(daemon, &pieces) {
        return Err(HookError::Blocked(why));
    }
    make(&pieces, &mut change)?;
    Ok(change)
}

/// Makes the pieces that are not there, all of them or none.
fn make(pieces: &[Piece], change: &mut HookChange) -> Result<(), HookError> {
    let mut missing = pieces.iter().filter(|piece| piece.found() == Found::Nothing);
    missing.try_for_each(|piece| piece.make(change)).inspect_err(|_| {
        for (path, _) in change.done.drain(..).rev() {
            // A directory that somebody has put something in by now stays, and so does what the disk does not let go.
            let _ = if path.is_dir() { fs::remove_dir(&path) } else { fs::remove_file(&path) };
        }
    })
}

/// Has the daemon run the hook no more. Gives what was changed. What is not ours stays, as does a file of ours that
/// somebody has edited.
///
/// # Errors
/// When a file cannot be removed, or has been edited.
pub fn disable(daemon: Daemon, root: &Path) -> Result<HookChange, HookError> {
    let machine = Machine { root };
    let mut change = HookChange { then: reload(daemon), ..HookChange::default() };
    let Ok(pieces) = machine.pieces(daemon) else { return Ok(change) };
    for piece in pieces {
        match piece.found() {
            Found::Ours => piece.remove(&mut change)?,
            Found::Edited => {
                let path = piece.path().display();
                return Err(HookError::Blocked(format!("{path} has been edited since: remove it by hand")));
            }
            Found::Nothing | Found::Other => {}
        }
    }
    Ok(change)
}

fn absence(daemon: Daemon) -> &'static str {
    match daemon {
        Daemon::Zed => "there is no directory /etc/zfs/zed.d",
        Daemon::Smartd => "there is no smartd in /usr/sbin",
        Daemon::Mdadm => "there is no mdadm in /sbin or /usr/sbin",
    }
}

/// What makes the daemon see a change.
fn reload(daemon: Daemon) -> &'static str {
    match daemon {
        Daemon::Zed => "systemctl restart zfs-zed",
        Daemon::Smartd => "",
        Daemon::Mdadm => "systemctl restart mdmonitor",
    }
}

/// A machine's file system.
struct Machine<'a> {
    root: &'a Path,
}

impl Machine<'_> {
    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn has(&self, daemon: Daemon) -> bool {
        let candidates: &[&str] = match daemon {
            Daemon::Zed => &[ZEDLETS],
            Daemon::Smartd => &["/usr/sbin/smartd", "/usr/local/sbin/smartd"],
            Daemon::Mdadm => &["/sbin/mdadm", "/usr/sbin/mdadm"],
        };
        candidates.iter().any(|path| self.path(path).exists())
    }

    fn state(&self, daemon: Daemon) -> HookState {
        let blank = HookState {
            daemon,
            present: self.has(daemon),
            enabled: Enabled::No,
            place: String::new(),
            remark: String::new(),
        };
        if let Some(file) = self.hand_written(daemon) {
            return HookState { enabled: Enabled::Yes, place: file.to_owned(), ..blank };
        }
        let pieces = match self.pieces(daemon) {
            Ok(pieces) => pieces,
            Err(error) if blank.present => return HookState { remark: error.to_string(), ..blank },
            Err(_) => return blank,
        };
        let ours = pieces.iter().filter(|piece| matches!(piece.found(), Found::Ours | Found::Edited)).count();
        let enabled = match (self.obstacle(daemon, &pieces), ours) {
            (Some(why), _) => Enabled::Blocked(why),
            (None, 0) => Enabled::No,
            (None, ours) if ours == pieces.len() => Enabled::Yes,
            (None, _) => Enabled::Partly,
        };
        let place = match daemon {
            Daemon::Zed => format!("{ZEDLETS}/*-rodent.sh"),
            _ => pieces.first().map(|piece| self.shown(piece.path())).unwrap_or_default(),
        };
        let remark = if enabled == Enabled::Yes { self.hindrance(daemon) } else { String::new() };
        HookState { enabled, place, remark, ..blank }
    }

    /// A path as the machine itself has it.
    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(self.root).map_or_else(
            |_| path.display().to_string(),
            |below| format!("/{}", below.display().to_string().trim_start_matches('/')),
        )
    }

    /// What the hook of a daemon is made of.
    fn pieces(&self, daemon: Daemon) -> Result<Vec<Piece>, HookError> {
        let link = |path: PathBuf| Piece::Link { path, target: format!("{PROGRAMS}/{daemon}") };
        match daemon {
            // A name that begins with the class has ZED run it for that class.
            Daemon::Zed => Ok(zed::CLASSES
                .iter()
                .map(|class| link(self.path(ZEDLETS).join(format!("{class}-rodent.sh"))))
                .collect()),
            // Without a dot: run-parts passes over names that have one.
            Daemon::Smartd if self.path(SMARTD_PROGRAMS).is_dir() => {
                Ok(vec![link(self.path(SMARTD_PROGRAMS).join("20rodent"))])
            }
            Daemon::Smartd => Err(HookError::ByHand(format!(
                "smartd has no directory for hooks here: write `-m <nomailer> -M exec {PROGRAMS}/smartd` behind the \
                 devices in /etc/smartd.conf, and `systemctl reload smartd`"
            ))),
            Daemon::Mdadm => Ok(vec![self.mdadm_piece()?]),
        }
    }

    /// mdadm reads the directory of the first pair that is there.
    fn mdadm_piece(&self) -> Result<Piece, HookError> {
        let there = MDADM_DIRECTORIES.iter().find(|directory| self.path(directory).is_dir());
        let by_file = MDADM_FILES.iter().position(|file| self.path(file).exists()).unwrap_or_default();
        let directory = self.path(there.or(MDADM_DIRECTORIES.get(by_file)).unwrap_or(&MDADM_DIRECTORIES[0]));
        if !directory.parent().is_some_and(Path::is_dir) {
            return Err(HookError::ByHand(format!(
                "mdadm has no configuration here: write `PROGRAM {PROGRAMS}/mdadm` into {}, which you make, and `{}`",
                MDADM_FILES[1],
                reload(Daemon::Mdadm)
            )));
        }
        Ok(Piece::Setting { path: directory.join("rodent.conf"), directory })
    }

    /// What stands in the way of enabling.
    fn obstacle(&self, daemon: Daemon, pieces: &[Piece]) -> Option<String> {
        if let Some(piece) = pieces.iter().find(|piece| piece.found() == Found::Other) {
            let path = self.shown(piece.path());
            return Some(format!("{path} is not ours and is left alone"));
        }
        if daemon != Daemon::Mdadm {
            return None;
        }
        let (file, program) = self.foreign_program(pieces)?;
        Some(format!(
            "mdadm runs one program only, and {file} names {program}: have that run `{PROGRAMS}/mdadm \"$@\"`, too"
        ))
    }

    /// A `PROGRAM` of mdadm that is not ours, and the file that names it.
    fn foreign_program(&self, pieces: &[Piece]) -> Option<(String, String)> {
        let ours = |path: &Path| pieces.iter().any(|piece| piece.path() == path);
        let mut files: Vec<PathBuf> = MDADM_FILES.iter().map(|file| self.path(file)).collect();
        for directory in MDADM_DIRECTORIES {
            let entries = fs::read_dir(self.path(directory)).into_iter().flatten().flatten().map(|entry| entry.path());
            let mut configurations: Vec<_> =
                entries.filter(|path| path.extension().is_some_and(|extension| extension == "conf")).collect();
            configurations.order_by(Ord::cmp);
            files.append(&mut configurations);
        }
        files.into_iter().filter(|path| !ours(path)).find_map(|path| {
            let program = program_of(&read(&path))?;
            (program != format!("{PROGRAMS}/mdadm")).then(|| (self.shown(&path), program))
        })
    }

    /// The file where somebody has written our program by hand.
    fn hand_written(&self, daemon: Daemon) -> Option<&'static str> {
        let program = format!("{PROGRAMS}/{daemon}");
        let names = |file: &&&str| {
            let text = read(&self.path(file));
            text.lines().filter(|line| !line.trim_start().starts_with('#')).any(|line| line.contains(&program))
        };
        match daemon {
            Daemon::Zed => None,
            Daemon::Smartd => SMARTD_CONFIGURATIONS.iter().find(names).copied(),
            Daemon::Mdadm => MDADM_FILES.iter().find(names).copied(),
        }
    }

    fn is_configured_by_hand(&self, daemon: Daemon) -> bool {
        self.hand_written(daemon).is_some()
    }

    /// Why an enabled hook would not be run.
    fn hindrance(&self, daemon: Daemon) -> String {
        if !self.path(PROGRAMS).join(daemon.name()).exists() {
            return format!("{PROGRAMS}/{daemon} is missing: install the package again");
        }
        let runs_programs = || {
            SMARTD_CONFIGURATIONS.iter().any(|file| {
                read(&self.path(file))
                    .lines()
                    .any(|line| !line.trim_start().starts_with('#') && line.contains("smartd-runner"))
            })
        };
        if daemon == Daemon::Smartd && !runs_programs() {
            return format!(
                "/etc/smartd.conf has no `-m root -M exec /usr/share/smartmontools/smartd-runner`, \
                 which is what runs {SMARTD_PROGRAMS}"
            );
        }
        String::new()
    }
}

/// The word behind `PROGRAM`: keywords may be cut to three letters and written in any case.
fn program_of(configuration: &str) -> Option<String> {
    configuration.lines().find_map(|line| {
        if line.starts_with([' ', '\t']) {
            return None;
        }
        let mut words = line.split_whitespace();
        let keyword = words.next()?.to_ascii_lowercase();
        let is_program = keyword.len() >= 3 && "program".starts_with(&keyword);
        is_program.then(|| words.next().unwrap_or_default().to_owned())
    })
}

/// The beginning of a text file; empty when it cannot be read.
fn read(path: &Path) -> String {
    use io::Read as _;
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(CONFIGURATION_BYTES_MAX).read_to_end(&mut bytes));
    read.map(|_| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// A thing in a daemon's directory.
enum Piece {
    /// A link to one of our programs.
    Link { path: PathBuf, target: String },
    /// A file with the setting that has mdadm run it.
    Setting { path: PathBuf, directory: PathBuf },
}

/// What stands in the place of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Ours,
    /// Ours, and somebody has changed it.
    Edited,
    Other,
}

impl Piece {
    fn path(&self) -> &Path {
        match self {
            Piece::Link { path, .. } | Piece::Setting { path, .. } => path,
        }
    }

    fn found(&self) -> Found {
        let Ok(metadata) = fs::symlink_metadata(self.path()) else { return Found::Nothing };
        match self {
            Piece::Link { path, target } => {
                let is_ours = fs::read_link(path).is_ok_and(|found| found == Path::new(target));
                if is_ours { Found::Ours } else { Found::Other }
            }
            Piece::Setting { path, .. } if metadata.is_file() => {
                let text = read(path);
                match text.strip_prefix(MDADM_HEAD) {
                    Some(_) if [setting(false), setting(true)].contains(&text) => Found::Ours,
                    Some(_) => Found::Edited,
                    None => Found::Other,
                }
            }
            Piece::Setting { .. } => Found::Other,
        }
    }

    fn make(&self, change: &mut HookChange) -> Result<(), HookError> {
        match self {
            Piece::Link { path, target } => {
                at(path, symlink(target, path))?;
                change.done.push((path.clone(), "made"));
            }
            Piece::Setting { path, directory } => {
                let is_new = !directory.is_dir();
                if is_new {
                    at(directory, fs::create_dir(directory))?;
                    change.done.push((directory.clone(), "made"));
                }
                // Never over a file that has come meanwhile.
                let mut file = at(path, fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path))?;
                change.done.push((path.clone(), "made"));
                at(path, file.write_all(setting(is_new).as_bytes()))?;
            }
        }
        Ok(())
    }

    fn remove(&self, change: &mut HookChange) -> Result<(), HookError> {
        let made_directory = match self {
            Piece::Setting { path, directory } if read(path) == setting(true) => Some(directory),
            _ => None,
        };
        at(self.path(), fs::remove_file(self.path()))?;
        change.done.push((self.path().to_owned(), "removed"));
        // Kept when others have put something there since.
        if let Some(directory) = made_directory
            && fs::remove_dir(directory).is_ok()
        {
            change.done.push((directory.clone(), "removed"));
        }
        Ok(())
    }
}

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, HookError> {
    result.map_err(|source| HookError::Io { path: path.to_owned(), source })
}

/// What stands in the file that mdadm reads.
fn setting(made_directory: bool) -> String {
    let made = if made_directory { MDADM_MADE } else { "" };
    format!("{MDADM_HEAD}{made}PROGRAM {PROGRAMS}/mdadm\n")
}

impl fmt::Display for Enabled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Enabled::Yes => "enabled",
            Enabled::No => "disabled",
            Enabled::Partly => "incomplete",
            Enabled::Blocked(_) => "blocked",
        })
    }
}

#[cfg(test)]
#[path = "installation/tests.rs"]
mod tests;
