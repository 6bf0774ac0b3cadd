//! The few shapes that the man pages are made of, over the crate `roff`: sections, items, paragraphs, examples.
//!
//! `roff` escapes what would be a command; what stands in backquotes in Rodent's texts becomes bold here.

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

/// A man page that is being written.
pub(crate) struct Text {
    roff: Roff,
    /// Whether a title stands right before: what follows is a paragraph by itself.
    titled: bool,
}

impl Text {
    /// Begins the page `name`(`section`).
    pub(crate) fn begin(name: &str, section: u8, date: &str) -> Text {
        let (section, source) = (section.to_string(), format!("Rodent {}", env!("CARGO_PKG_VERSION")));
        let mut roff = Roff::new();
        roff.control("TH", [&name.to_uppercase(), &section, date, &source, "Rodent"]);
        Text { roff, titled: true }
    }

    /// A section, such as EXAMPLES.
    pub(crate) fn section(&mut self, title: &str) -> &mut Text {
        self.roff.control("SH", [title]);
        self.titled = true;
        self
    }

    /// A part of a section.
    pub(crate) fn subsection(&mut self, title: &str) -> &mut Text {
        self.roff.control("SS", [title]);
        self.titled = true;
        self
    }

    pub(crate) fn paragraph(&mut self, text: &str) -> &mut Text {
        self.apart();
        self.line(text)
    }

    fn apart(&mut self) {
        if !self.titled {
            self.roff.control("PP", []);
        }
        self.titled = false;
    }

    /// Goes on in the same paragraph.
    pub(crate) fn line(&mut self, text: &str) -> &mut Text {
        self.roff.text(marked(text));
        self.titled = false;
        self
    }

    /// A term, and what it means, indented.
    pub(crate) fn item(&mut self, term: Vec<Inline>, meaning: &str) -> &mut Text {
        self.roff.control("TP", []);
        self.roff.text(term);
        self.line(meaning)
    }

    /// A further paragraph of an item.
    pub(crate) fn more(&mut self, text: &str) -> &mut Text {
        self.roff.control("IP", []);
        self.line(text)
    }

    /// Lines as they are.
    pub(crate) fn example<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) -> &mut Text {
        self.apart();
        self.roff.control("EX", []);
        for line in lines {
            self.roff.text([roman(line)]);
        }
        self.roff.control("EE", []);
        self
    }

    /// The files that belong to it.
    pub(crate) fn files(&mut self, files: &[(&str, &str)]) -> &mut Text {
        self.section("FILES");
        for (path, about) in files {
            self.item(vec![italic(*path)], about);
        }
        self
    }

    /// Other pages.
    pub(crate) fn see_also(&mut self, pages: &[String]) -> &mut Text {
        // Names of pages are not broken. A section begins with hyphenation, therefore here.
        self.section("SEE ALSO").roff.control("nh", []);
        let mut line = Vec::new();
        for page in pages {
            if !line.is_empty() {
                line.push(roman(", "));
            }
            let (name, section) = page.split_once('(').unwrap_or((page, ""));
            line.extend([bold(name), roman(format!("({section}"))]);
        }
        self.roff.text(line);
        self
    }

    /// The page as `man` reads it.
    pub(crate) fn render(&self) -> Vec<u8> {
        self.roff.render().into_bytes()
    }
}

/// What stands in backquotes is bold.
fn marked(text: &str) -> Vec<Inline> {
    // With an odd number of them the last stands for itself.
    let paired = text.matches('`').count() / 2 * 2;
    let parts = text.splitn(paired + 1, '`').enumerate();
    parts.map(|(at, part)| if at % 2 == 1 { bold(part) } else { roman(part) }).collect()
}
