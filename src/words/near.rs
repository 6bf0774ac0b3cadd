//! The known word that a misspelt one was meant to be.

/// Longer words are not compared: the work grows with the product of the lengths.
const WORD_CHARACTERS_MAX: usize = 96;

/// The candidate that is spelt most like `word`, case aside: at most two letters of five are changed, added, left out
/// or swapped with their neighbour. Of two that are equally near, the first.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let characters = word.chars().take(WORD_CHARACTERS_MAX + 1).count();
    if characters == 0 || characters > WORD_CHARACTERS_MAX {
        return None;
    }
    let distance_max = (characters * 2 / 5).max(1);
    let distances = candidates.into_iter().map(|candidate| (strsim::osa_distance(&word, candidate), candidate));
    let near = distances.filter(|(distance, _)| *distance <= distance_max);
    near.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// `; did you mean "…"?`, or nothing.
pub fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|word| format!("; did you mean \"{word}\"?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_hand_is_found_and_another_word_is_not() {
        let names = ["pool_name", "dataset_name", "size_bytes"];
        assert_eq!(nearest("pol_name", names), Some("pool_name"));
        assert_eq!(nearest("pool_nmae", names), Some("pool_name"));
        assert_eq!(nearest("sizebytes", names), Some("size_bytes"));
        assert_eq!(nearest("SIZE_BYTES", names), Some("size_bytes"));
        assert_eq!(nearest("colour", names), None);
        assert_eq!(nearest("", names), None);
    }

    #[test]
    fn swapped_neighbours_are_one_mistake() {
        assert_eq!(nearest("tsl", ["tls"]), Some("tls"));
        assert_eq!(nearest("lst", ["tls"]), None);
        assert_eq!(nearest("og", ["on"]), Some("on"), "in a short word one is allowed");
    }

    #[test]
    fn a_word_of_any_length_is_taken_and_a_long_one_is_not_compared() {
        let longest = "x".repeat(WORD_CHARACTERS_MAX);
        assert_eq!(nearest(&longest, [longest.as_str()]), Some(longest.as_str()));
        let longer = "x".repeat(WORD_CHARACTERS_MAX + 1);
        assert_eq!(nearest(&longer, [longer.as_str()]), None);
    }
}
