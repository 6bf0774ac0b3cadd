use super::*;
use crate::terminal::page::printed;

fn pools() -> TextTable {
    let mut table = TextTable::new(&[Column::left("POOL"), Column::right("USED"), Column::left("TEXT").elastic(10)]);
    table.row(["tank", "1.2 TiB", "scrub finished, no errors, all is well"].map(Cell::from));
    table.row(["größe-日本", "9 B", ""].map(Cell::from));
    table
}

#[test]
fn a_pipe_gets_every_character_and_one_line_a_row() {
    assert_eq!(
        printed(None, |screen| pools().print(screen)),
        "POOL           USED  TEXT\n\
         tank        1.2 TiB  scrub finished, no errors, all is well\n\
         größe-日本      9 B\n"
    );
}

#[test]
fn a_terminal_gets_no_line_wider_than_itself() {
    let text = printed(Some(40), |screen| pools().print(screen));
    assert!(text.contains("scrub finished, no…\n"), "{text}");
    for width in 1..70 {
        let text = printed(Some(width), |screen| pools().print(screen));
        assert!(width < 24 || text.lines().all(|line| line.width() <= width), "{width}:\n{text}");
    }
}

#[test]
fn a_last_column_without_room_goes_below_its_row() {
    let mut table = TextTable::new(&[Column::left("TIME").at_least(20), Column::left("KIND"), Column::left("TEXT")]);
    table.row(["2026-11-10T09:30:00Z", "service.status.restarted", "pid=7"].map(Cell::from));
    table.row(["2026-11-10T09:30:01Z", "service.status.stopped", ""].map(Cell::from));
    table.row(["2026-11-10T09:30:02Z", "x", "a text that is far too long to stand beside its row"].map(Cell::from));
    assert_eq!(
        printed(Some(50), |screen| table.print(screen)),
        "TIME                  KIND\n    TEXT\n\
         2026-11-10T09:30:00Z  service.status.restarted\n    pid=7\n\
         2026-11-10T09:30:01Z  service.status.stopped\n\
         2026-11-10T09:30:02Z  x\n    a text that is far too long to stand beside i…\n"
    );
}

#[test]
fn the_titles_are_printed_once_and_never_for_nothing() {
    let mut table = TextTable::new(&[Column::left("A")]);
    assert_eq!(printed(None, |screen| table.print(screen)), "");
    table.row([Cell::from("1")]);
    assert_eq!(printed(None, |screen| table.print(screen)), "A\n1\n");
    table.row([Cell::from("2")]);
    assert_eq!(printed(None, |screen| table.print(screen)), "2\n");
}

#[test]
fn text_from_outside_cannot_steer_the_terminal() {
    let mut table = TextTable::new(&[Column::left("A")]).without_header();
    table.row([Cell::from("a\x1b[2Jb\nc\u{202e}d")]);
    assert_eq!(printed(None, |screen| table.print(screen)), "a\\u{1b}[2Jb\\nc\\u{202e}d\n");
}

#[test]
fn rows_of_another_length_are_evened_out() {
    let mut table = TextTable::new(&[Column::left("A"), Column::left("B")]).without_header();
    table.row([Cell::from("1")]);
    table.row(["1", "2", "3"].map(Cell::from));
    assert_eq!(printed(None, |screen| table.print(screen)), "1\n1  2\n");
}
