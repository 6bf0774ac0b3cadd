//! How dead letters are printed: a row each, whole in words, or as JSON with the event in the form that `rodent emit
//! --json` takes.

use std::{collections::BTreeMap, io};

use serde_json::{Value, json};

use super::super::kinds::labelled;

use crate::{
    client::ListedDeadLetter,
    event::{
        EventView, Summary,
        json::{Place, to_value},
    },
    schema::local::DeadLetter,
    terminal::{Cell, Column, Output, Screen, TextTable, TimeZone, Tone, human_bytes},
};

/// Digits of the epoch that are shown where two letters have the same lane and sequence.
const EPOCH_SHOWN: usize = 8;

pub(super) fn list(
    letters: &[ListedDeadLetter],
    node: &str,
    output: Output,
    clock: TimeZone,
    screen: &mut Screen,
) -> io::Result<()> {
    match output {
        Output::Table if letters.is_empty() && screen.is_terminal() => screen.line("There are no dead letters."),
        Output::Table => table(letters, clock).print(screen),
        Output::Json => screen.json_document(&letters.iter().map(|letter| value(letter, node)).collect::<Vec<_>>()),
        Output::Jsonl => letters.iter().try_for_each(|letter| screen.json(&value(letter, node))),
    }
}

pub(super) fn show(
    letters: &[ListedDeadLetter],
    node: &str,
    output: Output,
    clock: TimeZone,
    screen: &mut Screen,
) -> io::Result<()> {
    match (output, letters) {
        (Output::Json, [letter]) => screen.json_document(&value(letter, node)),
        (Output::Json | Output::Jsonl, _) => list(letters, node, output, clock, screen),
        (Output::Table, _) => letters.iter().enumerate().try_for_each(|(number, letter)| {
            if number > 0 {
                screen.line("")?;
            }
            whole(letter, node, clock, screen)
        }),
    }
}

/// What was answered goes below its row where it is too long.
fn table(letters: &[ListedDeadLetter], clock: TimeZone) -> TextTable {
    let mut table = TextTable::new(&[
        Column::left("ID"),
        Column::left("REFUSED"),
        Column::left("KIND").elastic(16),
        Column::left("SUBJECT").elastic(8),
        Column::left("ANSWER"),
    ]);
    for (id, letter) in short_ids(letters).into_iter().zip(letters) {
        table.row(match &letter.letter {
            Some(refused) => row(id, refused, clock),
            None => [id.into(), "".into(), "".into(), "".into(), Cell::toned(letter.damage.as_str(), Tone::Bad)],
        });
    }
    table
}

fn row(id: String, letter: &DeadLetter, clock: TimeZone) -> [Cell; 5] {
    let event = EventView::decode(&letter.event).ok();
    let (kind, tone) = match &event {
        Some(event) => (event.kind().as_str().to_owned(), Tone::of(event.level())),
        None => ("cannot be decoded".to_owned(), Tone::Bad),
    };
    [
        id.into(),
        Cell::toned(clock.time(letter.refused_at), Tone::Dim),
        Cell::toned(kind, tone),
        event.map(|event| Summary::of(&event).subject).unwrap_or_default().into(),
        answer(letter).into(),
    ]
}

fn answer(letter: &DeadLetter) -> String {
    if letter.message.is_empty() { letter.code.clone() } else { format!("{}: {}", letter.code, letter.message) }
}

/// As much of each identifier as names the letter.
fn short_ids(letters: &[ListedDeadLetter]) -> Vec<String> {
    let places = letters.iter().map(|letter| place_of(&letter.id));
    let mut times = BTreeMap::new();
    places.clone().for_each(|place| *times.entry(place).or_insert(0) += 1);
    let short = |(letter, place): (&ListedDeadLetter, &str)| match times.get(place) {
        Some(1) => place.to_owned(),
        _ => letter.id.chars().take(place.len() + 1 + EPOCH_SHOWN).collect(),
    };
    letters.iter().zip(places).map(short).collect()
}

/// `CONSUMER/LANE-SEQUENCE` of `CONSUMER/LANE-SEQUENCE-EPOCH`.
fn place_of(id: &str) -> &str {
    id.rsplit_once('-').map_or(id, |(place, _)| place)
}

fn whole(listed: &ListedDeadLetter, node: &str, clock: TimeZone, screen: &mut Screen) -> io::Result<()> {
    let Some(letter) = &listed.letter else {
        let damage = format!("{} in its file, {}", human_bytes(listed.bytes), listed.damage);
        return labelled(&[("letter", listed.id.clone()), ("damaged", damage)], screen);
    };
    let times = if letter.refusals == 1 { "once".to_owned() } else { format!("{} times", letter.refusals) };
    let refused = format!("{times}, last at {}", clock.time(letter.refused_at));
    let all = [
        ("letter", listed.id.clone()),
        ("refused", refused),
        ("by", format!("{} ({})", letter.consumer, letter.target)),
        ("answer", answer(letter)),
        ("boot", format!("{}, clock {}", letter.boot_id, letter.clock_state)),
    ];
    labelled(&all, screen)?;
    screen.json_document(&event(letter, node))
}

/// The event as `rodent events` prints it; `null` where the bytes are no event.
fn event(letter: &DeadLetter, node: &str) -> Value {
    let place = Place { lane: letter.lane.clone(), sequence: letter.sequence };
    match EventView::decode(&letter.event) {
        Ok(event) => to_value(&event, Some(node).filter(|node| !node.is_empty()), Some(&place)),
        Err(_) => Value::Null,
    }
}

fn value(listed: &ListedDeadLetter, node: &str) -> Value {
    let Some(letter) = &listed.letter else {
        return json!({ "id": listed.id, "bytes": listed.bytes, "damage": listed.damage });
    };
    json!({
        "id": listed.id,
        "lane": letter.lane,
        "sequence": letter.sequence,
        "log_epoch": letter.log_epoch,
        "boot_id": letter.boot_id,
        "clock_state": letter.clock_state,
        "refused_at": letter.refused_at,
        "refusals": letter.refusals,
        "code": letter.code,
        "message": letter.message,
        "consumer": letter.consumer,
        "target": letter.target,
        "bytes": listed.bytes,
        "event": event(letter, node),
    })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::{
        event::Level,
        schema::{
            Payload as _,
            events::{Event, StoragePoolPayload},
        },
        terminal::page::printed,
    };

    fn letter(sequence: u64, epoch: &str, message: &str) -> ListedDeadLetter {
        let pool = StoragePoolPayload { pool_name: "tank".to_owned(), ..Default::default() };
        let event = Event {
            event_id: "an-identifier".to_owned(),
            level: Level::Warn.to_wire().into(),
            timestamp: 1_762_767_000_000,
            event_payload: Some(pool.into_event_payload()),
            ..Default::default()
        };
        let letter = DeadLetter {
            event: event.encode_to_vec().into(),
            lane: "routine".to_owned(),
            sequence,
            refused_at: 1_762_767_000_000,
            refusals: 2,
            code: "InvalidArgument".to_owned(),
            message: message.to_owned(),
            consumer: "uplink".to_owned(),
            target: "ctl:8443".to_owned(),
            ..Default::default()
        };
        ListedDeadLetter {
            id: format!("uplink/routine-{sequence}-{epoch}"),
            letter: Some(letter),
            damage: String::new(),
            bytes: 200,
        }
    }

    const EPOCH: &str = "0192f3a52c1e4b7d9f3a52c1e4b7d9aa";

    fn letters() -> [ListedDeadLetter; 3] {
        let damaged = ListedDeadLetter {
            letter: None,
            damage: "the dead letter is damaged: its checksum is wrong".to_owned(),
            ..letter(4713, EPOCH, "")
        };
        [letter(4711, EPOCH, "the payload has no pool of that name here"), letter(4712, EPOCH, "no"), damaged]
    }

    #[test]
    fn a_list_fits_in_eighty_columns_and_names_each_letter_and_what_is_wrong_with_it() {
        let text = printed(Some(80), |screen| list(&letters(), "", Output::Table, TimeZone::Utc, screen));
        assert_eq!(
            text,
            "ID                   REFUSED               KIND          SUBJECT\n    ANSWER\n\
             uplink/routine-4711  2025-11-10T09:30:00Z  storage.pool  tank\n    InvalidArgument: the payload has no pool of that name here\n\
             uplink/routine-4712  2025-11-10T09:30:00Z  storage.pool  tank\n    InvalidArgument: no\n\
             uplink/routine-4713\n    the dead letter is damaged: its checksum is wrong\n"
        );
        assert!(text.lines().all(|line| line.len() <= 80));
        assert_eq!(printed(None, |screen| list(&[], "", Output::Table, TimeZone::Utc, screen)), "");
        let told = printed(Some(80), |screen| list(&[], "", Output::Table, TimeZone::Utc, screen));
        assert_eq!(told, "There are no dead letters.\n", "silence looks like a failure");
    }

    #[test]
    fn letters_of_the_same_place_are_told_apart_by_their_epochs() {
        let other = "f192f3a52c1e4b7d9f3a52c1e4b7d9aa";
        let letters = [letter(1, EPOCH, ""), letter(1, other, ""), letter(2, EPOCH, "")];
        assert_eq!(short_ids(&letters), ["uplink/routine-1-0192f3a5", "uplink/routine-1-f192f3a5", "uplink/routine-2"]);
    }

    #[test]
    fn one_letter_is_shown_whole_and_nothing_that_the_controller_said_is_cut() {
        let said = "the payload names a pool that the controller has never heard of, and so it is not taken";
        let text = printed(Some(60), |screen| {
            show(&[letter(4711, EPOCH, said)], "nas-1", Output::Table, TimeZone::Utc, screen)
        });
        let (head, event) = text.split_once("{\n").expect("facts, then the event");
        assert!(head.lines().all(|line| line.len() <= 60), "{head}");
        let words: Vec<_> = head.split_whitespace().collect();
        assert!(words.join(" ").contains(&format!("InvalidArgument: {said}")), "{head}");
        assert!(head.contains("2 times, last at 2025-11-10T09:30:00Z") && head.contains("uplink (ctl:8443)"));
        let event: Value = serde_json::from_str(&format!("{{{event}")).expect("JSON");
        assert_eq!((&event["payload"]["pool_name"], &event["node"]), (&"tank".into(), &"nas-1".into()));
    }

    #[test]
    fn json_has_the_whole_identifier_and_the_event_and_says_what_is_damaged() {
        let text = printed(None, |screen| list(&letters(), "", Output::Jsonl, TimeZone::Utc, screen));
        let values: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(values[0]["id"], format!("uplink/routine-4711-{EPOCH}"));
        assert_eq!((&values[1]["message"], &values[1]["event"]["kind"]), (&"no".into(), &"storage.pool".into()));
        assert_eq!(values[2].get("event"), None);
        assert!(values[2]["damage"].as_str().is_some_and(|damage| damage.contains("checksum")));
        let document = printed(None, |screen| show(&letters()[..1], "", Output::Json, TimeZone::Utc, screen));
        assert_eq!(serde_json::from_str::<Value>(&document).expect("one object"), values[0]);
    }
}
