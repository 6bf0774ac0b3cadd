//! The name that somebody may have meant.

/// Names longer than this are not compared: the work grows with the product of the lengths.
const NAME_CHARS_MAX: usize = 96;

/// The candidate that is spelt most like `name`, if it differs in no more than two letters of five.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name: Vec<char> = name.to_lowercase().chars().take(NAME_CHARS_MAX + 1).collect();
    if name.is_empty() || name.len() > NAME_CHARS_MAX {
        return None;
    }
    let distance_max = (name.len() * 2 / 5).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&name, candidate), candidate))
        .filter(|(distance, _)| *distance <= distance_max)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean "…"?`, or nothing.
pub(super) fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean \"{name}\"?")).unwrap_or_default()
}

/// Letters to insert, remove, replace or swap with their neighbour to get from one name to the other.
fn distance(name: &[char], other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut before_last = vec![0; other.len() + 1];
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in name.iter().enumerate() {
        let mut row = vec![i + 1; other.len() + 1];
        for (j, b) in other.iter().enumerate() {
            let replaced = last[j] + usize::from(a != b);
            row[j + 1] = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && name[i - 1] == *b {
                row[j + 1] = row[j + 1].min(before_last[j - 1] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_hand_is_found_and_another_word_is_not() {
        let names = ["pool_name", "dataset_name", "size_bytes"];
        assert_eq!(nearest("pol_name", names), Some("pool_name"));
        assert_eq!(nearest("pool_nmae", names), Some("pool_name"));
        assert_eq!(nearest("SIZE_BYTES", names), Some("size_bytes"));
        assert_eq!(nearest("colour", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest(&"x".repeat(10_000), names), None);
    }

    #[test]
    fn distance_counts_a_swap_as_one() {
        let of = |a: &str, b| distance(&a.chars().collect::<Vec<_>>(), b);
        assert_eq!(of("abcd", "abdc"), 1);
        assert_eq!(of("", "abc"), 3);
        assert_eq!(of("kitten", "sitting"), 3);
    }
}
