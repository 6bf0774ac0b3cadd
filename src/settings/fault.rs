//! What is wrong with a configuration, in words one can act on.

use std::fmt;

/// The most faults that are printed; the rest is counted.
const FAULTS_PRINTED_MAX: usize = 50;
/// The most characters of an offending text that are shown.
const EXCERPT_CHARACTERS_MAX: usize = 40;

/// One thing that is wrong: `FILE:LINE:COLUMN: KEY: TEXT: what was expected`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingFault {
    /// The file, as it was named; none for what is not in a file.
    pub file: Option<String>,
    /// Line and column from 1; none where the whole file is meant.
    pub position: Option<(u32, u32)>,
    /// The key in full, as written; none where no key is meant.
    pub key: Option<String>,
    /// What stands there, cut short and printable; none where there is nothing or it is secret.
    pub found: Option<String>,
    /// What was expected, or what to do.
    pub message: String,
    /// The line itself as far as it may be shown, where its place needs to be seen.
    pub line: Option<String>,
}

impl SettingFault {
    /// Without the place: `KEY: TEXT: what was expected`.
    pub fn words(&self) -> String {
        let parts = [self.key.as_deref(), self.found.as_deref(), Some(self.message.as_str())];
        parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
    }

    /// As it displays, and the line below it, with a mark under the place.
    pub fn pictured(&self) -> String {
        let (Some((number, column)), Some(line)) = (self.position, &self.line) else { return self.to_string() };
        let column = usize::try_from(column).unwrap_or(usize::MAX).min(line.chars().count());
        format!("{self}\n{number:>6} | {line}\n{:>6} | {:>column$}", "", "^")
    }
}

impl fmt::Display for SettingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            f.write_str(file)?;
            if let Some((line, column)) = self.position {
                write!(f, ":{line}:{column}")?;
            }
            f.write_str(": ")?;
        }
        for part in [&self.key, &self.found].into_iter().flatten() {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong, in the order of the files and their lines. Never empty. Displays one fault a line.
#[derive(Debug)]
pub struct Faults(Vec<SettingFault>);

impl Faults {
    /// These faults, already in order; `None` when there are none.
    pub(super) fn of(faults: Vec<SettingFault>) -> Option<Faults> {
        (!faults.is_empty()).then_some(Faults(faults))
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, SettingFault> {
        self.0.iter()
    }

    /// As they display, each with the line that it is in where that helps to see it.
    pub fn pictured(&self) -> String {
        self.joined(SettingFault::pictured)
    }

    fn joined(&self, put: impl Fn(&SettingFault) -> String) -> String {
        let mut lines: Vec<_> = self.0.iter().take(FAULTS_PRINTED_MAX).map(put).collect();
        let rest = self.0.len().saturating_sub(FAULTS_PRINTED_MAX);
        lines.extend((rest > 0).then(|| format!("and {rest} more")));
        lines.join("\n")
    }

    /// A configuration that is refused for what no key says.
    pub fn one(message: impl Into<String>) -> Faults {
        Faults(vec![SettingFault {
            file: None,
            position: None,
            key: None,
            found: None,
            message: message.into(),
            line: None,
        }])
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.joined(SettingFault::to_string))
    }
}

impl std::error::Error for Faults {}

/// How every JSON Web Token begins: `{"`, encoded.
const TOKEN_PREFIX: &str = "eyJ";

/// A text from a file as it may be shown: printable, not long, and no token, wherever somebody has set one.
pub(super) fn excerpt(text: &str) -> String {
    if text.contains(TOKEN_PREFIX) {
        return "(it looks like a token and is not shown)".to_owned();
    }
    let mut shown: String = text.chars().take(EXCERPT_CHARACTERS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(EXCERPT_CHARACTERS_MAX).is_some() {
        shown.push('…');
    }
    shown.replace("\\\"", "\"").replace("\\'", "'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_printable_and_short() {
        assert_eq!(excerpt("60000"), "60000");
        assert_eq!(excerpt("it's \"x\""), "it's \"x\"");
        assert_eq!(excerpt("a\u{1b}[31m\n"), "a\\u{1b}[31m\\n");
        assert_eq!(excerpt(&"x".repeat(41)), format!("{}…", "x".repeat(40)));
    }

    #[test]
    fn a_picture_shows_the_line_and_marks_the_place() {
        let fault = SettingFault {
            position: Some((7, 3)),
            line: Some("  exclude…".into()),
            ..Faults::one("wrong").0.remove(0)
        };
        assert_eq!(fault.pictured(), "wrong\n     7 |   exclude…\n       |   ^");
        let plain = SettingFault { line: None, ..fault };
        assert_eq!(plain.pictured(), "wrong");
    }

    #[test]
    fn a_token_is_not_shown_wherever_it_stands() {
        for text in ["eyJhbGciOiJIUzI1NiJ9.eyJyaWQiOiJuYXMtMSJ9.c2ln", "Bearer eyJhbGciOiJIUzI1NiJ9", " eyJhbGciOi"] {
            assert!(!excerpt(text).contains("eyJ"), "{text}");
        }
    }

    #[test]
    fn a_flood_of_faults_is_counted_and_not_printed() {
        let fault = Faults::one("wrong").0.remove(0);
        let text = Faults(vec![fault; FAULTS_PRINTED_MAX + 3]).to_string();
        assert_eq!(text.lines().count(), FAULTS_PRINTED_MAX + 1);
        assert!(text.ends_with("\nand 3 more"), "{text}");
    }
}
