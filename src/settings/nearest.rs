//! Which known word a misspelt one was meant to be.

/// The longest word that is compared, characters; nobody means a known key with a longer one.
const WORD_CHARACTERS_MAX: usize = 64;

/// The known word that is spelt most like this one, if it is near: at most a third of its characters differ.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.to_lowercase().chars().take(WORD_CHARACTERS_MAX + 1).collect();
    if word.len() > WORD_CHARACTERS_MAX {
        return None;
    }
    let near = |candidate: &&'a str| {
        let candidate_characters: Vec<char> = candidate.chars().collect();
        let distance = distance(&word, &candidate_characters);
        (distance <= candidate_characters.len().div_ceil(3)).then_some(distance)
    };
    known.into_iter().filter_map(|candidate| Some((near(&candidate)?, candidate))).min().map(|(_, candidate)| candidate)
}

/// How many letters must be changed, added, left out or swapped with their neighbour to get from one word to the other.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, own) in from.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in to.iter().enumerate() {
            let mut cost =
                (last[column] + usize::from(own != other)).min(last[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && *own == to[column - 1] && from[row - 1] == *other {
                cost = cost.min(before[column - 1] + 1);
            }
            current.push(cost);
        }
        before = std::mem::replace(&mut last, current);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_finds_the_one_that_was_meant() {
        let known = ["flush_threshold", "flush_interval", "batch_size", "profile"];
        assert_eq!(nearest("flush_treshold", known), Some("flush_threshold"));
        assert_eq!(nearest("Profile", known), Some("profile"));
        assert_eq!(nearest("batchsize", known), Some("batch_size"));
        assert_eq!(nearest("proifle", known), Some("profile"));
    }

    #[test]
    fn a_word_that_resembles_none_finds_none() {
        assert_eq!(nearest("webhook", ["profile", "batch_size"]), None);
        assert_eq!(nearest("", ["profile"]), None);
        assert_eq!(nearest(&"p".repeat(10_000), ["profile"]), None);
    }

    #[test]
    fn swapped_neighbours_are_one_mistake() {
        let characters = |text: &str| text.chars().collect::<Vec<_>>();
        assert_eq!(distance(&characters("tls"), &characters("tsl")), 1);
        assert_eq!(distance(&characters(""), &characters("abc")), 3);
    }
}
