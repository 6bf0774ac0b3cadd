//! Events into the log and out of it, as fast as it goes.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::BenchError;
use crate::{
    bench::sample::{self, Pool},
    event_log::{Cursor, Draft, EventLog, Lane, LogError, Read},
};

/// The most that a reader takes at a time: a batch of the profile `high-throughput`.
const BATCH_EVENTS: usize = 500;
const BATCH_BYTES: usize = 3 * 1024 * 1024;

/// How long a reader that has nothing to read waits.
const PAUSE: Duration = Duration::from_millis(1);

/// Appends `count` events, and ends when they are durable.
///
/// # Errors
/// When the log refuses.
pub(super) async fn append(log: &EventLog, pool: &Pool, count: u64) -> Result<Duration, LogError> {
    let started = Instant::now();
    let mut next = log.next_sequence(Lane::Routine);
    for some in pool.portions(count) {
        next = log.append(Lane::Routine, &sample::drafts(some)).await?;
    }
    log.commit(Lane::Routine, next).await?;
    Ok(started.elapsed())
}

/// As [`append`], with events that the log has not seen before.
///
/// # Errors
/// When the log refuses.
pub(super) async fn append_new(log: &EventLog, pool: &mut Pool, count: u64) -> Result<Duration, LogError> {
    append_new_as(sample::drafts, log, pool, count).await
}

/// The same, with these drafts of them.
///
/// # Errors
/// When the log refuses.
pub(super) async fn append_new_as(
    drafts: fn(&[Vec<u8>]) -> Vec<Draft<'_>>,
    log: &EventLog,
    pool: &mut Pool,
    count: u64,
) -> Result<Duration, LogError> {
    let (started, mut rest) = (Instant::now(), count);
    let mut next = log.next_sequence(Lane::Routine);
    while rest > 0 {
        pool.renew();
        let pass = rest.min(pool.len());
        for some in pool.portions(pass) {
            next = log.append(Lane::Routine, &drafts(some)).await?;
        }
        rest -= pass;
    }
    log.commit(Lane::Routine, next).await?;
    Ok(started.elapsed())
}

/// Reads from the cursor's place to the end of what is durable, and on until `is_last` says of that end that no more will
/// come; moves the cursor with each batch. Gives the events read. Blocking.
///
/// # Errors
/// When the log cannot read, or something is gone.
pub(super) fn drain(log: &EventLog, cursor: &Cursor, is_last: impl Fn(u64) -> bool) -> Result<u64, BenchError> {
    let mut reader = log.reader(Lane::Routine, cursor.next(Lane::Routine));
    let mut count = 0;
    loop {
        match reader.read(BATCH_EVENTS, BATCH_BYTES)? {
            Read::Run(run) => {
                count += run.count;
                cursor.commit(Lane::Routine, run.next_sequence());
            }
            Read::Gap(gap) => return Err(BenchError::Gone(gap)),
            Read::End if is_last(reader.position()) => return Ok(count),
            Read::End => thread::sleep(PAUSE),
        }
    }
}

/// The consumer that drains.
///
/// # Errors
/// When the log has too many.
pub(super) fn consumer(log: &EventLog) -> Result<Cursor, BenchError> {
    log.cursor("bench").ok_or(BenchError::Cursor)
}
