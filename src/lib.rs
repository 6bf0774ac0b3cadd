//! Rodent, the event agent of a storage appliance: collects typed events of the machine it runs on, keeps them in a
//! durable log and uploads them to a controller. No event is lost silently: each is delivered, stored, or counted
//! in a loss record that is itself delivered.
//!
//! # The way of an event
//!
//! ```text
//! 1 collectors        see something happen, emit a payload
//! 2 pipeline          stamps identifier, time and source; filters by level and category     the producer waits
//! 3 event_log         appends to a lane, makes it durable, answers with a sequence
//! 4 consumers         reads from a cursor, cuts a batch, delivers it until it has arrived    bounded by count and bytes
//! 5 sinks             what the other side is: for the controller, SendEvents
//! ─────────────────── network ───────────────────
//! 6 controller::ingest   authenticates, checks, drops what it already has
//! 7 controller::store    keeps it; only then Ok
//! ```
//!
//! Nothing calls back. What 5 returns, 4 turns into one cursor commit. Every consumer is a cursor over the same log: a
//! slow one delays only itself.
//!
//! # Rooms
//!
//! - [`schema`], [`telemetry`], [`backoff`], [`settings`], [`metrics`], [`health`], [`words`], [`limits`], [`files`],
//!   [`tls`], [`lock`], [`visible`], `service_manager`: what every room may use.
//! - [`event`]: what an event is called, how much it matters, how it looks in text and JSON. Pure.
//! - [`event_log`]: the log. The only user of sled.
//! - [`dead_letters`]: events that a consumer refuses, each in a file of its own.
//! - [`host`]: how the machine is looked at. Knows no events.
//! - [`hooks`]: what ZED, smartd and mdadm call when something happens, and putting it where they look for it.
//! - [`spool`]: where hooks leave events while the agent is away.
//! - [`pipeline`]: the [`pipeline::Emitter`].
//! - [`collectors`]: one file or folder a domain.
//! - [`consumers`]: who listens to the log: the driver that takes from a cursor and gives to a sink.
//! - [`sinks`]: to whom events go; each knows one other side. The uplink is the controller.
//! - [`state`]: how each thing is now, folded from its events. Pure but for its checkpoint.
//! - [`client`], [`local_api`]: the two ends of the Unix socket.
//! - [`terminal`]: how the commands print: columns, colour, JSON lines, times and sizes in words.
//! - [`controller`]: the reference controller; independent of the agent's rooms, so that it checks the wire.
//! - [`allocator`]: what the program asks of the C library's allocator, once.
//! - [`agent`]: puts the rooms together. [`cli`]: the command line. [`bench`]: measures the rooms.
//!
//! Who may name whom is a test: `tests/tidy.rs`.
//!
//! # Glossary
//!
//! - **kind**: `category.subject.operation`, the name of what happened, derived from the schema.
//! - **lane**: one of the log's two rows, `urgent` and `routine`, each with its own sequence.
//! - **sequence**: the number of an event in its lane, from 1, without holes.
//! - **epoch**: identity of a numbering; a new one begins when the tail of the old one cannot be proved.
//! - **generation**: a small directory of the log, written once, sealed, read, and removed whole.
//! - **frame**: many events in one checksummed, compressed block; what a generation consists of.
//! - **ledger**: the log's small file of what it must know beside its events: cursors, what is owed to consumers, epochs.
//! - **cursor**: how far one consumer has come in each lane. It moves by delivery, or over a loss that is owed to the consumer.
//! - **consumer**: who listens to the log, by the name of its cursor.
//! - **sink**: what a consumer delivers to.
//! - **batch**: the events of one delivery.
//! - **dead letter**: an event that a consumer refuses by itself while it takes others; kept for it until somebody decides.
//! - **node**: the machine, as the controller knows it.
//! - **part**: one of the agent's tasks, with what its end means and when it stops; or what a condition is about.
//! - **state**: how a thing is in one respect, as the events that begin and end it tell; wrong from `warn` on.
//! - **problem**: a state that is wrong now.
//! - **condition**: what is not as it should be with a part, said by that part alone; everybody else shows it.

pub mod agent;
pub mod allocator;
pub mod backoff;
pub mod bench;
pub mod cli;
pub mod client;
pub mod collectors;
pub mod consumers;
pub mod controller;
pub mod dead_letters;
pub mod event;
pub mod event_log;
pub mod files;
pub mod health;
pub mod hooks;
pub mod host;
pub mod limits;
pub mod local_api;
pub mod lock;
pub mod metrics;
mod order;
pub mod pipeline;
pub mod schema;
mod service_manager;
pub mod settings;
pub mod sinks;
pub mod spool;
pub mod state;
pub mod telemetry;
pub mod telling;
pub mod terminal;
pub mod tls;
pub mod visible;
pub mod words;
