//! Which store a command means: the values of `--store`.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc};

use super::Failure;
use crate::controller::store::{MemoryStore, SqliteReader, SqliteStore, Store, StoreError};

/// A store by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// Gone with the process.
    Memory,
    /// A database file.
    Sqlite(PathBuf),
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Location, String> {
        match text.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() => Ok(Location::Sqlite(path.into())),
            None if text == "memory" => Ok(Location::Memory),
            _ => Err("use sqlite:PATH or memory".to_owned()),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Memory => f.write_str("memory"),
            Location::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

impl Location {
    /// Opens the store to write; creates it where there is none. Blocks.
    pub(super) fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(match self {
            Location::Memory => Arc::new(MemoryStore::default()),
            Location::Sqlite(path) => Arc::new(SqliteStore::open(path)?),
        })
    }

    /// Opens the store to read, while a controller may be writing. Blocks.
    pub(super) fn read(&self) -> Result<SqliteReader, Failure> {
        match self {
            Location::Memory => {
                Err(Failure::usage("the memory store cannot be read from outside; use --store sqlite:PATH"))
            }
            Location::Sqlite(path) => Ok(SqliteReader::open(path)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_named_as_they_are_printed() {
        for text in ["memory", "sqlite:events.db", "sqlite:/var/lib/x/a:b.db"] {
            assert_eq!(text.parse::<Location>().expect("a store").to_string(), text);
        }
        for text in ["", "sqlite", "sqlite:", "postgres:x", "memory:", "/events.db"] {
            assert!(text.parse::<Location>().is_err(), "{text}");
        }
    }
}
