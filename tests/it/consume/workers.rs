//! What a program deals out to workers, gets again because it did not commit it, and is rid of at last.

use super::*;

/// Workers, and pools that events are about.
const WORKERS: u32 = 4;
const POOLS: u32 = 20;

fn pool_of(event: &ConsumedEvent) -> String {
    EventView::decode(&event.encoded).expect("an event").subject_name()
}

fn by_worker(events: &[ConsumedEvent]) -> Vec<Vec<u64>> {
    let of = |worker| events.iter().filter(|event| event.worker == worker).map(|event| event.sequence).collect();
    (0..WORKERS).map(of).collect()
}

async fn emit_about_pools(client: &Client, count: u32) {
    let events: Vec<_> = (0..count).map(|number| pool(number % POOLS)).collect();
    for chunk in events.chunks(500) {
        client.emit(chunk, Durability::Committed).await.expect("taken");
    }
}

#[tokio::test]
async fn workers_share_what_comes_and_all_about_one_subject_is_one_workers_in_order() {
    let site = Site::new().await;
    emit_about_pools(&site.client, 1_000).await;
    let workers = Attach { workers: WORKERS, ..attach("crew") };
    let mut first = site.client.consume(workers.clone()).await.expect("attached");
    let events = take(&mut first, 1_000).await;
    for number in 0..POOLS {
        let of_pool: Vec<_> = events.iter().filter(|event| pool_of(event) == format!("p{number}")).collect();
        assert_eq!(of_pool.len(), 50);
        assert!(of_pool.iter().all(|event| event.worker == of_pool[0].worker), "p{number} has one worker");
        assert!(of_pool.is_sorted_by_key(|event| event.sequence), "in order");
    }
    let shares = by_worker(&events);
    assert!(shares.iter().filter(|share| !share.is_empty()).count() > 1, "there is something to share: {shares:?}");
    // Each commits for itself; one does not.
    let idle = (0..WORKERS).rfind(|worker| !shares[*worker as usize].is_empty()).expect("somebody has some");
    for worker in (0..WORKERS).filter(|worker| *worker != idle) {
        if let Some(last) = events.iter().rfind(|event| event.worker == worker) {
            first.commit_event(last).await.expect("said");
        }
    }
    first.finish().await.expect("heard");
    let mut second = site.client.consume(workers).await.expect("attached");
    let first = shares[idle as usize][0];
    let again = take(&mut second, 1_001 - usize::try_from(first).expect("few")).await;
    let lowest = again.iter().map(|event| event.sequence).min();
    assert_eq!(lowest, Some(first), "the cursor stood before the first that is not committed");
    let of_idle = || again.iter().filter(|event| event.worker == idle);
    assert_eq!(of_idle().count(), shares[idle as usize].len());
    assert!(of_idle().all(|event| event.deliveries == 2), "{again:?}");
}

#[tokio::test]
async fn what_is_not_committed_in_time_comes_again_in_order_and_is_counted() {
    let site = Site::new().await;
    emit(&site.client, 0..10).await;
    let patient = Attach { redeliver_milliseconds: 300, ..attach("slow") };
    let mut consumption = site.client.consume(patient.clone()).await.expect("attached");
    let first = take(&mut consumption, 10).await;
    assert!(first.iter().all(|event| event.deliveries == 1));
    consumption.commit("routine", 4).await.expect("said");
    let second = take(&mut consumption, 6).await;
    assert_eq!(sequences(&second), (5..=10).collect::<Vec<_>>());
    assert!(second.iter().all(|event| event.deliveries == 2), "{second:?}");
    // Also what came meanwhile waits behind it, and a late commit counts.
    emit(&site.client, 10..12).await;
    consumption.commit("routine", 10).await.expect("said");
    let third = take(&mut consumption, 2).await;
    assert_eq!(sequences(&third), [11, 12]);
    consumption.commit("routine", 11).await.expect("said");
    consumption.finish().await.expect("heard");
    let mut consumption = site.client.consume(patient).await.expect("attached");
    let last = take(&mut consumption, 1).await;
    assert!(last[0].sequence == 12 && last[0].deliveries > 1, "a count outlives the call: {last:?}");
}

#[tokio::test]
async fn what_is_never_committed_becomes_a_dead_letter_of_its_consumer_and_the_rest_goes_on() {
    let site = Site::new().await;
    emit(&site.client, 0..6).await;
    let bounded = Attach { redeliver_milliseconds: 100, deliveries_max: 3, ..attach("picky") };
    let mut consumption = site.client.consume(bounded).await.expect("attached");
    let (mut came, mut refused) = (Vec::new(), None);
    while refused.is_none() || came.last() != Some(&6) {
        match next(&mut consumption).await {
            Consumed::Run(run) => {
                for event in run.iter().filter(|event| event.lane == "routine") {
                    came.push(event.sequence);
                    // The third is poison: the program stops at it.
                    if event.sequence == 3 {
                        break;
                    }
                    consumption.commit_event(event).await.expect("said");
                }
            }
            Consumed::Gap(gap) => refused = Some(gap),
            Consumed::CaughtUp => {}
        }
    }
    assert_eq!(came, [1, 2, 3, 3, 3, 4, 5, 6], "alone as soon as it comes again");
    let gap = refused.expect("it is told");
    assert_eq!((gap.first_sequence, gap.last_sequence, gap.count, gap.cause.as_str()), (3, 3, 1, "refused"));
    let letters = site.dead_letters.list().expect("readable");
    let [(id, _)] = &letters[..] else { panic!("one letter: {letters:?}") };
    assert!(id.to_string().starts_with("program.picky/routine-3-"), "{id}");
    let letter = site.dead_letters.get(id).expect("whole");
    assert_eq!((letter.refusals, letter.message.as_str()), (3, "given 3 times and not committed"));
}

#[tokio::test]
async fn a_program_that_dies_of_an_event_gets_rid_of_it_and_of_no_other() {
    let site = Site::new().await;
    emit(&site.client, 0..6).await;
    let bounded = Attach { deliveries_max: 2, ..attach("mortal") };
    let mut came = Vec::new();
    while came.last() != Some(&6) {
        let mut consumption = loop {
            // The end of the call before is known a moment later.
            match site.client.consume(bounded.clone()).await {
                Ok(consumption) => break consumption,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        'alive: while came.last() != Some(&6) {
            let Consumed::Run(run) = next(&mut consumption).await else { continue };
            for event in run.iter().filter(|event| event.lane == "routine") {
                came.push(event.sequence);
                if event.sequence == 3 {
                    break 'alive;
                }
            }
            // Of a run that kills it, it has committed nothing.
            if let Some(last) = run.iter().rfind(|event| event.lane == "routine") {
                consumption.commit_event(last).await.expect("said");
            }
        }
    }
    assert_eq!(came, [1, 2, 3, 1, 2, 3, 4, 5, 6]);
    assert_eq!(site.dead_letters.count(), 1);
}

#[tokio::test]
async fn what_had_to_make_room_before_it_could_come_again_is_a_gap_with_a_record() {
    let site = Site::with(Gate::open(), 28 << 20).await;
    emit(&site.client, 0..100).await;
    let bound = Some(Bound::Window(100));
    let patient = Attach { redeliver_milliseconds: 1_000, bound, ..attach("patient") };
    let mut consumption = site.client.consume(patient).await.expect("attached");
    take(&mut consumption, 100).await;
    overfill(&site).await;
    let (mut gap, mut is_recorded) = (None, false);
    while gap.is_none() || !is_recorded {
        match next(&mut consumption).await {
            Consumed::Gap(its) if its.lane == "routine" && its.first_sequence == 1 => gap = Some(its),
            Consumed::Run(run) => {
                let consumer = |event: &ConsumedEvent| loss_record_consumer(&EventView::decode(&event.encoded).ok()?);
                is_recorded |= run.iter().filter_map(consumer).any(|consumer| consumer == "program.patient");
                let Some(urgent) = run.iter().rfind(|event| event.lane == "urgent") else { continue };
                consumption.commit_event(urgent).await.expect("said");
            }
            Consumed::Gap(_) | Consumed::CaughtUp => {}
        }
    }
    assert_eq!(gap.map(|gap| (gap.last_sequence, gap.count)), Some((100, 100)), "what it was given, and no more");
}
