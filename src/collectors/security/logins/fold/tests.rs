use proptest::prelude::*;

use super::*;

fn failure(source: &str, user: &str, at: i64) -> Attempt {
    Attempt { user: user.into(), method: "ssh password".into(), source: source.into(), at, ..Attempt::default() }
}

fn success(source: &str, user: &str, at: i64) -> Attempt {
    Attempt { succeeded: true, ..failure(source, user, at) }
}

/// `failed alice`, `begins 10.0.0.7 6`, `ceased 10.0.0.7 57`, `in alice after 57 like 0`
fn lines(told: &[Told]) -> Vec<String> {
    let named = |it: &Failures| if it.source.is_empty() { format!("user {}", it.user) } else { it.source.clone() };
    let line = |told: &Told| match told {
        Told::Failed(attempt) => format!("failed {}", attempt.user),
        Told::Begins(it) => format!("begins {} {}", named(it), it.count),
        Told::Ceased(it) => format!("ceased {} {} {}..{}", named(it), it.count, it.first, it.last),
        Told::LoggedIn(attempt, failures, like_it) => format!("in {} after {failures} like {like_it}", attempt.user),
        Told::LoggedOut(attempt) => format!("out {}", attempt.user),
    };
    told.iter().map(line).collect()
}

fn run(fold: &mut Fold, attempts: impl IntoIterator<Item = Attempt>, now: i64) -> Vec<String> {
    let mut told = Vec::new();
    attempts.into_iter().for_each(|attempt| fold.take(attempt, &mut told));
    fold.settle(now, &mut told);
    lines(&told)
}

#[test]
fn of_logins_whose_end_never_comes_the_oldest_give_way() {
    let (mut fold, mut told) = (Fold::default(), Vec::new());
    for number in 1..=u32::try_from(SESSIONS_MAX).unwrap() + 1 {
        let attempt = Attempt { process: number, ..success("10.0.0.7", &format!("u{number}"), number.into()) };
        fold.take(attempt, &mut told);
    }
    assert_eq!(fold.sessions.len(), SESSIONS_MAX);
    told.clear();
    for number in [1, 2] {
        fold.left(Attempt { process: number, ..success("", &format!("u{number}"), 900) }, &mut told);
    }
    assert_eq!(lines(&told), ["out u2"]);
}

#[test]
fn a_source_that_tries_again_and_again_is_told_once_and_once_when_it_is_quiet_with_all_it_did() {
    let mut fold = Fold::default();
    let told = run(&mut fold, (1..=57).map(|at| failure("10.0.0.7", "root", at * 1000)), 57_000);
    let single = vec!["failed root"; 5];
    assert_eq!(told, [single, vec!["begins 10.0.0.7 6"]].concat());
    assert_eq!(run(&mut fold, [success("10.0.0.7", "root", 58_000)], 58_000), ["in root after 57 like 0"]);
    assert_eq!(run(&mut fold, [], 57_000 + CALM - 1), Vec::<String>::new());
    assert_eq!(run(&mut fold, [], 57_000 + CALM), ["ceased 10.0.0.7 57 1000..57000"]);
    assert_eq!(run(&mut fold, [failure("10.0.0.7", "root", 2_000_000)], 2_000_000), ["failed root"], "begun anew");
}

#[test]
fn what_was_quiet_for_long_by_its_own_time_is_over_also_where_all_is_read_at_once() {
    let hour = 6 * CALM;
    let told = run(&mut Fold::default(), (0..8).map(|at| failure("10.0.0.7", "root", at * hour)), 8 * hour);
    assert_eq!(told, vec!["failed root"; 8], "hours apart they are no brute force");
    let night = (0..9).map(|at| failure("10.0.0.7", "root", at));
    let told = run(&mut Fold::default(), night.chain([success("10.0.0.7", "root", hour)]), hour);
    assert_eq!(told[5..], ["begins 10.0.0.7 6", "ceased 10.0.0.7 9 0..8", "in root after 0 like 0"]);
    // From another file, which is read after the first.
    let attempts = (0..9).map(|at| failure("10.0.0.7", "root", hour + at)).chain([failure("", "alice", 0)]);
    let told = run(&mut Fold::default(), attempts, hour + 9);
    assert_eq!(told[5..], ["begins 10.0.0.7 6", "failed alice"]);
}

#[test]
fn who_was_in_already_and_gets_in_again_after_many_failures_is_told_again() {
    let mut fold = Fold::default();
    run(&mut fold, [success("10.0.0.7", "root", 1)], 1);
    run(&mut fold, (2..11).map(|at| failure("10.0.0.7", "root", at)), 11);
    assert_eq!(run(&mut fold, [success("10.0.0.7", "root", 12)], 12), ["in root after 9 like 0"]);
}

#[test]
fn ten_thousand_failures_a_minute_from_a_thousand_addresses_are_one_bounded_flood() {
    let (mut fold, mut told) = (Fold::default(), Vec::new());
    for number in 0..10_000_i64 {
        let source = format!("10.1.{}.{}", number % 1000 / 250, number % 250);
        told.extend(run(&mut fold, [failure(&source, "root", number * 6)], number * 6));
    }
    let many: Vec<_> = told.iter().filter(|line| line.contains(MANY)).collect();
    assert_eq!(many, [&format!("begins {MANY} {MANY_MIN}")]);
    assert!(told.len() <= SINGLES_MAX as usize + TOLD_MAX + 1, "{}", told.len());
    assert!(fold.sources.len() <= SOURCES_MAX + 1);
    let over = run(&mut fold, [], 60_000 + CALM);
    assert!(over.len() <= TOLD_MAX + 1 && over.iter().any(|line| line.starts_with(&format!("ceased {MANY} "))));
    assert_eq!(fold.sources.len(), 0);
}

#[test]
fn one_who_has_a_whole_network_of_addresses_is_one_source() {
    let attempts = (0..6).map(|host| failure(&format!("2001:db8:1:2::{host:x}"), "root", host));
    assert_eq!(run(&mut Fold::default(), attempts, 6).last().unwrap(), "begins 2001:db8:1:2::/64 6");
}

#[test]
fn at_the_machine_itself_each_user_is_a_source() {
    let attempts = (0..6).flat_map(|at| [failure("", "alice", at), failure("", "bob", at)]);
    let told = run(&mut Fold::default(), attempts, 6);
    assert_eq!(told[told.len() - 2..], ["begins user alice 6", "begins user bob 6"]);
}

#[test]
fn a_login_that_comes_again_and_again_is_told_once_an_hour_with_how_many_there_were() {
    let mut fold = Fold::default();
    let told = run(&mut fold, (0..100).map(|minute| success("10.0.0.9", "backup", minute * 60_000)), 0);
    assert_eq!(told, ["in backup after 0 like 0", "in backup after 0 like 59"]);
    assert_eq!(run(&mut fold, [success("10.0.0.8", "backup", 0)], 0), ["in backup after 0 like 0"], "from elsewhere");
}

#[test]
fn what_goes_on_is_known_after_a_restart_and_stands_until_it_is_over() {
    let mut fold = Fold::default();
    run(&mut fold, (0..9).map(|at| failure("10.0.0.7", "root", at)), 9);
    let mut again: Fold = serde_json::from_value(serde_json::to_value(&fold).unwrap()).unwrap();
    assert_eq!(again, fold);
    assert_eq!(lines(&again.standing()), ["begins 10.0.0.7 9"]);
    assert_eq!(run(&mut again, [], CALM + 8), ["ceased 10.0.0.7 9 0..8"]);
    assert_eq!(again.standing(), []);
}

#[test]
fn a_clock_that_was_set_back_keeps_nothing_for_ever() {
    let mut fold = Fold::default();
    run(&mut fold, (0..9).map(|at| failure("10.0.0.7", "root", 9 * CALM + at)), 9 * CALM);
    assert_eq!(run(&mut fold, [], 0).len(), 1);
}

proptest! {
    #[test]
    fn whatever_comes_all_that_begins_ends_once_and_nothing_grows(
        attempts in proptest::collection::vec((0u16..600, 0u8..4, any::<bool>(), 0i64..400_000), 0..800),
    ) {
        let (mut fold, mut told, mut now) = (Fold::default(), Vec::new(), 0);
        for (source, user, succeeds, pause) in attempts {
            now += pause / 100;
            let source = if source == 0 { String::new() } else { format!("10.2.{}.{}", source / 250, source % 250) };
            let attempt = Attempt { succeeded: succeeds && source.len() % 2 == 0, ..failure(&source, &format!("u{user}"), now) };
            fold.take(attempt, &mut told);
            fold.settle(now, &mut told);
            prop_assert!(fold.sources.len() <= SOURCES_MAX + 1 && fold.logins.len() <= LOGINS_MAX);
            prop_assert!(fold.standing().len() <= TOLD_MAX + 1);
        }
        fold.settle(now + CALM, &mut told);
        let of = |wanted: &str| {
            let mut names: Vec<_> = lines(&told).into_iter().filter(|line| line.starts_with(wanted)).map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
            names.sort();
            names
        };
        prop_assert_eq!(of("begins"), of("ceased"));
    }
}
