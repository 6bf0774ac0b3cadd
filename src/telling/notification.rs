//! One message to a person: what is the matter with what, in words.

use ring::digest::{SHA256, digest};

use super::{
    told::{Entry, Mark},
    weekly::Standing,
};
use crate::{
    schema::local::{StateChange, StateLevel, SubjectState},
    words::{grouped, human_duration},
};

/// Lines of a digest; of more it says how many.
const DIGEST_LINES_MAX: usize = 15;

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Something is wrong.
    Problem,
    /// It is worse than was told.
    Worse,
    /// It is wrong, as was told.
    Still,
    /// It comes and goes; until it is calm nothing more is told.
    Flapping,
    /// It is well, and had been told to be wrong.
    Recovered,
    /// It was wrong for a while in quiet hours, and is well.
    Healed,
    /// Several of these.
    Digest,
    /// Other things are wrong, too.
    More,
    /// Once a week: nothing is wrong.
    Well,
    /// Once a week: what is wrong.
    Unwell,
}

impl What {
    /// As a program reads it.
    pub fn name(self) -> &'static str {
        match self {
            What::Problem => "problem",
            What::Worse => "worse",
            What::Still => "still",
            What::Flapping => "flapping",
            What::Recovered => "recovered",
            What::Healed => "healed",
            What::Digest => "digest",
            What::More => "more",
            What::Well => "well",
            What::Unwell => "unwell",
        }
    }

    /// Whether nothing is wrong any more.
    pub fn is_over(self) -> bool {
        matches!(self, What::Recovered | What::Healed | What::Well)
    }
}

/// A message. Equal looks give equal ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// The same however often it is sent: 32 hexadecimal digits.
    pub id: String,
    /// What is said.
    pub what: What,
    /// How bad it is; of what is over, how bad it was.
    pub level: StateLevel,
    /// The thing; empty for several.
    pub subject: String,
    /// Which of its states.
    pub state: String,
    /// Since when it is so, Unix milliseconds.
    pub since: i64,
    /// The kind of the event that told of it last.
    pub kind: String,
    /// What the event said, or what is to be said of several.
    pub text: String,
    /// What to do.
    pub advice: String,
    pub(super) marks: Vec<Mark>,
    pub(super) more: Option<u16>,
}

impl Notification {
    pub(super) fn of(
        state: &SubjectState,
        now: &StateChange,
        what: What,
        level: StateLevel,
        mark: Mark,
    ) -> Notification {
        let SubjectState { subject, state: name, changes, .. } = state;
        let lasted = || {
            let before = changes.get(1).map_or(now.since, |before| before.wrong_since);
            human_duration(std::time::Duration::from_millis((now.since - before).max(0).unsigned_abs()))
        };
        let text = match what {
            What::Flapping => format!("{} It comes and goes; more is told when it is calm.", sentence(&now.text)),
            What::Recovered => format!("{} It had been wrong for {}.", sentence(&now.text), lasted()),
            What::Healed => format!("{} In quiet hours it was wrong for {}.", sentence(&now.text), lasted()),
            _ => now.text.clone(),
        };
        let told = mark.entry.map_or(0, Entry::told_at);
        let again = if what == What::Still { told } else { 0 };
        let seed = format!("{}\0{subject}\0{name}\0{}\0{}\0{again}", what.name(), i32::from(level), now.since);
        Notification {
            id: identifier(&seed),
            what,
            level,
            subject: subject.clone(),
            state: name.clone(),
            since: if what.is_over() || now.wrong_since == 0 { now.since } else { now.wrong_since },
            kind: now.kind.clone(),
            text,
            advice: now.advice.clone(),
            marks: vec![mark],
            more: None,
        }
    }

    /// Of many things that there are more than are told one by one.
    pub(super) fn more(count: usize, now: i64) -> Notification {
        let text = format!("{} more things are wrong; `rodent problems` lists them.", grouped(count as u64));
        Notification {
            id: identifier(&format!("more\0{count}\0{now}")),
            what: What::More,
            level: StateLevel::Error,
            subject: String::new(),
            state: String::new(),
            since: now,
            kind: String::new(),
            text,
            advice: String::new(),
            marks: Vec::new(),
            more: Some(u16::try_from(count).unwrap_or(u16::MAX)),
        }
    }

    /// How all of it stands, once a week.
    pub(super) fn weekly(standing: &Standing, now: i64) -> Notification {
        let what = if standing.wrong.is_empty() { What::Well } else { What::Unwell };
        Notification {
            id: identifier(&format!("weekly\0{}", standing.asked_at)),
            what,
            level: standing.worst.unwrap_or(StateLevel::Ok),
            subject: String::new(),
            state: String::new(),
            since: now,
            kind: String::new(),
            text: match what {
                What::Well => standing.well(),
                _ => lines(standing.wrong.iter().cloned(), standing.wrong.len()),
            },
            advice: String::new(),
            marks: Vec::new(),
            more: None,
        }
    }

    /// One that says what many would.
    pub(super) fn digest(notices: Vec<Notification>, now: i64) -> Notification {
        let worst = notices.iter().filter(|notice| !notice.what.is_over()).map(|notice| notice.level).max();
        let ids: String = notices.iter().map(|notice| notice.id.as_str()).collect();
        let text = lines(notices.iter().map(Notification::line), notices.len());
        let more = notices.iter().find_map(|notice| notice.more);
        Notification {
            id: identifier(&ids),
            what: What::Digest,
            level: worst.unwrap_or(StateLevel::Ok),
            subject: String::new(),
            state: String::new(),
            since: now,
            kind: String::new(),
            text,
            advice: String::new(),
            marks: notices.into_iter().flat_map(|notice| notice.marks).collect(),
            more,
        }
    }

    /// Whether it makes something known that was not.
    pub(super) fn is_new(&self, before: Option<Entry>) -> bool {
        before.is_none_or(|before| before.is_pending) && self.marks.iter().any(|mark| mark.entry.is_some())
    }

    /// What it is about, in a few words.
    pub fn title(&self) -> String {
        let Notification { subject, state, what, .. } = self;
        match what {
            What::Problem => format!("{subject}: {state}, {}", self.level.word()),
            What::Worse => format!("{subject}: {state} is worse, {}", self.level.word()),
            What::Still => format!("{subject}: {state} is still at {}", self.level.word()),
            What::Flapping => format!("{subject}: {state} comes and goes"),
            What::Recovered | What::Healed => format!("{subject}: {state} is well again"),
            What::Digest => match self.level {
                StateLevel::Ok => "all of this is well again".to_owned(),
                level => format!("several changes, the worst at {}", level.word()),
            },
            What::More => "more is wrong".to_owned(),
            What::Well => "all is well".to_owned(),
            What::Unwell => format!("not all is well, the worst at {}", self.level.word()),
        }
    }

    /// All of it but the title.
    pub fn body(&self) -> String {
        match self.advice.is_empty() || self.what.is_over() {
            true => self.text.clone(),
            false => format!("{}\n{}", self.text, self.advice),
        }
    }

    fn line(&self) -> String {
        match self.what {
            What::More | What::Digest | What::Well | What::Unwell => self.text.clone(),
            _ => format!("{}: {}", self.title(), self.text),
        }
    }
}

/// The first lines of so many, and how many more there are.
fn lines(lines: impl Iterator<Item = String>, count: usize) -> String {
    let mut lines: Vec<_> = lines.take(DIGEST_LINES_MAX).collect();
    if count > DIGEST_LINES_MAX {
        lines.push(format!("and {} more; `rodent problems` lists what is wrong", count - DIGEST_LINES_MAX));
    }
    lines.join("\n")
}

fn sentence(text: &str) -> String {
    match text.ends_with(['.', '!', '?', '…']) {
        true => text.to_owned(),
        false => format!("{text}."),
    }
}

fn identifier(seed: &str) -> String {
    let whole = digest(&SHA256, seed.as_bytes());
    crate::words::hexadecimal(whole.as_ref().get(..16).unwrap_or_default())
}
