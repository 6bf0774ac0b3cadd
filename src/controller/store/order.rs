//! Stored events in an order to look at. Batches of a lane may arrive in any order; whoever looks wants them by number.

use std::collections::BTreeMap;

use super::ArrivedEvent;

/// Puts the events of each lane in the order of their sequences, within the places that the lane has among the others:
/// lanes and nodes stay as they arrived beside each other. Epochs of a lane are not mixed.
pub(super) fn sort_lanes(events: &mut [ArrivedEvent]) {
    let mut places: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (index, event) in events.iter().enumerate() {
        if let Some(place) = &event.place {
            let lane = (event.node.clone(), event.epoch.clone(), place.lane.clone());
            places.entry(lane).or_default().push(index);
        }
    }
    for indices in places.into_values() {
        let mut lane: Vec<_> = indices.iter().map(|index| events[*index].clone()).collect();
        lane.sort_by_key(|event| event.place.as_ref().map(|place| place.sequence));
        for (index, event) in indices.into_iter().zip(lane) {
            events[index] = event;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::json::Place;

    fn event((node, epoch, lane, sequence): (&str, &str, &str, u64)) -> ArrivedEvent {
        let place = (sequence > 0).then(|| Place { lane: lane.into(), sequence });
        ArrivedEvent {
            row: 0,
            node: node.into(),
            epoch: epoch.into(),
            place,
            received_at: 0,
            bytes: bytes::Bytes::new(),
        }
    }

    #[test]
    fn each_lane_is_sorted_in_its_own_places() {
        let arrived = [
            ("n", "e1", "routine", 3),
            ("m", "e1", "routine", 9),
            ("n", "e1", "urgent", 2),
            ("n", "", "", 0),
            ("n", "e1", "routine", 1),
            ("n", "e2", "routine", 2),
            ("n", "e1", "urgent", 1),
            ("n", "e2", "routine", 1),
            ("n", "e1", "routine", 2),
        ];
        let sorted = [
            ("n", "e1", "routine", 1),
            ("m", "e1", "routine", 9),
            ("n", "e1", "urgent", 1),
            ("n", "", "", 0),
            ("n", "e1", "routine", 2),
            ("n", "e2", "routine", 1),
            ("n", "e1", "urgent", 2),
            ("n", "e2", "routine", 2),
            ("n", "e1", "routine", 3),
        ];
        let mut events = arrived.map(event);
        sort_lanes(&mut events);
        assert_eq!(events, sorted.map(event));
    }
}
