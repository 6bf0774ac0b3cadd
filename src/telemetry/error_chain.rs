//! An error and its causes in one line.

use std::{error::Error, fmt};

/// Displays an error, then each cause after a colon; one that only repeats what stands before it is left out.
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !line.ends_with(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            cause = error.source();
        }
        f.write_str(&line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Failed {
        text: &'static str,
        source: Option<Box<Failed>>,
    }

    #[test]
    fn causes_follow_and_none_is_said_twice() {
        let chain = |texts: &[&'static str]| {
            let wrap = |source: Option<Box<Failed>>, text: &&'static str| Some(Box::new(Failed { text, source }));
            ErrorChain(&*texts.iter().rev().fold(None, wrap).expect("an error")).to_string()
        };
        assert_eq!(chain(&["send", "connect", "connect", "refused"]), "send: connect: refused");
        assert_eq!(chain(&["it ended: by itself", "by itself"]), "it ended: by itself");
    }
}
