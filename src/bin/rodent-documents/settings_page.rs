//! rodent.yml(5), out of the records that the settings leave when nothing is set: each key with what it does, what it takes
//! and its default.

use anyhow::Context as _;
use clap_mangen::roff::{bold, italic, roman};
use rodent::agent::config::Config;

use crate::roff_text::Text;

const ABOUT: &str = "rodent.yml - settings of Rodent, the event agent";

const DESCRIPTION: &[&str] = &[
    "The agent reads /etc/rodent/rodent.yml, then the files *.yml of /etc/rodent/rodent.d, by name; what stands in a later \
     one wins. None of them has to be there: everything has a default.",
    "They are YAML. A key below is written with dots; in the file each dot is a level of its own, as in the examples. \
     Times are written 500ms, 30s, 5m, 1h30m or 7d, sizes 64MiB or 1GiB.",
    "`rodent config check` tells everything that is wrong with them, with file, line and column, and `rodent config show` \
     what is in force and where it was set. The file of the package shows every key with an explanation.",
];

const EXAMPLES: &str = "\
controller:
  address: controller.example.com:443
  token_file: /etc/rodent/token
events:
  profile: low-latency
  max_disk: 4GiB
collectors:
  network:
    exclude: [lo, veth*, docker0]";

/// The page as `man` reads it.
pub(crate) fn page(date: &str) -> anyhow::Result<Vec<u8>> {
    let loaded = Config::parse("", "").ok().context("the defaults are not valid")?;
    let mut text = Text::begin("rodent.yml", 5, date);
    text.section("NAME").line(ABOUT).section("DESCRIPTION");
    for paragraph in DESCRIPTION {
        text.paragraph(paragraph);
    }
    text.section("SETTINGS");
    let mut part = "";
    for record in loaded.records.iter() {
        let own = record.key.split_once('.').map_or("Of the agent itself", |(first, _)| first);
        if own != part {
            text.subsection(own);
            part = own;
        }
        let term = vec![bold(record.key.clone()), roman(": "), italic(record.expects.clone())];
        let default = match record.text() {
            text if text.is_empty() => "No default.".to_owned(),
            text => format!("Default: `{text}`."),
        };
        let mut about = record.about.to_owned();
        if let Some(first) = about.get(..1).map(str::to_uppercase) {
            about.replace_range(..1, &first);
        }
        text.item(term, &format!("{about}. {default}"));
    }
    text.section("EXAMPLES").example(EXAMPLES.lines());
    text.files(&[
        ("/etc/rodent/rodent.yml", "the file"),
        ("/etc/rodent/rodent.d/*.yml", "further ones"),
        ("/usr/share/rodent/rodent.schema.json", "a JSON schema of it, for editors"),
    ]);
    text.see_also(&["rodent(1)", "rodent-config(1)"].map(str::to_owned));
    Ok(text.render())
}
