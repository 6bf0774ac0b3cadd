//! Tells how things are (`tell: changes`): the cursor only says that something has happened; what is sent is what the receiver
//! does not know of yet.
//!
//! Given the states by whoever keeps them; says on what it was asked for, and at the times that [`Telling`] names. Always holds:
//! one message is on its way at a time; what was sent is remembered before the next one is.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::MutexGuard, time::Instant};

use super::{
    courier::{Courier, NotTaken, may_be_taken},
    said::Said,
};
use crate::{
    event::{Filter, Level},
    event_log::{Cursor, EventLog, Lane},
    lock::lock,
    schema::local::StateLevel,
    state::StatesWatch,
    telling::{Due, Moment, Notification, Rules, Telling, What},
    terminal::TimeZone,
};

/// How long is waited at a time for what is not folded yet.
const FOLD_TIME_MAX: Duration = Duration::from_secs(5);

/// Until it is looked again at a time at which somebody told already.
const TURN_PAUSE: Duration = Duration::from_secs(1);

/// Looks in a row: each sends, and finds what has come up meanwhile.
const LOOKS_MAX: usize = 100;

/// What is told, to whom and how it stands.
pub(super) struct Teller {
    telling: Mutex<Telling>,
    log: EventLog,
    /// What was told is kept with it.
    cursor: Cursor,
    /// Held by whoever sends.
    turn: tokio::sync::Mutex<()>,
    filter: Arc<Filter>,
    node: Arc<str>,
    states: Arc<dyn StatesWatch>,
    /// Unix milliseconds.
    now: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// When to look although nothing has happened; at once to begin with.
    again_at: Mutex<Option<Instant>>,
}

impl Teller {
    /// Goes on with what is kept with the cursor.
    pub(super) fn new(
        rules: Rules,
        (log, cursor): (EventLog, Cursor),
        (filter, node): (Arc<Filter>, Arc<str>),
        states: Arc<dyn StatesWatch>,
        now: Arc<dyn Fn() -> i64 + Send + Sync>,
    ) -> Teller {
        Teller {
            telling: Mutex::new(Telling::new(rules, &cursor.blob())),
            log,
            cursor,
            turn: tokio::sync::Mutex::default(),
            filter,
            node,
            states,
            now,
            again_at: Mutex::new(Some(Instant::now())),
        }
    }

    /// When there may be something to tell though nothing has happened.
    pub(super) fn due(&self) -> Option<Instant> {
        *lock(&self.again_at)
    }

    /// What is to be kept with the cursor.
    pub(super) fn told(&self) -> Vec<u8> {
        lock(&self.telling).encode()
    }

    /// Tells what there is to tell, once all is folded that the log has now: of what is not known yet nobody can say that it is
    /// well, or gone.
    ///
    /// # Errors
    /// When something of it was not taken; what was sent before it is known all the same.
    pub(super) async fn tell(&self, courier: &Courier) -> Result<(), NotTaken> {
        let turn = self.turn.lock().await;
        self.tell_in_turn(turn, courier).await
    }

    /// The same, unless somebody tells just now: who waits for them may be the one that they wait for.
    ///
    /// # Errors
    /// When something of it was not taken.
    pub(super) async fn tell_unless_told(&self, courier: &Courier) -> Result<(), NotTaken> {
        match self.turn.try_lock() {
            Ok(turn) => self.tell_in_turn(turn, courier).await,
            Err(_) => {
                *lock(&self.again_at) = Some(Instant::now() + TURN_PAUSE);
                Ok(())
            }
        }
    }

    async fn tell_in_turn(&self, _turn: MutexGuard<'_, ()>, courier: &Courier) -> Result<(), NotTaken> {
        let ends = Lane::ALL.map(|lane| self.log.bounds(lane).1);
        if tokio::time::timeout(FOLD_TIME_MAX, self.states.await_folded(ends)).await.is_err() {
            *lock(&self.again_at) = Some(Instant::now());
            return Ok(());
        }
        for _ in 0..LOOKS_MAX {
            let at = moment((self.now)(), TimeZone::Local);
            let Due { notices, again_at, is_held_back } = self.look(at);
            if notices.is_empty() {
                let wait = again_at.map(|again_at| Duration::from_millis((again_at - at.now).max(0).unsigned_abs()));
                *lock(&self.again_at) = wait.map(|wait| Instant::now() + wait);
                if !is_held_back {
                    self.looked(at);
                }
                return Ok(());
            }
            let at_once = if courier.format.is_of_several() { notices.len() } else { 1 };
            for notices in notices.chunks(at_once) {
                self.send(notices, at, courier).await?;
            }
            // What came and went in quiet hours leaves nothing by which it could be known that it is told.
            if !is_held_back {
                self.looked(at);
            }
        }
        *lock(&self.again_at) = Some(Instant::now() + FOLD_TIME_MAX);
        Ok(())
    }

    fn looked(&self, at: Moment) {
        let mut telling = lock(&self.telling);
        self.states.look(&mut |fold| _ = telling.looked(fold.worst_first(), at));
    }

    async fn send(&self, notices: &[Notification], at: Moment, courier: &Courier) -> Result<(), NotTaken> {
        // Who only knows how things are is not told how many there are.
        let is_said = |notice: &&Notification| !(courier.format.is_of_states() && notice.what == What::More);
        let said: Vec<_> = notices.iter().filter(is_said).map(|notice| Said::notice(notice, &self.node)).collect();
        let (announced, kept) = {
            let mut telling = lock(&self.telling);
            let announced: Vec<_> = notices.iter().flat_map(|notice| telling.announce(notice)).collect();
            (announced, telling.encode())
        };
        // Where the disk does not take it, a person is told all the same.
        let _ = !announced.is_empty() && self.cursor.keep(&kept).await;
        if let Err(not_taken) = courier.take(&said, at.now).await {
            if !may_be_taken(&not_taken) {
                lock(&self.telling).withdraw(&announced);
            }
            return Err(not_taken);
        }
        let mut telling = lock(&self.telling);
        notices.iter().for_each(|notice| telling.sent(notice, at));
        Ok(())
    }

    fn look(&self, at: Moment) -> Due {
        let (telling, mut look) = (lock(&self.telling), Due::default());
        let wants = |level: StateLevel, kind: &str| self.filter.takes_problem(Level::from(level), kind);
        self.states.look(&mut |fold| {
            let silenced_until = |subject: &str| fold.silences().until(subject, at.now);
            look = telling.look(fold.worst_first(), wants, silenced_until, at);
        });
        look
    }
}

/// What a clock on the wall shows at this time, Unix milliseconds.
fn moment(now: i64, zone: TimeZone) -> Moment {
    let time = zone.time_of_day(now);
    let mut parts = time.split(':').map(|part| part.parse::<u16>().unwrap_or_default());
    let minute_of_day = parts.next().unwrap_or_default() * 60 + parts.next().unwrap_or_default();
    Moment { now, minute_of_day, day_of_week: zone.day_of_week(now) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_what_the_clock_on_the_wall_shows() {
        // Thursday 28 May 2026, 20:26:40.
        let Moment { now, minute_of_day, day_of_week } = moment(1_780_000_000_000, TimeZone::Utc);
        assert_eq!((now, minute_of_day, day_of_week), (1_780_000_000_000, 20 * 60 + 26, 4));
    }
}
