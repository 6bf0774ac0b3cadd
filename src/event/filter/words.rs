//! A line of a filter cut into words, at spaces outside quotes.

use super::FilterError;

/// The words, without their quotes.
pub(super) fn split(line: &str) -> Result<Vec<String>, FilterError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut open: Option<char> = None;
    for c in line.chars() {
        match (open, c) {
            (Some(quote), _) if c == quote => open = None,
            (None, '"' | '\'') => {
                open = Some(c);
                word.get_or_insert_default();
            }
            (None, _) if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    if let Some(quote) = open {
        return Err(FilterError::new(format!("a quote is not closed: {quote} in: {line}")));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_part_words_unless_they_are_quoted() {
        let words = |line| split(line).expect("quotes are closed");
        assert_eq!(words(" a  b=c "), ["a", "b=c"]);
        assert_eq!(words(r#"reason="power lost" x='it"s'"#), ["reason=power lost", "x=it\"s"]);
        assert_eq!(words("x=''"), ["x="]);
        assert!(words("").is_empty());
        assert!(split("reason=\"power").is_err());
    }
}
