//! The service manager's units, as systemd tells them over the system bus.
//!
//! Two connections: one for signals, in systemd's order, and one for questions, so that a burst of signals cannot keep
//! an answer waiting. Signals that nobody reads wait in a queue of `SIGNALS_QUEUED_MAX`, behind it in the socket and
//! in the bus; a bus that loses patience disconnects. Whoever gets [`BusError::Lost`] connects and lists anew. No unit
//! is ever started, stopped or changed from here.

use crate::order::Gather as _;
use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroUsize,
    time::Duration,
};

use futures_util::StreamExt as _;
use zbus::{
    Connection, Message, MessageStream, OwnedObjectPath, Variant,
    connection::Builder,
    fdo::DBusProxy,
    message::{Header, Type},
    names::BusName,
};

/// Signals read from the socket and not yet asked for. Beyond it they wait in the socket.
const SIGNALS_QUEUED_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("it is not zero");
/// How long the bus or systemd may take for an answer. Then the connection counts as lost.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const UNIT_PATHS: &str = "/org/freedesktop/systemd1/unit/";
/// What we want to be told: states of units, units that go, reloads, and systemd itself leaving the bus.
const MATCHES: [&str; 3] = [
    "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.DBus.Properties',\
     member='PropertiesChanged',path_namespace='/org/freedesktop/systemd1/unit'",
    "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager'",
    "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',member='NameOwnerChanged',\
     arg0='org.freedesktop.systemd1'",
];

/// Why systemd could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// No bus is running here, or no systemd is on it.
    #[error("no systemd on the system bus: {0}")]
    Absent(zbus::Error),
    /// The connection does not work, or no longer.
    #[error("{action}")]
    Lost {
        /// Verb first.
        action: &'static str,
        /// The cause.
        #[source]
        source: zbus::Error,
    },
}

/// A property's value, as far as anyone here wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(String),
    /// Any whole number or truth value; what exceeds the type is its greatest value. Of a job, its number.
    Number(i64),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// Properties by name. Those of other types than [`Value`] has are left out.
pub type Properties = BTreeMap<String, Value>;

/// A loaded unit.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Name with its type: `ssh.service`.
    pub name: String,
    path: OwnedObjectPath,
}

/// What systemd said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// New values of properties of a unit. Those of the type of unit come first, those of every unit right after.
    Changed {
        /// Name of the unit.
        unit: String,
        /// Those that may have changed.
        properties: Properties,
        /// Whether they are of every unit (`ActiveState`, …) and so end what is told of one change.
        complete: bool,
    },
    /// A unit is no longer loaded.
    Removed {
        /// Name of the unit.
        unit: String,
    },
    /// systemd reads all its units anew: they seem to go and to come back.
    Reloading,
    /// It has read them.
    Reloaded,
}

impl Signal {
    /// Name of the unit that it is about.
    pub fn unit(&self) -> Option<&str> {
        match self {
            Signal::Changed { unit, .. } | Signal::Removed { unit } => Some(unit),
            Signal::Reloading | Signal::Reloaded => None,
        }
    }
}

/// A connection to systemd.
#[derive(Debug)]
pub struct SystemdBus {
    questions: Connection,
    /// None where nobody waits for them.
    signals: Option<MessageStream>,
    owner: String,
    suffix: &'static str,
}

impl SystemdBus {
    /// Connects to the bus at `address` (default: `DBUS_SYSTEM_BUS_ADDRESS`, else the system's) and asks systemd to
    /// signal; `suffix` (`.service`) tells the type of units that are of interest. Signals from now on are kept for
    /// [`SystemdBus::next`].
    ///
    /// # Errors
    /// [`BusError::Absent`] where there is no such bus or no systemd on it.
    pub async fn connect(address: Option<&str>, suffix: &'static str) -> Result<SystemdBus, BusError> {
        let mut bus = SystemdBus::to_ask(address, suffix).await?;
        let connection = builder(address).build().await.map_err(absent)?;
        let signals = MessageStream::from(&connection);
        for rule in MATCHES {
            let destination = Some("org.freedesktop.DBus");
            connection
                .call_method(destination, "/org/freedesktop/DBus", destination, "AddMatch", &rule)
                .await
                .map_err(lost("ask the bus for signals"))?;
        }
        connection
            .call_method(Some(SYSTEMD), MANAGER_PATH, Some(MANAGER), "Subscribe", &())
            .await
            .map_err(lost("ask systemd for signals"))?;
        bus.signals = Some(signals);
        Ok(bus)
    }

    /// Connects to ask only: no signals come.
    ///
    /// # Errors
    /// As [`SystemdBus::connect`].
    pub async fn to_ask(address: Option<&str>, suffix: &'static str) -> Result<SystemdBus, BusError> {
        let questions = builder(address).build().await.map_err(absent)?;
        let bus = DBusProxy::new(&questions).await.map_err(lost("speak to the bus"))?;
        let name = BusName::try_from(SYSTEMD).map_err(lost("name systemd"))?;
        let owner = bus.get_name_owner(name).await.map_err(|error| absent(error.into()))?.to_string();
        Ok(SystemdBus { questions, signals: None, owner, suffix })
    }

    /// The loaded units of the type that is of interest.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn units(&self) -> Result<Vec<Unit>, BusError> {
        type Row = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);
        let wanted = (Vec::<&str>::new(), vec![format!("*{}", self.suffix)]);
        let answer = self.ask(MANAGER_PATH, MANAGER, "ListUnitsByPatterns", &wanted).await;
        let answer = answer.map_err(lost("list units"))?;
        let rows: Vec<Row> = answer.body().deserialize().map_err(lost("read the list of units"))?;
        let units = rows.into_iter().map(|row| Unit { name: row.0, path: row.6 });
        Ok(units.filter(|unit| unit.name.ends_with(self.suffix)).collect())
    }

    /// All properties of a unit; `None` when it has been unloaded since it was listed.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn properties(&self, unit: &Unit) -> Result<Option<Properties>, BusError> {
        // An empty interface is every interface.
        match self.ask(unit.path.as_str(), PROPERTIES, "GetAll", &"").await {
            Ok(answer) => {
                let body = answer.body();
                body.deserialize().map(|values| Some(properties_of(values))).map_err(lost("read properties of a unit"))
            }
            Err(zbus::Error::FDO(_) | zbus::Error::MethodError(..)) => Ok(None),
            Err(error) => Err(lost("ask for properties of a unit")(error)),
        }
    }

    /// `running`, `degraded`, `starting`, …: the state of the system as a whole.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn system_state(&self) -> Result<String, BusError> {
        let error = lost("ask for the state of the system");
        let answer = self.ask(MANAGER_PATH, PROPERTIES, "Get", &(MANAGER, "SystemState")).await.map_err(&error)?;
        let body = answer.body();
        match body.deserialize::<Variant<'_>>().map_err(error)? {
            Variant::Str(text) => Ok(text.to_string()),
            _ => Ok(String::new()),
        }
    }

    /// The next signal; waits for it.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// [`BusError::Lost`] when the bus or systemd has gone.
    pub async fn next(&mut self) -> Result<Signal, BusError> {
        const ACTION: &str = "receive signals of systemd";
        loop {
            let gone = || zbus::Error::Failure("the connection has been closed".into());
            let Some(signals) = &mut self.signals else { return std::future::pending().await };
            let message = signals.next().await.ok_or_else(gone).flatten().map_err(lost(ACTION))?;
            let header = message.header();
            if header.message_type() != Type::Signal {
                continue;
            }
            if header.member().is_some_and(|member| member == "NameOwnerChanged") {
                return Err(lost(ACTION)(zbus::Error::Failure("systemd has left the bus".into())));
            }
            // Anyone can send a signal to us alone; only systemd is believed.
            if header.sender().is_some_and(|sender| sender.as_str() == self.owner)
                && let Some(signal) = signal_of(&message, &header, self.suffix)
            {
                return Ok(signal);
            }
        }
    }

    async fn ask<B>(&self, path: &str, interface: &str, method: &str, body: &B) -> zbus::Result<Message>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        self.questions.call_method(Some(SYSTEMD), path, Some(interface), method, body).await
    }
}

fn builder(address: Option<&str>) -> Builder<'_> {
    let builder = address.map_or_else(Builder::system, Builder::address);
    builder.method_timeout(ANSWER_TIME_MAX).max_queued(SIGNALS_QUEUED_MAX)
}

/// An answer in good order that there is none, apart from a connection that does not work.
fn absent(error: zbus::Error) -> BusError {
    use std::io::ErrorKind;
    match &error {
        zbus::Error::InputOutput(io) if !matches!(io.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            lost("connect to the system bus")(error)
        }
        _ => BusError::Absent(error),
    }
}

fn lost(action: &'static str) -> impl Fn(zbus::Error) -> BusError {
    move |source| BusError::Lost { action, source }
}

fn signal_of(message: &Message, header: &Header<'_>, suffix: &str) -> Option<Signal> {
    let body = message.body();
    match header.member()?.as_str() {
        "PropertiesChanged" => {
            let unit = unit_of(header.path()?.as_str()).filter(|unit| unit.ends_with(suffix))?;
            let (interface, values, _): (&str, HashMap<&str, Variant<'_>>, Vec<&str>) = body.deserialize().ok()?;
            let complete = interface == "org.freedesktop.systemd1.Unit";
            Some(Signal::Changed { unit, properties: properties_of(values), complete })
        }
        "UnitRemoved" => {
            let (unit, _): (String, OwnedObjectPath) = body.deserialize().ok()?;
            unit.ends_with(suffix).then_some(Signal::Removed { unit })
        }
        "Reloading" => Some(if body.deserialize().ok()? { Signal::Reloading } else { Signal::Reloaded }),
        _ => None,
    }
}

fn properties_of(values: HashMap<&str, Variant<'_>>) -> Properties {
    values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value_of(&value)?))).gather()
}

fn value_of(value: &Variant<'_>) -> Option<Value> {
    Some(match value {
        Variant::Str(text) => Value::Text(text.to_string()),
        Variant::Bool(truth) => Value::Number(i64::from(*truth)),
        Variant::U8(number) => Value::Number(i64::from(*number)),
        Variant::U16(number) => Value::Number(i64::from(*number)),
        Variant::U32(number) => Value::Number(i64::from(*number)),
        Variant::U64(number) => Value::Number(i64::try_from(*number).unwrap_or(i64::MAX)),
        Variant::I16(number) => Value::Number(i64::from(*number)),
        Variant::I32(number) => Value::Number(i64::from(*number)),
        Variant::I64(number) => Value::Number(*number),
        // A job is a pair of its number and its path.
        Variant::Structure(fields) => match fields.fields() {
            [Variant::U32(number), Variant::ObjectPath(_)] => Value::Number(i64::from(*number)),
            _ => return None,
        },
        Variant::Array(items) => Value::Bytes(
            items
                .iter()
                .map(|item| if let Variant::U8(byte) = item { Some(*byte) } else { None })
                .collect::<Option<_>>()?,
        ),
        _ => return None,
    })
}

/// The name of the unit behind an object's path, where all but letters and digits is written `_` and two hexadecimal
/// digits.
fn unit_of(path: &str) -> Option<String> {
    let mut label = path.strip_prefix(UNIT_PATHS)?.bytes();
    let mut name = Vec::new();
    while let Some(byte) = label.next() {
        name.push(match byte {
            b'_' => {
                let digits = [label.next()?, label.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_units_name_is_read_from_its_objects_path() {
        let name = |label: &str| unit_of(&format!("{UNIT_PATHS}{label}"));
        assert_eq!(name("user_401000_2eservice").as_deref(), Some("user@1000.service"));
        assert_eq!(name("a_5cx2db_2eservice").as_deref(), Some("a\\x2db.service"));
        assert_eq!(name("broken_2"), None);
        assert_eq!(name("broken_zz"), None);
        assert_eq!(unit_of("/org/freedesktop/systemd1/job/7"), None);
    }

    #[test]
    fn values_are_read_by_type_and_what_is_of_no_interest_is_left_out() {
        assert_eq!(value_of(&Variant::new("failed")), Some(Value::Text("failed".into())));
        assert_eq!(value_of(&Variant::new(u64::MAX)), Some(Value::Number(i64::MAX)));
        assert_eq!(value_of(&Variant::new(vec![1_u8, 2])), Some(Value::Bytes(vec![1, 2])));
        assert_eq!(value_of(&Variant::new(vec!["a"])), None);
        assert_eq!(value_of(&Variant::new(1.5)), None);
    }

    #[tokio::test]
    async fn a_machine_without_a_bus_has_no_systemd() {
        let connected = SystemdBus::connect(Some("unix:path=/nonexistent/bus"), ".service").await;
        assert!(matches!(connected, Err(BusError::Absent(_))), "{connected:?}");
    }
}
