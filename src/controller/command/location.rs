//! Which store a command means: the values of `--store`.

use std::{fmt, fs, path::PathBuf, str::FromStr, sync::Arc};

use super::{Failure, failure::Code};
use crate::controller::store::{
    EventPage, MemoryStore, Node, Query, Quota, SqliteReader, SqliteStore, Store, StoreError,
};
#[cfg(feature = "nats")]
use crate::controller::store::{NatsSettings, NatsStore};
use crate::files::{become_owner, refuse_others};

/// A store by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// Gone with the process.
    Memory,
    /// A database file.
    Sqlite(PathBuf),
    /// A stream.
    #[cfg(feature = "nats")]
    Nats(NatsSettings),
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Location, String> {
        match text.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() => Ok(Location::Sqlite(path.into())),
            #[cfg(feature = "nats")]
            Some(("nats" | "tls", _)) => text.parse().map(Location::Nats),
            #[cfg(not(feature = "nats"))]
            Some(("nats" | "tls", _)) => Err("this program was built without NATS (feature `nats`)".to_owned()),
            None if text == "memory" => Ok(Location::Memory),
            _ => Err("use sqlite:PATH or memory, or nats://HOST:PORT".to_owned()),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Memory => f.write_str("memory"),
            Location::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            #[cfg(feature = "nats")]
            Location::Nats(settings) => settings.fmt(f),
        }
    }
}

impl Location {
    /// Opens the store to write; creates it where there is none. `quota` is what nodes may fill; memory has
    /// bounds of its own. Blocks.
    pub(super) fn open(&self, quota: Quota) -> Result<Arc<dyn Store>, Failure> {
        Ok(match self {
            Location::Memory => Arc::new(MemoryStore::default()),
            Location::Sqlite(path) => {
                refuse_others(path).map_err(|error| Failure::of(Code::Permission, &error))?;
                Arc::new(SqliteStore::open_with(path, quota)?)
            }
            #[cfg(feature = "nats")]
            Location::Nats(settings) => Arc::new(NatsStore::open_with(settings, quota)?),
        })
    }

    /// Opens the store to read, while a controller may be writing; root goes on as whoever owns a database. Blocks.
    pub(super) fn read(&self) -> Result<Reader, Failure> {
        match self {
            Location::Memory => {
                Err(Failure::usage("the memory store cannot be read from outside; use --store sqlite:PATH"))
            }
            Location::Sqlite(path) => {
                // What is not there is told by who opens it.
                let path = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
                if path.exists() {
                    become_owner(&path).map_err(|error| Failure::of(Code::Permission, &error))?;
                }
                Ok(Reader::Sqlite(SqliteReader::open(&path)?))
            }
            #[cfg(feature = "nats")]
            Location::Nats(settings) => Ok(Reader::Nats(Box::new(NatsStore::find(settings)?))),
        }
    }
}

/// A store that is looked into. Everything blocks.
pub(super) enum Reader {
    Sqlite(SqliteReader),
    #[cfg(feature = "nats")]
    Nats(Box<NatsStore>),
}

impl Reader {
    /// As `Store::query`.
    pub(super) fn query(&self, query: &Query) -> Result<EventPage, StoreError> {
        match self {
            Reader::Sqlite(reader) => reader.query(query),
            #[cfg(feature = "nats")]
            Reader::Nats(store) => store.wait(store.query(query)),
        }
    }

    /// As `Store::nodes`.
    pub(super) fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        match self {
            Reader::Sqlite(reader) => reader.nodes(),
            #[cfg(feature = "nats")]
            Reader::Nats(store) => store.wait(store.nodes()),
        }
    }

    /// One node, if it was ever seen.
    pub(super) fn node(&self, name: &str) -> Result<Option<Node>, StoreError> {
        match self {
            Reader::Sqlite(reader) => reader.node(name),
            #[cfg(feature = "nats")]
            Reader::Nats(store) => store.wait(store.node(name)),
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
        for text in ["", "sqlite", "sqlite:", "postgres:x", "memory:", "/events.db", "nats:", "nats://"] {
            assert!(text.parse::<Location>().is_err(), "{text}");
        }
        #[cfg(feature = "nats")]
        for text in ["nats://127.0.0.1:4222/RODENT", "tls://a,b:1/X?credentials=/run/x.creds"] {
            assert_eq!(text.parse::<Location>().expect("a store").to_string(), text);
        }
    }
}
