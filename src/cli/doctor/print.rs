//! Findings on a screen: a line each, what to do below it; and as JSON.

use std::io;

use serde::Serialize;
use serde_json::json;

use super::{
    finding::{Finding, Mark},
    patient::Patient,
};
use crate::terminal::{Cell, Column, Output, Screen, TextTable, Tone, wrapped};

/// What stands before what to do.
const ARROW: &str = "→ ";

/// Columns of the mark, the name of a check, and the gaps behind them.
const MARGIN: usize = 4 + 2 + 13 + 2;

/// Narrower than this a text is not made.
const ROOM_MIN: usize = 24;

/// Wider than this a sentence is hard to read.
const ROOM_MAX: usize = 100;

/// A finding and the check that it is of.
#[derive(Serialize)]
pub(super) struct Row {
    pub(super) check: &'static str,
    #[serde(flatten)]
    pub(super) finding: Finding,
}

/// Prints findings and what they come to.
pub(super) fn all(rows: &[Row], user: &str, output: Output, screen: &mut Screen) -> io::Result<()> {
    match output {
        Output::Table => table(rows, user, screen),
        Output::Json => {
            let counts: serde_json::Map<_, _> =
                Mark::ALL.iter().map(|mark| (mark.name().to_owned(), json!(count(rows, *mark)))).collect();
            let version = env!("CARGO_PKG_VERSION");
            screen.json_document(&json!({"version": version, "user": user, "findings": rows, "counts": counts}))
        }
        Output::Jsonl => rows.iter().try_for_each(|row| screen.json(row)),
    }
}

fn table(rows: &[Row], user: &str, screen: &mut Screen) -> io::Result<()> {
    screen.line(&format!("rodent {} looks at this machine as {user}", env!("CARGO_PKG_VERSION")))?;
    screen.line("")?;
    let room = screen.width().map_or(usize::MAX, |width| width.saturating_sub(MARGIN).clamp(ROOM_MIN, ROOM_MAX));
    let mut table =
        TextTable::new(&[Column::left(""), Column::left("").at_least(13), Column::left("")]).without_header();
    let mut above = "";
    for Row { check, finding } in rows {
        let name = if *check == above { "" } else { check };
        for (number, line) in wrapped(&finding.text, room).into_iter().enumerate() {
            let tone = if finding.mark >= Mark::Warn { finding.mark.tone() } else { Tone::Plain };
            let tone = if finding.mark == Mark::Skip { Tone::Dim } else { tone };
            match number {
                0 => table.row([
                    Cell::toned(finding.mark.name(), finding.mark.tone()),
                    Cell::from(name),
                    Cell::toned(line, tone),
                ]),
                _ => table.row([Cell::default(), Cell::default(), Cell::toned(line, tone)]),
            }
        }
        if !finding.advice.is_empty() {
            let arrow_room = if room == usize::MAX { room } else { room - ARROW.chars().count() };
            for (number, line) in wrapped(&finding.advice, arrow_room).into_iter().enumerate() {
                let start = if number == 0 { ARROW } else { "  " };
                table.row([Cell::default(), Cell::default(), Cell::toned(format!("{start}{line}"), Tone::Mark)]);
            }
        }
        above = check;
    }
    table.print(screen)?;
    screen.line("")?;
    screen.line(&sum(rows))
}

fn count(rows: &[Row], mark: Mark) -> usize {
    rows.iter().filter(|row| row.finding.mark == mark).count()
}

/// What it comes to, in one line.
fn sum(rows: &[Row]) -> String {
    let words = |mark: Mark, one: &str, many: &str| match count(rows, mark) {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{count} {many}")),
    };
    let parts: Vec<_> = [
        words(Mark::Fail, "failure", "failures"),
        words(Mark::Warn, "warning", "warnings"),
        words(Mark::Skip, "skipped", "skipped"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let passed = count(rows, Mark::Pass);
    if parts.is_empty() {
        format!("All is well: {passed} passed.")
    } else {
        format!("{}, {passed} passed.", parts.join(", "))
    }
}

/// Who looks.
pub(super) fn user() -> String {
    Patient::user()
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::*;
    use crate::terminal::page::printed;

    fn rows() -> Vec<Row> {
        let row = |check, finding| Row { check, finding };
        vec![
            row("configuration", Finding::pass("/etc/rodent/rodent.yml: ok, 5 keys are set")),
            row(
                "permissions",
                Finding::fail("/etc/rodent/token may be read by everybody (mode 644)", "chmod o= /etc/rodent/token"),
            ),
            row("permissions", Finding::skip("this user may not look at /var/lib/rodent").advise("sudo rodent doctor")),
            row(
                "controller",
                Finding::warn("a long sentence ".repeat(9).trim(), "what to do about it ".repeat(6).trim()),
            ),
        ]
    }

    #[test]
    fn a_screen_of_eighty_columns_has_each_finding_whole_and_what_to_do_below_it() {
        let text = printed(Some(80), |screen| all(&rows(), "root", Output::Table, screen));
        assert!(text.lines().all(|line| line.width() <= 80), "{text}");
        assert!(!text.contains('…'), "{text}");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[2], "pass  configuration  /etc/rodent/rodent.yml: ok, 5 keys are set");
        assert_eq!(lines[3], "fail  permissions    /etc/rodent/token may be read by everybody (mode 644)");
        assert_eq!(lines[4], "                     → chmod o= /etc/rodent/token");
        assert_eq!(lines[5], "skip                 this user may not look at /var/lib/rodent");
        assert_eq!(lines.last(), Some(&"1 failure, 1 warning, 1 skipped, 1 passed."));
    }

    #[test]
    fn a_wide_screen_does_not_stretch_a_sentence_over_its_whole_width() {
        let text = printed(Some(200), |screen| all(&rows(), "root", Output::Table, screen));
        assert!(text.lines().all(|line| line.width() <= MARGIN + ROOM_MAX), "{text}");
    }

    #[test]
    fn json_has_every_finding_with_its_check_and_the_counts() {
        let text = printed(None, |screen| all(&rows(), "root", Output::Json, screen));
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["findings"][1]["check"], "permissions");
        assert_eq!(value["findings"][1]["mark"], "fail");
        assert_eq!(value["findings"][1]["advice"], "chmod o= /etc/rodent/token");
        assert_eq!((&value["counts"]["fail"], &value["counts"]["pass"]), (&json!(1), &json!(1)));
        let text = printed(None, |screen| all(&rows(), "root", Output::Jsonl, screen));
        assert_eq!(text.lines().count(), 4);
    }
}
