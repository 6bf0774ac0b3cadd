//! Reads `/proc/mdstat`, in the shapes that kernels since 2.4 have given it.

use std::collections::BTreeMap;

/// What a table ends with; without it the rest is missing, and with it arrays that are there.
const END: &str = "unused devices:";

/// An array as its lines tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) activity: Activity,
    /// `raid1`; empty where the array does not run.
    pub(super) personality: String,
    /// By name: `sda1`.
    pub(super) members: BTreeMap<String, Member>,
    pub(super) size_kib: Option<u64>,
    /// How many members it wants and how many of them work, where the level has a redundancy.
    pub(super) slots: Option<(u32, u32)>,
    pub(super) sync: Option<Sync>,
    /// Only holds the description of other arrays (IMSM, DDF): that it does not run is its nature.
    pub(super) is_container: bool,
}

/// What the array is, in the kernel's word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Activity {
    #[default]
    Active,
    Inactive,
    /// A stripe or a concatenation has lost a member.
    Broken,
}

/// What stands behind the name of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) is_faulty: bool,
    pub(super) is_spare: bool,
}

/// A pass over all members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sync {
    /// `recovery`, `resync`, `check`, `reshape`.
    pub(super) action: String,
    /// Tenths of a percent; none while it waits for another.
    pub(super) permille: Option<u16>,
}

/// The arrays by name; none when the table is not whole. Lines that make no sense are passed over.
pub(super) fn parse(table: &str) -> Option<BTreeMap<String, Row>> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let mut name = None;
    let mut is_whole = false;
    for line in table.lines() {
        if line.starts_with(END) {
            is_whole = true;
            name = None;
        } else if let Some((head, rest)) = line.split_once(" : ").filter(|(head, _)| is_name(head)) {
            is_whole = false;
            rows.insert(head.trim_end().to_owned(), parse_head(rest));
            name = Some(head.trim_end().to_owned());
        } else if let Some(row) = name.as_ref().and_then(|name| rows.get_mut(name)) {
            parse_rest(line.split_whitespace(), row);
        }
    }
    is_whole.then_some(rows)
}

fn is_name(head: &str) -> bool {
    let head = head.trim_end();
    head.starts_with("md") && !head.contains(char::is_whitespace)
}

/// `active (auto-read-only) raid1 sdb1[1](F) sda1[0]`, and in old kernels what else there is to say.
fn parse_head(rest: &str) -> Row {
    let mut row = Row::default();
    let mut words = rest.split_whitespace().peekable();
    row.activity = match words.next() {
        Some("inactive") => Activity::Inactive,
        Some("broken") => Activity::Broken,
        _ => Activity::Active,
    };
    while words.next_if(|word| word.starts_with('(')).is_some() {}
    if row.activity != Activity::Inactive {
        let is_personality = |word: &&str| !word.contains('[');
        row.personality = words.next_if(is_personality).unwrap_or_default().to_owned();
    }
    while let Some((name, member)) = words.peek().and_then(|word| parse_member(word)) {
        row.members.insert(name, member);
        words.next();
    }
    parse_rest(words, &mut row);
    row
}

/// `sdb1[1](W)(F)`
fn parse_member(word: &str) -> Option<(String, Member)> {
    let (name, rest) = word.split_once('[')?;
    let (slot, flags) = rest.split_once(']')?;
    slot.parse::<i32>().ok().filter(|_| !name.is_empty())?;
    let member = Member { is_faulty: flags.contains("(F)"), is_spare: flags.contains("(S)") };
    Some((name.to_owned(), member))
}

/// `97280 blocks super 1.2 [2/1] [U_]`, `[==>.....]  recovery = 10.9% (11136/97280) finish=0.2min`, `resync=DELAYED`
fn parse_rest<'a>(words: impl Iterator<Item = &'a str>, row: &mut Row) {
    let words: Vec<&str> = words.collect();
    for (at, word) in words.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| words.get(at)).copied().unwrap_or_default();
        let after = words.get(at.saturating_add(1)).copied().unwrap_or_default();
        match *word {
            "blocks" => row.size_kib = before.parse().ok(),
            "=" => {
                row.sync = action(before).map(|action| Sync { action, permille: permille(after) }).or(row.sync.take())
            }
            _ => {}
        }
        if let Some(slots) = parse_slots(word) {
            row.slots = Some(slots);
        } else if let Some(kind) = word.strip_prefix("external:") {
            row.is_container = before == "super" && !kind.starts_with('/') && !kind.starts_with('-');
        } else if let Some((head, value)) = word.split_once('=').filter(|(_, value)| !value.is_empty()) {
            // 2.4 has no room around the sign; a waiting one has none today.
            row.sync = action(head).map(|action| Sync { action, permille: permille(value) }).or(row.sync.take());
        }
    }
}

fn action(word: &str) -> Option<String> {
    matches!(word, "recovery" | "resync" | "check" | "repair" | "reshape").then(|| word.to_owned())
}

/// `10.9%` is 109. What is above a hundred is none.
fn permille(word: &str) -> Option<u16> {
    let word = word.strip_suffix('%')?;
    let (whole, tenths) = word.split_once('.').unwrap_or((word, "0"));
    let tenths: u16 = tenths.get(..1)?.parse().ok()?;
    whole.parse::<u16>().ok()?.checked_mul(10)?.checked_add(tenths).filter(|permille| *permille <= 1000)
}

/// `[3/2]`
fn parse_slots(word: &str) -> Option<(u32, u32)> {
    let (wanted, working) = word.strip_prefix('[')?.strip_suffix(']')?.split_once('/')?;
    let (wanted, working) = (wanted.parse().ok()?, working.parse().ok()?);
    (working <= wanted).then_some((wanted, working))
}
