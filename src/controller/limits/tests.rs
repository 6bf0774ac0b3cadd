use super::*;

fn limits() -> Limits {
    Limits { requests: Some(10), events: Some(100), bytes: Some(1000), calls_max: 3, connections_max: 2 }
}

fn reached<T>(result: Result<T, Reached>) -> Option<(Limit, Duration)> {
    result.err().map(|reached| (reached.limit, reached.after))
}

#[test]
fn a_node_may_call_as_often_as_its_rate_and_what_it_has_saved_up() {
    let (limits, start) = (NodeLimits::new(limits()), Instant::now());
    let calls = |at| (0..1000).take_while(|_| limits.enter("a", at).is_ok()).count();
    assert_eq!(calls(start), 40, "four seconds are saved up");
    assert_eq!(reached(limits.enter("a", start)), Some((Limit::Requests, Duration::from_millis(100))));
    assert_eq!(calls(start + Duration::from_secs(2)), 20);
    assert_eq!(calls(start + Duration::from_secs(60)), 40, "and no more than that");
    assert!(limits.enter("b", start).is_ok(), "another node is not concerned");
}

#[test]
fn what_is_said_on_a_stream_counts_as_a_call() {
    let (limits, start) = (NodeLimits::new(limits()), Instant::now());
    let call = limits.enter("a", start).expect("a call");
    assert_eq!((0..1000).take_while(|_| call.may_say(start).is_ok()).count(), 39);
    assert_eq!(reached(limits.enter("a", start)), Some((Limit::Requests, Duration::from_millis(100))));
}

#[test]
fn a_batch_is_charged_when_it_was_read_and_the_next_waits_until_it_is_paid() {
    let (limits, start) = (NodeLimits::new(limits()), Instant::now());
    let call = limits.enter("a", start).expect("one call");
    assert_eq!(call.may_send(start), Ok(()));
    call.charge(1400, 0, start);
    assert_eq!(reached(call.may_send(start)), Some((Limit::Events, Duration::from_millis(10_010))));
    assert_eq!(call.may_send(start + Duration::from_secs(11)), Ok(()));
    call.charge(0, 9000, start + Duration::from_secs(11));
    let (limit, after) = reached(call.may_send(start + Duration::from_secs(11))).expect("in debt");
    assert_eq!((limit, after.as_millis()), (Limit::Bytes, 5001));
}

#[test]
fn calls_and_connections_at_once_count_until_they_end() {
    let (limits, start) = (NodeLimits::new(limits()), Instant::now());
    let mut calls: Vec<_> = (0..3).map(|_| limits.enter("a", start).expect("a call")).collect();
    assert_eq!(reached(limits.enter("a", start)), Some((Limit::Calls, BUSY_WAIT)));
    calls.pop();
    assert!(limits.enter("a", start).is_ok());
    let seats: Vec<_> = (0..2).map(|_| limits.sit("a", start).expect("a seat")).collect();
    assert_eq!(reached(limits.sit("a", start)), Some((Limit::Connections, BUSY_WAIT)));
    drop(seats);
    assert!(limits.sit("a", start).is_ok());
}

#[test]
fn what_is_kept_of_nodes_is_bounded_and_the_idle_ones_go_first() {
    let (limits, start) = (NodeLimits::bounded(limits(), 2), Instant::now());
    let busy = limits.enter("busy", start).expect("a call");
    drop(limits.enter("idle", start).expect("a call"));
    // Its bucket is not full again yet: forgetting it would give it a new one.
    assert_eq!(reached(limits.enter("third", start)), Some((Limit::Nodes, ROOM_WAIT)));
    let later = start + Duration::from_secs(5);
    assert!(limits.enter("third", later).is_ok());
    assert_eq!(limits.nodes(), 2);
    assert_eq!(reached(limits.enter("fourth", later)), Some((Limit::Nodes, ROOM_WAIT)));
    drop(busy);
    assert!(limits.enter("fourth", later + SWEEP_INTERVAL).is_ok());
    assert_eq!(limits.nodes(), 1, "both others have gone");
}

#[test]
fn without_rates_nothing_but_what_is_open_counts() {
    let (limits, start) = (NodeLimits::new(Limits::default()), Instant::now());
    for _ in 0..100_000 {
        let call = limits.enter("a", start).expect("no limit");
        assert_eq!(call.may_send(start), Ok(()));
        call.charge(10_000, 4 << 20, start);
    }
}
