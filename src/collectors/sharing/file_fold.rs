//! Which accesses to files are told, and which only count. Pure.
//!
//! Within a window of [`WINDOW`] of each kind so many are told one by one as [`SINGLES_MAX`] says, each file and user once. At its end what
//! came beside them is told: of a file how often it was used again, and of a share how many other files, and below which directory.

use serde::{Deserialize, Serialize};

use super::audit::{Access, Act};

/// Counting begins anew after so long; milliseconds.
const WINDOW: i64 = 10 * 60 * 1000;
/// The most accesses of one kind that are told one by one within it.
const SINGLES_MAX: usize = 32;
/// The most kinds and shares whose other accesses are told apart; what is beyond counts to the last one.
const OTHERS_MAX: usize = 64;

/// What is known of the window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fold {
    began: i64,
    /// In the order in which they were told.
    singles: Vec<Counted>,
    /// One a kind and share.
    others: Vec<Counted>,
}

/// Accesses that are alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counted {
    pub(super) act: Act,
    /// Empty as soon as they differ.
    pub(super) user: String,
    pub(super) address: String,
    pub(super) share: String,
    /// Of several, what their paths have in common.
    pub(super) path: String,
    #[serde(skip)]
    pub(super) new_path: String,
    #[serde(skip)]
    pub(super) wanted: String,
    /// Those that were not told.
    pub(super) like_it: u64,
    is_of_many: bool,
}

impl Fold {
    /// Takes an access in.
    pub(super) fn take(&mut self, act: Act, access: Access, told: &mut Vec<Counted>) {
        // A clock that was set back must not keep it for ever.
        self.settle(access.at, told);
        let same = |it: &&mut Counted| it.act == act && it.path == access.path && it.user == access.user;
        if let Some(single) = self.singles.iter_mut().find(same) {
            single.like_it = single.like_it.saturating_add(1);
            return;
        }
        if self.singles.iter().filter(|it| it.act == act).count() < SINGLES_MAX {
            let single = Counted::of(act, access);
            told.push(single.clone());
            self.singles.push(single);
            return;
        }
        let is_full = self.others.len() >= OTHERS_MAX;
        let place = self.others.iter().position(|it| it.act == act && it.share == access.share);
        match place.or_else(|| is_full.then_some(OTHERS_MAX - 1)).and_then(|at| self.others.get_mut(at)) {
            Some(others) => others.add(&access),
            None => self.others.push(Counted { like_it: 1, is_of_many: true, ..Counted::of(act, access) }),
        }
    }

    /// Tells what has come beside what was told, when the window is over.
    pub(super) fn settle(&mut self, now: i64, told: &mut Vec<Counted>) {
        let is_over = now.saturating_sub(self.began).unsigned_abs() >= WINDOW.unsigned_abs();
        if !is_over {
            return;
        }
        let singles = std::mem::take(&mut self.singles).into_iter().filter(|single| single.like_it > 0);
        told.extend(singles.chain(std::mem::take(&mut self.others)));
        self.began = now;
    }

    /// Whether anything is counted.
    pub(super) fn is_empty(&self) -> bool {
        self.singles.is_empty() && self.others.is_empty()
    }
}

impl Counted {
    fn of(act: Act, access: Access) -> Counted {
        let Access { user, address, share, path, new_path, wanted, .. } = access;
        Counted { act, user, address, share, path, new_path, wanted: wanted.to_owned(), like_it: 0, is_of_many: false }
    }

    fn add(&mut self, access: &Access) {
        self.like_it = self.like_it.saturating_add(1);
        self.path = common(&self.path, &access.path);
        for (mine, other) in
            [(&mut self.user, &access.user), (&mut self.address, &access.address), (&mut self.share, &access.share)]
        {
            if mine != other {
                mine.clear();
            }
        }
        if self.wanted != access.wanted {
            self.wanted.clear();
        }
        self.new_path.clear();
    }

    /// `/srv/data/*` for several files.
    pub(super) fn path(&self) -> String {
        let is_one = !self.is_of_many || self.like_it == 1;
        if is_one { self.path.clone() } else { format!("{}/*", self.path.trim_end_matches('/')) }
    }

    /// How many it stands for beside itself.
    pub(super) fn beside(&self) -> u64 {
        if self.is_of_many { self.like_it.saturating_sub(u64::from(self.like_it == 1)) } else { self.like_it }
    }
}

/// The directory that both lie in, or the path that both are.
fn common(one: &str, other: &str) -> String {
    if one == other {
        return one.to_owned();
    }
    let mut end = 0;
    for ((at, mine), its) in one.char_indices().chain([(one.len(), '/')]).zip(other.chars().chain(['/'])) {
        if mine != its {
            break;
        }
        if mine == '/' {
            end = at;
        }
    }
    one.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn access(user: &str, path: &str, at: i64) -> Access {
        let (share, address) = ("data".to_owned(), "10.0.0.7".to_owned());
        Access { user: user.to_owned(), path: path.to_owned(), share, address, at, ..Access::default() }
    }

    fn lines(told: &[Counted]) -> Vec<String> {
        told.iter().map(|it| format!("{:?} {} {} {}", it.act, it.user, it.path(), it.beside())).collect()
    }

    #[test]
    fn a_file_is_told_once_and_at_the_end_of_the_window_how_often_it_was_used_again() {
        let (mut fold, mut told) = (Fold::default(), Vec::new());
        for (user, at) in [("a", WINDOW), ("a", WINDOW + 1), ("b", WINDOW + 2), ("a", 2 * WINDOW - 1)] {
            fold.take(Act::Read, access(user, "/srv/x", at), &mut told);
        }
        assert_eq!(lines(&told), ["Read a /srv/x 0", "Read b /srv/x 0"]);
        told.clear();
        fold.settle(2 * WINDOW, &mut told);
        assert_eq!(lines(&told), ["Read a /srv/x 2"]);
        assert!(fold.is_empty());
    }

    #[test]
    fn of_thousands_of_files_some_are_told_and_the_rest_as_one_with_the_directory_that_they_are_in() {
        let (mut fold, mut told) = (Fold::default(), Vec::new());
        for number in 0..10_000 {
            fold.take(Act::Delete, access("a", &format!("/srv/data/d{}/{number}", number % 7), WINDOW), &mut told);
        }
        fold.take(Act::Denied, access("b", "/srv/data/secret", WINDOW), &mut told);
        assert_eq!(told.len(), SINGLES_MAX + 1, "another kind has its own bound");
        told.clear();
        fold.settle(2 * WINDOW, &mut told);
        assert_eq!(lines(&told), [format!("Delete a /srv/data/* {}", 10_000 - SINGLES_MAX)]);
    }

    proptest! {
        #[test]
        fn every_access_is_told_or_counted_and_what_is_told_is_bounded(
            accesses in prop::collection::vec((0_usize..3, 0_u32..200, 0_u32..3, 0_i64..2_000_000), 0..400),
        ) {
            let (mut fold, mut told) = (Fold::default(), Vec::new());
            let count = u64::try_from(accesses.len()).unwrap();
            for (act, file, share, at) in accesses {
                let act = [Act::Read, Act::Write, Act::Denied][act];
                let share = format!("s{share}");
                fold.take(act, Access { share, ..access("a", &format!("/srv/{file}"), at) }, &mut told);
            }
            fold.settle(100_000_000, &mut told);
            let singles = told.iter().filter(|it| !it.is_of_many && it.like_it == 0).count();
            let counted: u64 = told.iter().map(|it| it.like_it).sum();
            prop_assert_eq!(u64::try_from(singles).unwrap() + counted, count);
        }

        #[test]
        fn what_paths_have_in_common_is_a_directory_of_both(one in "(/[ab]{1,2}){0,4}", other in "(/[ab]{1,2}){0,4}") {
            let common = common(&one, &other);
            prop_assert_eq!(&common, &super::common(&other, &one));
            for path in [&one, &other] {
                let rest = path.strip_prefix(common.as_str());
                prop_assert!(rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')), "{} of {}", common, path);
            }
        }
    }
}
