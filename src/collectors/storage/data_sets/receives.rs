//! Streams that were being received and have left something half done: a receive that can be resumed (`zfs receive -s`) keeps what has
//! come, with a word that says how far it is. One whose word has not moved between two looks has been torn.
//!
//! Always holds: a receive is told as torn once, and what ends it once. That it goes on, and that one which cannot be resumed is
//! torn, the hook of ZED tells (docs/hooks.md): nothing is left of it to look at.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    collectors::finding::Finding,
    event::Level,
    order::Gather as _,
    schema::events::{StorageTransferPayload, storage_transfer_payload::StorageTransferOperation as Operation},
};

const COMPONENT: &str = "receives";

/// Data sets with half a stream, by name.
pub(super) type Known = BTreeMap<String, Receive>;

/// How torn ones have ended, by name; none where somebody else tells it.
pub(super) type Ends = BTreeMap<String, Option<Operation>>;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Receive {
    /// How far it is, in a word of ZFS.
    token: String,
    /// What the data set holds beside it, bytes.
    referenced: u64,
    /// It has stood still, and that was told; it may have gone on since.
    was_torn: bool,
}

/// A line of the list.
pub(super) struct Line<'a> {
    name: &'a str,
    referenced: u64,
    /// Empty where nothing is half done.
    token: &'a str,
}

/// `tank/copy 126074880 0 126009344 0 1-e604ea4bf-…`; lines that make no sense are passed over.
pub(super) fn parse(list: &str) -> Vec<Line<'_>> {
    super::whole_lines(list).filter_map(Line::parse).collect()
}

impl Line<'_> {
    fn parse(line: &str) -> Option<Line<'_>> {
        let mut fields = line.split('\t');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let referenced = fields.nth(2)?.parse().ok()?;
        let token = fields.nth(1)?.trim();
        Some(Line { name, referenced, token: if token == "-" { "" } else { token } })
    }
}

/// Those that are half done now; a look alone does not tell whether one moves.
pub(super) fn follow(lines: Vec<Line<'_>>, before: Option<&Known>) -> Known {
    let half = lines.into_iter().filter(|line| !line.token.is_empty());
    let receive = |line: Line<'_>| {
        let was = before.and_then(|before| before.get(line.name));
        let was_torn = was.is_some_and(|was| was.was_torn || was.token == line.token);
        (line.name.to_owned(), Receive { token: line.token.to_owned(), referenced: line.referenced, was_torn })
    };
    half.map(receive).gather()
}

/// How those have ended that were torn: what was given up has left the data set as it was, or none. `is_told` says that who runs with ZFS
/// tells of what has come whole.
pub(super) fn ends(lines: &[Line<'_>], before: Option<&Known>, is_told: bool) -> Ends {
    let torn = before.into_iter().flatten().filter(|(_, receive)| receive.was_torn);
    let end = |(name, was): (&String, &Receive)| {
        let operation = match lines.iter().find(|line| line.name == name) {
            Some(line) if !line.token.is_empty() => return None,
            Some(line) if line.referenced != was.referenced => (!is_told).then_some(Operation::Completed),
            Some(_) | None => Some(Operation::Cancelled),
        };
        Some((name.clone(), operation))
    };
    torn.filter_map(end).gather()
}

/// What has changed.
pub(super) fn diff(before: &Known, after: &Known, ends: &Ends) -> Vec<Finding> {
    let was_torn = |name: &String| before.get(name).is_some_and(|receive| receive.was_torn);
    let torn = after.iter().filter(|(name, receive)| receive.was_torn && !was_torn(name));
    let ended = ends.iter().filter(|(name, _)| was_torn(name) && !after.contains_key(*name));
    let torn = torn.map(|(name, _)| finding(name, Operation::Failed));
    torn.chain(ended.filter_map(|(name, end)| end.map(|end| finding(name, end)))).collect()
}

fn finding(name: &str, operation: Operation) -> Finding {
    let (level, action) = match operation {
        Operation::Failed => (Level::Error, "torn"),
        Operation::Completed => (Level::Info, "complete"),
        _ => (Level::Info, "given up"),
    };
    let payload =
        StorageTransferPayload { destination: name.to_owned(), operation: operation.into(), ..Default::default() };
    Finding::new(level, payload, COMPONENT, action)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::collectors::finding::sentences;

    /// What is told at each of these answers of `zfs list`.
    fn told(lists: &[&str], is_told: bool) -> Vec<String> {
        let (mut known, mut told) = (None::<Known>, Vec::new());
        for list in lists {
            let lines = parse(list);
            let ends = ends(&lines, known.as_ref(), is_told);
            let after = follow(lines, known.as_ref());
            told.push(sentences(&diff(&known.unwrap_or_default(), &after, &ends)).join("; "));
            known = Some(after);
        }
        told
    }

    const AT_10: &str = "tank\t900\t0\t96\t0\t-\ntank/copy\t500\t0\t400\t0\t1-a-10\n";
    const AT_20: &str = "tank\t900\t0\t96\t0\t-\ntank/copy\t600\t0\t400\t0\t1-a-20\n";
    const GIVEN_UP: &str = "tank\t900\t0\t96\t0\t-\ntank/copy\t400\t0\t400\t0\t-\n";
    const WHOLE: &str = "tank\t900\t0\t96\t0\t-\ntank/copy\t700\t0\t700\t0\t-\n";
    const GONE: &str = "tank\t900\t0\t96\t0\t-\n";

    #[test]
    fn a_receive_that_does_not_move_is_torn_and_its_end_is_told_once() {
        let (failed, done) = ("Transfer to tank/copy has failed", "Transfer to tank/copy is complete");
        let given_up = "Transfer to tank/copy was cancelled";
        for (course, expected) in [
            (&[GONE, AT_10, AT_20, WHOLE][..], &["", "", "", ""][..]),
            (&[AT_10, AT_10, AT_10, AT_20, WHOLE], &["", failed, "", "", done]),
            (&[AT_10, AT_10, WHOLE, WHOLE], &["", failed, done, ""]),
            (&[AT_10, AT_10, GIVEN_UP, GIVEN_UP], &["", failed, given_up, ""]),
            (&[AT_10, AT_10, GONE, GONE], &["", failed, given_up, ""]),
            (&[AT_10, GONE], &["", ""]),
        ] {
            assert_eq!(told(course, false), expected, "{course:?}");
        }
        assert_eq!(told(&[AT_10, AT_10, WHOLE], true), ["", failed, ""], "the hook tells that it is whole");
        assert_eq!(told(&[AT_10, AT_10, GONE], true), ["", failed, given_up]);
    }

    proptest! {
        #[test]
        fn no_list_makes_it_panic_and_one_that_is_cut_invents_nothing(list in "([a-z/]{0,6}\t|[0-9]{0,22}\t|-|\n|none){0,40}", at in 0usize..80) {
            let _ = follow(parse(&list), None);
            let cut = follow(parse(&AT_10[..at.min(AT_10.len())]), None);
            prop_assert!(cut.is_empty() || at >= AT_10.len(), "{cut:?}");
        }
    }
}
