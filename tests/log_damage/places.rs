//! Whole files and directories of a log that are gone, spoilt, doubled, copied, renamed or swapped: what is there is read, what
//! is not is recorded to the event, once, and `rodent log check` says the same before.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use rodent::event_log::{Lane, StoppedLog};

use crate::store::{Found, Original, copy_directory, read, settings};

type Act = Box<dyn Fn(&Path) -> io::Result<()>>;

/// Something that is done to a log: what, and which sequences of each lane may be gone then.
struct Harm {
    what: String,
    act: Act,
    /// Whether nothing may be gone.
    is_harmless: bool,
}

fn harm(what: String, is_harmless: bool, act: impl Fn(&Path) -> io::Result<()> + 'static) -> Harm {
    Harm { what, act: Box::new(act), is_harmless }
}

type Spoil = fn(&Path) -> io::Result<()>;

/// What is done to a file.
const SPOILS: [(&str, Spoil); 6] = [
    ("deleted", |path| fs::remove_file(path)),
    ("emptied", |path| fs::write(path, "")),
    ("halved", |path| fs::File::options().write(true).open(path)?.set_len(fs::metadata(path)?.len() / 2)),
    ("doubled", |path| fs::write(path, fs::read(path)?.repeat(2))),
    ("zeroed", |path| fs::write(path, vec![0; fs::read(path)?.len()])),
    ("taken by a directory", |path| fs::remove_file(path).and_then(|()| fs::create_dir(path))),
];

fn harms(original: &Original) -> Vec<Harm> {
    let mut harms = Vec::new();
    for (path, _) in original.files() {
        for (what, spoil) in SPOILS {
            let spoilt = path.clone();
            let is_harmless = !path.ends_with("db") || what == "doubled";
            harms.push(harm(format!("{} {what}", path.display()), is_harmless, move |root| spoil(&root.join(&spoilt))));
        }
    }
    for lane in Lane::ALL {
        let row = Path::new("log").join(lane.name());
        let generations = original.generations(lane);
        let [first, .., last] = generations.as_slice() else { panic!("several generations") };
        let next = |by: u64| row.join(format!("gen-{:010}", generations.len() as u64 + by));
        for path in &generations {
            let gone = path.clone();
            harms.push(harm(format!("{} gone", path.display()), false, move |root| {
                fs::remove_dir_all(root.join(&gone))
            }));
            for by in [1, 7] {
                let (from, to) = (path.clone(), next(by));
                harms.push(harm(format!("{} copied as +{by}", path.display()), true, move |root| {
                    copy_directory(&root.join(&from), &root.join(&to));
                    Ok(())
                }));
                let (from, to) = (path.clone(), next(by));
                let renamed = move |root: &Path| fs::rename(root.join(&from), root.join(&to));
                harms.push(harm(format!("{} renamed to +{by}", path.display()), true, renamed));
            }
        }
        let [one, other] = [first.clone(), last.clone()];
        harms.push(harm(format!("first and last of {} swapped", lane.name()), original.closed, move |root| {
            swap(&root.join(&one), &root.join(&other))
        }));
        let gone = row.clone();
        harms.push(harm(format!("{} gone", row.display()), false, move |root| fs::remove_dir_all(root.join(&gone))));
        let gone = row.clone();
        harms.push(harm(format!("{} a file", row.display()), false, move |root| {
            fs::remove_dir_all(root.join(&gone)).and_then(|()| fs::write(root.join(&gone), ""))
        }));
    }
    harms
        .push(harm("lanes swapped".to_owned(), true, |root| swap(&root.join("log/urgent"), &root.join("log/routine"))));
    harms
}

fn swap(one: &Path, other: &Path) -> io::Result<()> {
    let aside = one.with_file_name("aside");
    fs::rename(one, &aside)?;
    fs::rename(other, one)?;
    fs::rename(aside, other)
}

/// What `rodent log check` says is gone.
fn checked(root: &Path) -> [BTreeSet<u64>; 2] {
    let report = StoppedLog::open(&root.join("log")).expect("nobody works on it").check().expect("readable");
    Lane::ALL.map(|lane| {
        let of_generations = report.generations.iter().filter(|generation| generation.lane == lane);
        let within = of_generations.flat_map(|generation| generation.missing.clone());
        let between = report.gone.iter().filter(|(of, _)| *of == lane).map(|(_, range)| range.clone());
        within.chain(between).flatten().collect()
    })
}

fn trial(original: &Original, harm: &Harm) -> u64 {
    let copy = original.copy();
    (harm.act)(copy.path()).expect(&harm.what);
    let misplaced = StoppedLog::open(&copy.path().join("log")).expect("nobody").check().expect("readable").misplaced;
    let said = checked(copy.path());
    let found = read(settings(copy.path()));
    let mut lost = 0;
    for lane in Lane::ALL {
        let missing = found.missing(original, lane);
        assert!(!harm.is_harmless || missing.is_empty(), "{}: {lane:?} {missing:?}", harm.what);
        let mut recorded = found.recorded[lane as usize].clone();
        recorded.sort_unstable();
        assert_eq!(recorded, missing.iter().copied().collect::<Vec<_>>(), "{}: {lane:?} is recorded, once", harm.what);
        // A misplaced generation is put back by the start, and only named by a look.
        assert!(!misplaced.is_empty() || said[lane as usize] == missing, "{}: {lane:?} is checked", harm.what);
        lost += missing.len() as u64;
    }
    let again = read(settings(copy.path()));
    assert_eq!((again.events, again.gone), (found.events, found.gone), "{}: found again", harm.what);
    assert_eq!(again.recorded, found.recorded, "{}: not recorded again", harm.what);
    lost
}

fn all(closed: bool) {
    let original = Original::new(closed);
    let lost: u64 = harms(&original).iter().map(|harm| trial(&original, harm)).sum();
    assert!(lost > 0, "nothing was harmed");
}

#[test]
fn whatever_of_a_closed_log_is_gone_or_misplaced_is_told_to_the_event_and_nothing_else_is_lost() {
    all(true);
}

#[test]
fn whatever_of_a_killed_process_s_log_is_gone_or_misplaced_is_told_to_the_event_and_nothing_else_is_lost() {
    all(false);
}

#[test]
fn a_lane_that_is_gone_with_the_ledger_is_told_of_as_far_as_anything_tells() {
    let original = Original::new(true);
    let copy = original.copy();
    fs::remove_dir_all(copy.path().join("log/routine")).expect("gone");
    fs::remove_file(copy.path().join("log/ledger")).expect("gone");
    let Found { unnumbered, events, .. } = read(settings(copy.path()));
    assert_eq!((unnumbered, events[1].len()), (1, 0), "that something is gone is told, nobody knows what");
    assert_eq!(events[0].len(), original.events[0].len());
}

#[test]
fn a_log_of_the_time_before_ledgers_is_read_from_its_oldest_event_on() {
    let original = Original::new(true);
    let copy = original.copy();
    fs::remove_file(copy.path().join("log/ledger")).expect("gone");
    fs::create_dir(copy.path().join("log/meta")).expect("made");
    for name in ["meta/db", "meta/conf", "closed"] {
        fs::write(copy.path().join("log").join(name), "whatever it was").expect("written");
    }
    let found = read(settings(copy.path()));
    assert!(Lane::ALL.iter().all(|lane| found.missing(&original, *lane).is_empty()));
    assert!(found.unnumbered == 0 && found.recorded.iter().all(Vec::is_empty), "nothing is lost");
    let left: Vec<PathBuf> = ["meta", "closed"].map(|name| copy.path().join("log").join(name)).into();
    assert!(left.iter().all(|path| !path.exists()), "what is not used any more goes");
}
