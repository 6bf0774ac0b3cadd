//! `rodent events --as NAME`: events behind a cursor that the agent keeps; what was printed is committed.

use super::Printer;
use crate::{
    cli::failure::tell,
    client::{
        Attach, Bound, Client, ClientError, Consumed, ConsumedEvent, ConsumedGap, Consumption, QueryResponse, Start,
        StoredEvent, start,
    },
    terminal::grouped,
};

/// How far to go.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    /// So many events; none for all.
    pub(super) limit: Option<u64>,
    /// On with what comes.
    pub(super) follow: bool,
}

/// Prints until everything stored was printed, or as far as asked, or nobody reads any more.
///
/// # Errors
/// When the agent refuses or goes, or what is printed cannot be written.
pub(super) async fn run(
    client: &Client,
    (name, filter, since): (String, Vec<String>, i64),
    extent: Extent,
    printer: &mut Printer,
) -> Result<(), crate::cli::Failure> {
    let from = (since > 0).then_some(Start { start: Some(start::Start::Time(since)) });
    let bound = extent.limit.and_then(|limit| u32::try_from(limit.clamp(1, 10_000)).ok()).map(Bound::Window);
    let attach = Attach { consumer: name, from, filter, bound, ..Attach::default() };
    let mut consumption = client.consume(attach).await?;
    let mut left = extent.limit.unwrap_or(u64::MAX);
    while left > 0
        && let Some(consumed) = next(&mut consumption).await?
    {
        match consumed {
            Consumed::Run(mut events) => {
                events.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                left = left.saturating_sub(events.len() as u64);
                let last = events.last().map(|event| (event.lane.clone(), event.sequence));
                let events = events.into_iter().map(stored).collect();
                let page = QueryResponse { events, ..QueryResponse::default() };
                if !printer.page(&page)? {
                    // Nobody has read it.
                    return Ok(());
                }
                if let Some((lane, sequence)) = last {
                    consumption.commit(&lane, sequence).await?;
                }
            }
            Consumed::Gap(gap) => tell(&missing(&gap)),
            Consumed::CaughtUp if extent.follow => {}
            Consumed::CaughtUp => break,
        }
    }
    consumption.finish().await?;
    Ok(())
}

/// What comes next; `None` at the end and at Ctrl-C.
async fn next(consumption: &mut Consumption) -> Result<Option<Consumed>, ClientError> {
    tokio::select! {
        next = consumption.next() => next,
        _ = tokio::signal::ctrl_c() => Ok(None),
    }
}

fn stored(event: ConsumedEvent) -> StoredEvent {
    let ConsumedEvent { lane, sequence, encoded, .. } = event;
    StoredEvent { event: encoded, lane, sequence, ..StoredEvent::default() }
}

fn missing(gap: &ConsumedGap) -> String {
    let ConsumedGap { lane, first_sequence, last_sequence, count, cause, .. } = gap;
    let cause = if cause.is_empty() { String::new() } else { format!(" ({cause})") };
    let count = grouped(*count);
    format!(
        "rodent: {count} events are missing here, numbers {first_sequence} to {last_sequence} of the {lane} lane{cause}"
    )
}
