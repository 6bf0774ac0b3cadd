//! `rodent top`: what comes in and goes out, as it happens.
//!
//! Asks the agent for its status once an interval and follows its events; draws a full screen where somebody looks, and prints a
//! line an interval where nobody does. Always holds: the terminal is as it was before, however this ends; an agent that goes
//! away is waited for, and that is said; what cannot be shown is not asked for.

mod draw;
mod feed;
mod plain;
mod rates;

use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};

use clap::value_parser;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{MissedTickBehavior, interval, timeout},
};

use self::{
    draw::{Sort, View},
    feed::Feed,
    rates::Meter,
};
use super::Failure;
use crate::{
    client::{Client, ClientError, Events, StatusResponse},
    terminal::{FullScreen, Line, Output, Tone, can_draw, human_duration},
    words::parse_duration,
};

/// How often one may want to look: more often would be a load, less often no live view.
const INTERVAL_BOUNDS: std::ops::RangeInclusive<Duration> = Duration::from_millis(200)..=Duration::from_secs(60);

/// How long the agent may take to answer before that is said.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// How long it is said that the agent has started again.
const NOTE_TIME: Duration = Duration::from_secs(10);

/// Rounds that one may ask for.
const ROUNDS_MAX: i64 = 1_000_000;

const CTRL_C: u8 = 3;
const CTRL_Z: u8 = 26;

const EXAMPLES: &str = "\
Examples:
  rodent top                               q quits, p pauses, s sorts
  rodent top --interval 5s
  rodent top --once                        rates of one second, a line
  rodent top -o json -n 60 > minute.jsonl  into a file, a second a line

Where no terminal shows it, and with -n or --once, it prints a line an interval.

Exit codes: 0 done, 69 no agent, 77 no permission.";

/// Watch events come and go, live
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Time between two looks: 200ms to 60s
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_interval)]
    interval: Duration,
    /// Print a line an interval, and end after so many
    #[arg(short, long, value_name = "NUMBER", value_parser = value_parser!(u32).range(1..=ROUNDS_MAX))]
    number: Option<u32>,
    /// Print one line, and end
    #[arg(long, conflicts_with = "number")]
    once: bool,
    /// How to print: table, json or jsonl (an object a line; with --once, json is one document)
    #[arg(short, long, value_enum, default_value_t, hide_possible_values = true)]
    output: Output,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let parsed = parse_duration(text)?;
    if INTERVAL_BOUNDS.contains(&parsed) { Ok(parsed) } else { Err("expected 200ms to 60s".to_owned()) }
}

pub(super) async fn run(arguments: Arguments, socket: &Path) -> Result<ExitCode, Failure> {
    let rounds = if arguments.once { Some(1) } else { arguments.number };
    let client = Client::connect(socket).await?;
    // Before the terminal is taken: no permission is a line, not a picture.
    let status = first_status(&client).await?;
    if rounds.is_some() || arguments.output != Output::Table || !can_draw() {
        return plain::run(&client, arguments.interval, rounds, arguments.output).await;
    }
    let mut top = Top {
        agent: Agent { socket: socket.to_owned(), client: Some(client) },
        interval: arguments.interval,
        meter: Meter::default(),
        status,
        feed: Feed::default(),
        trouble: None,
        restarted: None,
        is_paused: false,
        sort: Sort::default(),
    };
    let mut screen = FullScreen::enter()?;
    let ended = top.show(&mut screen).await;
    drop(screen);
    match ended {
        // The terminal has gone, and with it whoever looked.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EIO | libc::ENXIO)) => Ok(ExitCode::SUCCESS),
        other => Ok(other.map(|()| ExitCode::SUCCESS)?),
    }
}

/// How the agent is, before anything is shown: one that hangs is told of, not waited for.
async fn first_status(client: &Client) -> Result<StatusResponse, Failure> {
    match timeout(ANSWER_TIME_MAX, client.status()).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::unavailable(silent())),
    }
}

fn silent() -> String {
    format!("the agent does not answer within {}", human_duration(ANSWER_TIME_MAX))
}

/// The agent, and the connection to it while there is one.
struct Agent {
    socket: PathBuf,
    client: Option<Client>,
}

impl Agent {
    /// How it is; makes a connection where there is none, and opens its events if they are wanted. Nothing of it may be waited
    /// for elsewhere: keys and signals are looked at meanwhile.
    fn ask(&self, wants_events: bool) -> impl Future<Output = Result<Answer, String>> + use<> {
        let (socket, client) = (self.socket.clone(), self.client.clone());
        async move {
            let asked = timeout(ANSWER_TIME_MAX, async {
                let client = match client {
                    Some(client) => client,
                    None => Client::connect(&socket).await?,
                };
                let status = client.status().await?;
                Ok((client, status))
            });
            let (client, status) = match asked.await {
                Ok(answer) => answer.map_err(|error: ClientError| words(&error, &socket))?,
                Err(_) => return Err(silent()),
            };
            let opened = match wants_events {
                // Without events the rest is still worth showing; it is tried again at the next look.
                true => timeout(ANSWER_TIME_MAX, Feed::open(&client)).await.ok().and_then(Result::ok),
                false => None,
            };
            Ok(Answer { client, status, opened })
        }
    }
}

/// What the agent gave at one look.
struct Answer {
    client: Client,
    status: StatusResponse,
    /// Its events, where they were not followed yet.
    opened: Option<Events>,
}

fn words(error: &ClientError, socket: &Path) -> String {
    match error {
        ClientError::NotRunning(_) | ClientError::Unavailable(_) => format!("no agent answers on {}", socket.display()),
        other => other.to_string(),
    }
}

type Asking = Pin<Box<dyn Future<Output = Result<Answer, String>>>>;

/// What is shown, and what keeps it up to date.
struct Top {
    agent: Agent,
    interval: Duration,
    meter: Meter,
    /// The last that the agent said.
    status: StatusResponse,
    feed: Feed,
    /// Why it says nothing now, and since when.
    trouble: Option<(Instant, String)>,
    /// When it was seen that it is another one.
    restarted: Option<Instant>,
    is_paused: bool,
    sort: Sort,
}

/// What ends the view, or changes it.
struct Signals {
    ending: [Signal; 4],
    resized: Signal,
}

impl Signals {
    fn catch() -> io::Result<Signals> {
        let [terminate, interrupt, hang_up, quit] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()].map(signal);
        Ok(Signals { ending: [terminate?, interrupt?, hang_up?, quit?], resized: signal(SignalKind::window_change())? })
    }
}

impl Top {
    /// Draws until somebody ends it.
    async fn show(&mut self, screen: &mut FullScreen) -> io::Result<()> {
        let mut signals = Signals::catch()?;
        let mut keys = screen.keys()?;
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asking: Option<Asking> = None;
        self.meter.read(Instant::now(), &self.status);
        loop {
            screen.show(&self.lines(screen.size()))?;
            // Events alone draw nothing: a burst would draw too often.
            if !self.wait(screen, &mut signals, &mut keys, &mut ticks, &mut asking).await? {
                return Ok(());
            }
        }
    }

    /// Waits for something to draw; false when it is to end.
    async fn wait(
        &mut self,
        screen: &mut FullScreen,
        signals: &mut Signals,
        keys: &mut mpsc::Receiver<u8>,
        ticks: &mut tokio::time::Interval,
        asking: &mut Option<Asking>,
    ) -> io::Result<bool> {
        let Signals { ending: [terminate, interrupt, hang_up, quit], resized } = signals;
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(false),
                _ = interrupt.recv() => return Ok(false),
                _ = hang_up.recv() => return Ok(false),
                _ = quit.recv() => return Ok(false),
                _ = resized.recv() => return Ok(true),
                key = keys.recv() => match key {
                    None | Some(b'q' | CTRL_C) => return Ok(false),
                    Some(CTRL_Z) => {
                        screen.suspend()?;
                        self.meter.forget();
                        return Ok(true);
                    }
                    Some(b'p' | b' ') => {
                        self.pause();
                        return Ok(true);
                    }
                    Some(b's') => {
                        self.sort = self.sort.next();
                        return Ok(true);
                    }
                    Some(_) => {}
                },
                _ = ticks.tick(), if asking.is_none() && !self.is_paused => {
                    *asking = Some(Box::pin(self.agent.ask(!self.feed.is_open())));
                }
                answer = answer_of(asking), if asking.is_some() => {
                    *asking = None;
                    if !self.is_paused {
                        self.take(answer);
                        return Ok(true);
                    }
                }
                () = self.feed.next(), if !self.is_paused => {}
            }
        }
    }

    fn pause(&mut self) {
        self.is_paused = !self.is_paused;
        self.feed.close();
        // What happens meanwhile is no rate of a second.
        self.meter.forget();
    }

    fn take(&mut self, answer: Result<Answer, String>) {
        let now = Instant::now();
        match answer {
            Ok(Answer { client, status, opened }) => {
                if self.meter.read(now, &status) {
                    self.restarted = Some(now);
                }
                (self.status, self.trouble) = (status, None);
                self.feed.begin(opened);
                self.agent.client = Some(client);
            }
            Err(why) => {
                let since = self.trouble.take().map_or(now, |(since, _)| since);
                self.trouble = Some((since, why));
                self.agent.client = None;
                self.feed.close();
                // The last counters are kept, so that an agent that comes back is known as another one; its rates are not.
                self.meter.rates = rates::Rates::default();
            }
        }
    }

    fn note(&self) -> Option<(Tone, String)> {
        if let Some((since, why)) = &self.trouble {
            let long = human_duration(Duration::from_secs(since.elapsed().as_secs()));
            return Some((Tone::Bad, format!("{why}, for {long}; trying again; what is below is old")));
        }
        let since = self.restarted?.elapsed();
        let seconds = human_duration(Duration::from_secs(since.as_secs()));
        (since < NOTE_TIME).then(|| (Tone::Warn, format!("the agent has started again, seen {seconds} ago")))
    }

    fn lines(&self, size: (usize, usize)) -> Vec<Line> {
        draw::draw(
            &View {
                status: &self.status,
                meter: &self.meter,
                events: &self.feed.rows,
                skipped: self.feed.skipped,
                note: self.note(),
                is_paused: self.is_paused,
                sort: self.sort,
                interval: self.interval,
                now: SystemTime::now(),
            },
            size,
        )
    }
}

/// The answer to what is being asked; waits for ever where nothing is.
async fn answer_of(asking: &mut Option<Asking>) -> Result<Answer, String> {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_has_bounds() {
        assert_eq!(parse_interval("2s"), Ok(Duration::from_secs(2)));
        for wrong in ["100ms", "61s", "soon", "0s"] {
            assert!(parse_interval(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn an_agent_that_takes_the_connection_and_says_nothing_is_not_waited_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("rodent.sock");
        let listener = tokio::net::UnixListener::bind(&socket).expect("a socket");
        let client = Client::connect(&socket).await.expect("a connection");
        tokio::time::pause();
        let begun = tokio::time::Instant::now();
        assert!(first_status(&client).await.is_err());
        assert!(
            begun.elapsed() <= ANSWER_TIME_MAX + Duration::from_secs(1),
            "{:?} of a clock that is turned",
            begun.elapsed()
        );
        drop(listener);
    }
}
