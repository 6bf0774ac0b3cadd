//! What a receiver has to answer for something to be taken: a status, and what its JSON says. Without it, 2xx. Pure, but for the
//! settings.

use hyper::StatusCode;
use serde_json::Value;

use super::{
    answer::{Answer, shown},
    template::words,
};
use crate::settings::Table;

/// The most of each.
const LIST_MAX: usize = 32;

/// What is expected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Expectation {
    /// None: every 2xx.
    statuses: Vec<StatusCode>,
    /// Paths, and what stands there as text.
    json: Vec<(String, String)>,
}

impl Expectation {
    /// The part `expect`.
    pub(super) fn read(table: &mut Table) -> Expectation {
        let mut expect = table.table("expect", "which answers mean that it was taken; without it, every 2xx");
        let texts = expect.strings("status", &[], "the statuses that do, such as [200, 202]");
        let json =
            expect.values("json", "what JSON in the answer has to say, by path: `{ok: true, result.state: queued}`");
        let statuses: Vec<_> = texts.iter().filter_map(|text| text.parse().ok()).filter(is_final).collect();
        if statuses.len() < texts.len() || texts.len() > LIST_MAX {
            expect.fault("status", format!("expected at most {LIST_MAX} numbers from 200 to 599"));
        }
        if json.len() > LIST_MAX {
            expect.fault("json", format!("at most {LIST_MAX} are taken"));
        }
        Expectation { statuses, json: json.into_iter().map(|(path, value)| (path, words(&value))).collect() }
    }

    /// Whether this answer means that it was taken.
    ///
    /// # Errors
    /// When it does not; in words where its status alone would have sufficed.
    pub(super) fn judge(&self, answer: &Answer) -> Result<(), Option<String>> {
        let is_expected = self.statuses.contains(&answer.status);
        match (is_expected, answer.status.is_success()) {
            (false, false) => Err(None),
            (false, true) if !self.statuses.is_empty() => {
                let expected: Vec<_> = self.statuses.iter().map(StatusCode::as_str).collect();
                Err(Some(format!("not {}, as `expect.status` has it", expected.join(" or "))))
            }
            _ if self.json.is_empty() => Ok(()),
            _ => self.judge_json(answer).map_err(Some),
        }
    }

    fn judge_json(&self, answer: &Answer) -> Result<(), String> {
        if !answer.is_whole {
            return Err("its JSON is longer than is read, and `expect.json` cannot be looked for".to_owned());
        }
        let read: Value = serde_json::from_slice(&answer.body)
            .map_err(|_| "what it says is no JSON, which `expect.json` asks for".to_owned())?;
        for (path, expected) in &self.json {
            match at(&read, path).map(words) {
                Some(found) if found == *expected => {}
                Some(found) => {
                    let found = shown(&found);
                    return Err(format!("`{path}` in it is {found}, and not {expected}, as `expect.json` has it"));
                }
                None => return Err(format!("there is no `{path}` in it, which `expect.json` asks for")),
            }
        }
        Ok(())
    }
}

fn is_final(status: &StatusCode) -> bool {
    (200..600).contains(&status.as_u16())
}

/// What stands at a path: names, and numbers for the elements of lists.
fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    let own = |name: &str| match value {
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        value => value.get(name),
    };
    if let Some(found) = own(path) {
        return Some(found);
    }
    let (name, rest) = path.split_once('.')?;
    at(own(name)?, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Document;

    fn read(text: &str) -> Result<Expectation, String> {
        let document = Document::parse("f", text);
        let expectation = Expectation::read(&mut document.root());
        document.finish().map(|_| expectation).map_err(|faults| faults.to_string())
    }

    fn judged(text: &str, status: u16, body: &str) -> Result<(), Option<String>> {
        let status = StatusCode::from_u16(status).expect("a status");
        let answer = Answer { body: body.as_bytes().to_vec(), ..Answer::of(status) };
        read(text).expect("right").judge(&answer)
    }

    #[test]
    fn an_answer_is_judged_by_its_status_and_by_what_its_json_says() {
        let json = "expect: {json: {ok: true, result.state: queued, list.1: 7}}";
        let right = r#"{"ok": true, "result": {"state": "queued"}, "list": [6, 7]}"#;
        for (text, status, body, expected) in [
            ("", 204, "", Ok(())),
            ("", 500, "", Err(None)),
            ("expect: {status: [202, 409]}", 202, "", Ok(())),
            ("expect: {status: [202, 409]}", 409, "", Ok(())),
            ("expect: {status: [202, 409]}", 200, "", Err(Some("not 202 or 409"))),
            ("expect: {status: [202, 409]}", 404, "", Err(None)),
            (json, 200, right, Ok(())),
            (json, 500, right, Err(None)),
            (json, 200, &right.replace("true", "\"true\""), Ok(())),
            (json, 200, &right.replace("true", "false"), Err(Some("`ok` in it is false, and not true"))),
            (json, 200, &right.replace('7', "8"), Err(Some("`list.1` in it is 8"))),
            (json, 200, r#"{"ok": true}"#, Err(Some("there is no `result.state` in it"))),
            (json, 200, "<html>", Err(Some("what it says is no JSON"))),
            (json, 200, "", Err(Some("what it says is no JSON"))),
        ] {
            let judged = judged(text, status, body);
            match (&judged, expected) {
                (Err(Some(why)), Err(Some(expected))) => assert!(why.starts_with(expected), "{why}"),
                (judged, expected) => {
                    assert_eq!(judged, &expected.map_err(|why| why.map(str::to_owned)), "{text} {body}")
                }
            }
        }
        let answer = Answer { is_whole: false, body: right.into(), ..Answer::of(StatusCode::OK) };
        let why = read(json).expect("right").judge(&answer).expect_err("cut").expect("in words");
        assert!(why.starts_with("its JSON is longer"), "{why}");
    }

    #[test]
    fn what_is_no_status_is_refused() {
        for text in ["expect: {status: [OK]}", "expect: {status: [100]}", "expect: {status: [700]}"] {
            assert!(read(text).expect_err(text).contains("expected at most 32 numbers from 200 to 599"), "{text}");
        }
    }
}
