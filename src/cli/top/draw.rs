//! The picture: what stands in which line. Pure: a view and a size in, lines out.
//!
//! From top to bottom: who and how well, what comes in and goes out, lanes, consumers, categories beside collectors, the last
//! events, keys. With less height the lower parts give way, categories first; never are numbers cut in two.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use unicode_width::UnicodeWidthStr as _;

use super::{
    super::status::{Report, collector_tone, consumer_tone, lag},
    feed::Row,
    rates::{Meter, Rate},
};
use crate::{
    client::StatusResponse,
    order::Sorted as _,
    schema::local::{ConsumerStatus, LaneStatus, LogStatus, UplinkStatus},
    terminal::{Line, TimeZone, Tone, grouped, human_bytes, human_duration, moment::ago, wrapped},
};

/// Below this nothing is drawn.
pub(super) const SIZE_MIN: (usize, usize) = (40, 10);

/// Wider than this, numbers would stand too far from what they belong to.
const TABLE_WIDTH_MAX: usize = 110;

/// The longest curve, columns.
const CURVE_MAX: usize = 60;

/// From this height on all problems have a line; from the other on the first three, below only the first.
const TALL: usize = 40;
const USUAL: usize = 30;

/// In which order categories stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Rate,
    Total,
    Name,
}

impl Sort {
    /// The next one round.
    pub(super) fn next(self) -> Sort {
        match self {
            Sort::Rate => Sort::Total,
            Sort::Total => Sort::Name,
            Sort::Name => Sort::Rate,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Sort::Rate => "rate",
            Sort::Total => "total",
            Sort::Name => "name",
        }
    }
}

/// What is drawn.
pub(super) struct View<'a> {
    pub(super) status: &'a StatusResponse,
    pub(super) meter: &'a Meter,
    /// The newest last.
    pub(super) events: &'a VecDeque<Row>,
    pub(super) skipped: u64,
    /// What has happened to the connection, in place of how the agent is.
    pub(super) note: Option<(Tone, String)>,
    pub(super) is_paused: bool,
    pub(super) sort: Sort,
    pub(super) interval: Duration,
    pub(super) now: SystemTime,
}

/// The lines of a screen of so many columns and rows; as many as rows, or fewer.
pub(super) fn draw(view: &View, (width, height): (usize, usize)) -> Vec<Line> {
    let (width_min, height_min) = SIZE_MIN;
    if width < width_min || height < height_min {
        let words = format!("{width}x{height} is too small, {width_min}x{height_min} at least; q quits");
        return wrapped(&words, width.max(1)).iter().map(|line| Line::of(Tone::Warn, line)).take(height).collect();
    }
    let log = view.status.log.clone().unwrap_or_default();
    let uplink = view.status.uplink.clone().unwrap_or_default();
    let report = Report::of(view.status, view.now);
    let mut lines = vec![title(view)];
    lines.extend(health(view, &report, width, height));
    lines.push(Line::new());
    lines.extend(flow(view, &uplink, width));
    lines.push(Line::of(Tone::Dim, "to   ").then(uplink_tone(&uplink), &report.controller));
    lines.push(Line::new());
    lines.extend(lanes(view, &log, width));
    // The last line has the keys.
    let room = (height - 1).saturating_sub(lines.len());
    let consumers = consumers(view, &log, width, (room / 4).max(1));
    if room > consumers.len() + 1 && !consumers.is_empty() {
        lines.push(Line::new());
        lines.extend(consumers);
    }
    let room = (height - 1).saturating_sub(lines.len());
    let tables = tables(view, width, table_rows(view, room));
    let has_tables = room > tables.len() + 1;
    if has_tables {
        lines.push(Line::new());
        lines.extend(tables);
    }
    let room = (height - 1).saturating_sub(lines.len());
    lines.extend(events(view, room));
    lines.truncate(height - 1);
    lines.resize(height - 1, Line::new());
    lines.push(keys(view));
    lines.into_iter().map(|line| line.cut(width)).collect()
}

fn title(view: &View) -> Line {
    let now = view.now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = TimeZone::Local.time_of_day(i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
    let up = ago(view.status.started_at, view.now).map(|up| format!("  up {}", human_duration(up))).unwrap_or_default();
    let StatusResponse { version, node_id, .. } = view.status;
    let node = if node_id.is_empty() { String::new() } else { format!("  {node_id}") };
    Line::of(Tone::Mark, "rodent")
        .then(Tone::Plain, &format!(" {version}{node}{up}"))
        .then(Tone::Dim, &format!("  {time}"))
}

/// How the agent is, or what has happened to the connection.
fn health(view: &View, report: &Report, width: usize, height: usize) -> Vec<Line> {
    if let Some((tone, words)) = &view.note {
        return vec![Line::of(*tone, words)];
    }
    let mut lines = vec![Line::of(report.headline.tone, &report.verdict)];
    let shown = match height {
        TALL.. => usize::MAX,
        USUAL.. => 3,
        _ => 1,
    };
    for problem in report.problems.iter().take(shown) {
        let room = width.saturating_sub(2);
        let words = wrapped(&problem.text, room);
        let most = if height >= TALL { usize::MAX } else { 1 };
        let cut = words.len() > most;
        for (number, line) in words.into_iter().take(most).enumerate() {
            let mark = if number == 0 { "! " } else { "  " };
            let end = if cut { " …" } else { "" };
            lines.push(Line::of(problem.tone, &format!("{mark}{line}{end}")));
        }
    }
    lines
}

/// What comes in and what goes out.
fn flow(view: &View, uplink: &UplinkStatus, width: usize) -> [Line; 2] {
    let pipeline = view.status.pipeline.clone().unwrap_or_default();
    let curve_width = width.saturating_sub(60).clamp(10, CURVE_MAX);
    let accepted = format!(
        "{} accepted, {} filtered, {} refused",
        grouped(pipeline.accepted_events),
        grouped(pipeline.filtered_events),
        grouped(pipeline.refused_events)
    );
    let on_the_way = match (uplink.in_flight_batches, uplink.window) {
        _ if uplink.state == "off" => "kept here".to_owned(),
        (_, 0) => String::new(),
        (flying, window) => format!(", {flying} of {window} batches on their way"),
    };
    let bytes = view.meter.rates.sent_bytes.map(|rate| format!("{}/s", human_bytes(whole(rate)))).unwrap_or_default();
    let bytes = if uplink.state == "off" { String::new() } else { bytes };
    let line = |name: &str, rate: Rate, history: &VecDeque<f64>, words: &str| {
        Line::of(Tone::Dim, &format!("{name:<5}"))
            .right(9, Tone::Plain, &rate_words(rate))
            .then(Tone::Dim, "/s  ")
            .left(curve_width, Tone::Mark, &curve(history, curve_width))
            .then(Tone::Plain, "  ")
            .then(Tone::Plain, words)
    };
    [
        line("in", view.meter.rates.accepted, &view.meter.accepted, &accepted),
        line("out", view.meter.rates.delivered, &view.meter.delivered, &format!("{bytes}{on_the_way}")),
    ]
}

fn uplink_tone(uplink: &UplinkStatus) -> Tone {
    match uplink.state.as_str() {
        "connected" => Tone::Good,
        "held" => Tone::Bad,
        "waiting" | "connecting" => Tone::Warn,
        _ => Tone::Plain,
    }
}

/// A column of the table of lanes.
struct LaneColumn {
    title: &'static str,
    width: usize,
    /// The narrowest terminal that has it.
    from: usize,
    cell: fn(&LaneStatus, &LogStatus, (Rate, Rate)) -> String,
}

const LANE_WIDTH: usize = 8;

/// Of a consumer. Longer names are cut.
const NAME_WIDTH: usize = 16;

const LANE_COLUMNS: &[LaneColumn] = &[
    LaneColumn { title: "IN/s", width: 8, from: 0, cell: |_, _, (stored, _)| rate_words(stored) },
    LaneColumn { title: "OUT/s", width: 8, from: 0, cell: |_, _, (_, delivered)| rate_words(delivered) },
    LaneColumn { title: "TO GO", width: 11, from: 0, cell: |lane, log, _| to_go(lane, log) },
    LaneColumn { title: "STORED", width: 11, from: 52, cell: |lane, _, _| grouped(lane.stored_events) },
    LaneColumn { title: "ON DISK", width: 10, from: 64, cell: |lane, _, _| human_bytes(lane.disk_bytes) },
    LaneColumn { title: "IN MEMORY", width: 10, from: 74, cell: |lane, _, _| grouped(lane.waiting_events) },
    LaneColumn { title: "LOST", width: 7, from: 80, cell: |lane, _, _| grouped(lane.lost_events) },
];

fn to_go(lane: &LaneStatus, log: &LogStatus) -> String {
    let lags = log.cursors.iter().filter(|cursor| cursor.lane == lane.lane).map(|cursor| cursor.lag_events);
    lags.max().map_or_else(|| "-".to_owned(), grouped)
}

fn lanes(view: &View, log: &LogStatus, width: usize) -> Vec<Line> {
    let columns = || LANE_COLUMNS.iter().filter(|column| width >= column.from);
    let head = columns().fold(Line::new().left(LANE_WIDTH, Tone::Dim, "LANE"), |line, column| {
        line.then(Tone::Plain, " ").right(column.width, Tone::Dim, column.title)
    });
    let row = |lane: &LaneStatus| {
        let rates = view.meter.rates.lanes.get(&lane.lane).copied().unwrap_or_default();
        columns().fold(Line::new().left(LANE_WIDTH, Tone::Plain, &lane.lane), |line, column| {
            let is_loss = column.title == "LOST" && lane.lost_events > 0;
            let tone = if is_loss { Tone::Bad } else { Tone::Plain };
            line.then(Tone::Plain, " ").right(column.width, tone, &(column.cell)(lane, log, rates))
        })
    };
    std::iter::once(head).chain(log.lanes.iter().map(row)).collect()
}

/// Who gets events, and how far each has come. Where there is not room for all, those that something is wrong with go first.
fn consumers(view: &View, log: &LogStatus, width: usize, rows: usize) -> Vec<Line> {
    let mut list: Vec<&ConsumerStatus> = view.status.consumers.iter().filter(|it| !it.target.is_empty()).collect();
    let count = list.len();
    if count > rows {
        list.order_by_key(|it| std::cmp::Reverse(it.state));
        list.truncate(rows);
    }
    let line =
        |dim: Tone, name: &str, (tone, state): (Tone, &str), to_go: &str, last: &str, failed: &str, why: &str| {
            let line =
                Line::new().left(NAME_WIDTH, dim, name).then(dim, " ").left(11, tone, state).right(11, dim, to_go);
            let line = if width >= 52 { line.right(10, dim, last) } else { line };
            let line = if width >= 62 { line.right(8, dim, failed) } else { line };
            line.then(Tone::Plain, "  ").then(tone, why)
        };
    let more = count.checked_sub(list.len()).filter(|more| *more > 0).map(|more| format!("and {more} more"));
    let head = line(Tone::Dim, "CONSUMER", (Tone::Dim, "STATE"), "TO GO", "LAST", "FAILED", &more.unwrap_or_default());
    let row = |it: &&ConsumerStatus| {
        let state = (consumer_tone(it.state()), it.state().word());
        let last = ago(it.last_success, view.now).map_or_else(|| "never".to_owned(), human_duration);
        let (to_go, failed) = (grouped(lag(log, &it.name)), grouped(it.failed_attempts));
        line(Tone::Plain, &it.name, state, &to_go, &last, &failed, &it.last_error)
    };
    if list.is_empty() { Vec::new() } else { std::iter::once(head).chain(list.iter().map(row)).collect() }
}

/// How many rows the tables may have: about half of what is left, so that events have the other.
fn table_rows(view: &View, room: usize) -> usize {
    let pipeline = view.status.pipeline.clone().unwrap_or_default();
    let most = pipeline.categories.len().max(view.status.collectors.len());
    (room / 2).saturating_sub(2).min(most)
}

/// Categories at the left, collectors beside them.
fn tables(view: &View, width: usize, rows: usize) -> Vec<Line> {
    let (left, right) = (categories(view, rows), collectors(view, rows));
    // Beside each other in the middle, or not at all.
    let column = width.min(TABLE_WIDTH_MAX) / 2;
    let has_room = column > 34;
    let mut right = right.into_iter();
    left.into_iter()
        .map(|line| match right.next().filter(|_| has_room) {
            Some(other) => line.beside(column, other),
            None => line,
        })
        .collect()
}

fn categories(view: &View, rows: usize) -> Vec<Line> {
    let pipeline = view.status.pipeline.clone().unwrap_or_default();
    let rate = |category: &str| view.meter.rates.categories.get(category).copied().flatten();
    let mut list: Vec<_> = pipeline.categories.iter().collect();
    // What is equal stands as the schema has it, so that rows do not jump.
    match view.sort {
        Sort::Rate => list.order_by(|a, b| {
            let of = |category: &str| rate(category).unwrap_or_default();
            of(&b.category).total_cmp(&of(&a.category)).then(b.accepted_events.cmp(&a.accepted_events))
        }),
        Sort::Total => list.order_by_key(|category| std::cmp::Reverse(category.accepted_events)),
        Sort::Name => list.order_by(|a, b| a.category.cmp(&b.category)),
    }
    let line = |tone, name: &str, rate: &str, total: &str| {
        Line::new().left(15, tone, name).right(8, tone, rate).right(11, tone, total)
    };
    let row = |category: &&crate::schema::local::CategoryStatus| {
        let tone = if category.accepted_events == 0 { Tone::Dim } else { Tone::Plain };
        line(tone, &category.category, &rate_words(rate(&category.category)), &grouped(category.accepted_events))
    };
    let head = line(Tone::Dim, "CATEGORY", "IN/s", "EVENTS");
    std::iter::once(head).chain(shortened(list.iter().map(row).collect(), rows)).collect()
}

/// The first of them; where there is not room for all, the last line says how many are left out.
fn shortened(mut lines: Vec<Line>, rows: usize) -> Vec<Line> {
    if lines.len() > rows {
        let shown = rows.saturating_sub(1);
        let more = Line::of(Tone::Dim, &format!("and {} more", lines.len() - shown));
        lines.truncate(shown);
        lines.extend((rows > 0).then_some(more));
    }
    lines
}

fn collectors(view: &View, rows: usize) -> Vec<Line> {
    let line = |name: &str, (tone, state): (Tone, &str), rate: &str, total: &str| {
        let dim = if name == "COLLECTOR" { Tone::Dim } else { Tone::Plain };
        Line::new().left(10, dim, name).left(8, tone, state).right(8, dim, rate).right(11, dim, total)
    };
    let row = |collector: &crate::schema::local::CollectorStatus| {
        let tone = collector_tone(&collector.state);
        let rate = view.meter.rates.collectors.get(&collector.name).copied().flatten();
        line(&collector.name, (tone, &collector.state), &rate_words(rate), &grouped(collector.emitted_events))
    };
    let head = line("COLLECTOR", (Tone::Dim, "STATE"), "IN/s", "EVENTS");
    let mut list: Vec<_> = view.status.collectors.iter().collect();
    // Where there is not room for all, those that are not well stand first.
    if list.len() > rows {
        list.order_by_key(|collector| collector_tone(&collector.state) != Tone::Bad);
    }
    std::iter::once(head).chain(shortened(list.into_iter().map(row).collect(), rows)).collect()
}

/// The newest last, as far as they fit; nothing where there is room for none.
fn events(view: &View, room: usize) -> Vec<Line> {
    // A blank and the titles.
    let Some(rows) = room.checked_sub(2).filter(|rows| *rows > 0) else { return Vec::new() };
    let mut head = Line::new().left(10, Tone::Dim, "TIME").left(10, Tone::Dim, "LEVEL").then(Tone::Dim, "LAST EVENTS");
    if view.skipped > 0 {
        head = head.then(Tone::Dim, &format!(" ({} more were too many to show)", grouped(view.skipped)));
    }
    let mut lines = vec![Line::new(), head];
    if view.events.is_empty() {
        lines.push(Line::of(Tone::Dim, "none yet"));
    }
    let newest = view.events.iter().skip(view.events.len().saturating_sub(rows));
    lines.extend(newest.map(|event| {
        Line::new()
            .left(10, Tone::Dim, &TimeZone::Local.time_of_day(event.time))
            .left(10, Tone::of(event.level), event.level.name())
            .then(Tone::Plain, &event.text)
    }));
    lines
}

fn keys(view: &View) -> Line {
    let every = human_duration(view.interval);
    let line = Line::of(Tone::Plain, "q")
        .then(Tone::Dim, " quit  ")
        .then(Tone::Plain, "p")
        .then(Tone::Dim, if view.is_paused { " go on  " } else { " pause  " })
        .then(Tone::Plain, "s")
        .then(Tone::Dim, &format!(" sort: {}  every {every}", view.sort.name()));
    if view.is_paused { line.then(Tone::Warn, "  paused") } else { line }
}

/// Rates as a row of blocks, the newest at the right, as high as the highest that is shown.
fn curve(history: &VecDeque<f64>, width: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown: Vec<f64> = history.iter().skip(history.len().saturating_sub(width)).copied().collect();
    let highest = shown.iter().copied().fold(0.0, f64::max);
    let block = |rate: &f64| {
        if *rate <= 0.0 {
            return ' ';
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 7")]
        let height = (rate / highest * 7.0).round() as usize;
        BLOCKS.get(height).copied().unwrap_or(' ')
    };
    let drawn: String = shown.iter().map(block).collect();
    format!("{}{drawn}", " ".repeat(width.saturating_sub(drawn.width())))
}

/// `0`, `0.3`, `12`, `1,234`; `-` where it is not known.
pub(super) fn rate_words(rate: Rate) -> String {
    match rate {
        None => "-".to_owned(),
        Some(rate) if rate <= 0.0 => "0".to_owned(),
        Some(rate) if rate < 9.95 => format!("{:.1}", rate.max(0.1)),
        Some(rate) => grouped(whole(rate)),
    }
}

/// The nearest whole number.
pub(super) fn whole(rate: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast from a float saturates")]
    let whole = rate.round() as u64;
    whole
}

#[cfg(test)]
mod tests;
