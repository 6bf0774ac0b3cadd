//! The files of a configuration, laid over each other and open for reading.

use std::{
    fs::File,
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use super::{
    Faults, Records, Table,
    session::{Session, Source},
    tree::{Map, Position},
    yaml,
};
use crate::lock::lock;

/// The most bytes of one file; a longer one is a fault.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// The most files of one document; more are a fault.
pub const FILES_MAX: usize = 256;

/// A variable of the environment that sets a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// As it is called: `RODENT_EVENTS__BATCH_SIZE`.
    pub name: String,
    /// `events`, `batch_size`.
    pub key: Vec<String>,
    /// One line.
    pub value: String,
}

/// A configuration that is being read. Later files win over earlier ones, key by key; lists are replaced whole.
pub struct Document {
    session: Arc<Mutex<Session>>,
    root: Arc<Map>,
}

impl Document {
    /// Reads the files, the weakest first, and lays `variables` over them: name of each, the key that it sets, part by part, and
    /// the value as it would stand in a file. What is wrong with them is reported by [`Document::finish`].
    pub fn open(files: &[PathBuf], variables: &[Variable]) -> Document {
        Document::open_with(files, variables, None)
    }

    /// The same, as if this text stood in the file at this path.
    pub fn open_with(files: &[PathBuf], variables: &[Variable], other: Option<(&Path, &str)>) -> Document {
        let mut session = Session::default();
        let mut root = Map::default();
        for file in files.iter().take(FILES_MAX) {
            let other = other.filter(|(path, _)| path == file);
            match other.map_or_else(|| read(file), |(_, text)| Ok((text.to_owned(), None))) {
                Ok((text, mode)) => session.lay_over(&mut root, &file.display().to_string(), mode, &text),
                Err(message) => session.unreadable(&file.display().to_string(), message),
            }
        }
        if files.len() > FILES_MAX {
            session.broken = true;
            session.fault(None, "", None, format!("{} configuration files; {FILES_MAX} are the most", files.len()));
        }
        for Variable { name, key, value } in variables {
            let nested = |(depth, part): (usize, &String)| format!("{:1$}{part}:", "", 2 * depth);
            let lines: Vec<_> = key.iter().enumerate().map(nested).collect();
            session.lay_over(&mut root, name, None, &format!("{} {value}", lines.join("\n")));
            session.sources.last_mut().into_iter().for_each(|source| source.is_variable = true);
        }
        session.begin_keys();
        Document { session: Arc::new(Mutex::new(session)), root: Arc::new(root) }
    }

    /// Reads one text; `name` stands for the file in messages.
    pub fn parse(name: &str, text: &str) -> Document {
        let mut session = Session::default();
        let mut root = Map::default();
        session.lay_over(&mut root, name, None, text);
        session.begin_keys();
        Document { session: Arc::new(Mutex::new(session)), root: Arc::new(root) }
    }

    /// The table of everything.
    pub fn root(&self) -> Table {
        Table::open(Arc::clone(&self.session), Arc::clone(&self.root))
    }

    /// Ends the reading: what was read.
    ///
    /// # Errors
    /// Every fault, unknown keys among them. After a syntax error or an unreadable file only what the files themselves
    /// are at fault with, for what stands behind it is not known.
    pub fn finish(self) -> Result<Records, Faults> {
        std::mem::take(&mut *lock(&self.session)).finish()
    }
}

impl Session {
    fn lay_over(&mut self, root: &mut Map, name: &str, mode: Option<u32>, text: &str) {
        let source = self.source(name, mode);
        let parsed = yaml::parse(source, text);
        self.broken |= parsed.broken;
        for (at, key, message) in parsed.faults {
            self.fault(Some(at), &key, None, message);
        }
        if let Some((at, message)) = parsed.syntax {
            self.no_yaml(at, message, text.to_owned());
        }
        root.merge(parsed.map);
    }

    fn unreadable(&mut self, name: &str, problem: Problem) {
        let source = self.source(name, None);
        self.broken = true;
        match problem {
            Problem::File(message) => self.file_fault(source, message),
            Problem::Text { line, column } => {
                let at = Position { source, line, column };
                self.fault(Some(at), "", None, "not UTF-8 text; save the file in that encoding".into());
            }
        }
    }

    fn source(&mut self, name: &str, mode: Option<u32>) -> u16 {
        let number = u16::try_from(self.sources.len()).unwrap_or(u16::MAX);
        self.sources.push(Source { name: name.to_owned(), mode, is_variable: false });
        number
    }
}

/// Why a file gives no text.
enum Problem {
    File(String),
    Text { line: u32, column: u32 },
}

fn read(file: &Path) -> Result<(String, Option<u32>), Problem> {
    let cannot = |error: std::io::Error| Problem::File(format!("cannot be read: {}", plain(&error)));
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(cannot)?;
    let mode = opened.metadata().map_err(cannot)?.mode();
    opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Problem::File(format!("longer than {FILE_BYTES_MAX} bytes; this is no configuration")));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok((text, Some(mode))),
        Err(error) => Err(place_of(error.as_bytes(), error.utf8_error().valid_up_to())),
    }
}

/// Where the first bytes stand that are no text.
fn place_of(bytes: &[u8], valid: usize) -> Problem {
    let before = String::from_utf8_lossy(bytes.get(..valid).unwrap_or_default());
    let line = before.matches('\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
    let narrow = |number: usize| u32::try_from(number + 1).unwrap_or(u32::MAX);
    Problem::Text { line: narrow(line), column: narrow(column) }
}

/// The system's words without its number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text.get(..end).unwrap_or(&text).to_lowercase(),
        None => text,
    }
}
