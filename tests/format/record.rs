//! The recorded verdicts, which unit tests compare with without an Envoy, are what the Envoys say.
//!
//! `SIGHTLINE_UPDATE=1 cargo test --test format` (or `make golden`) asks them anew; a new string is a line with nothing
//! behind it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::envoy::{Release, Verdict, filtered_log, text_log};
use crate::every_release;

const FORMATS: &str = "src/format/testdata/envoy-verdicts.tsv";
const FILTERS: &str = "src/filter/testdata/envoy-verdicts.tsv";

/// The expressions of filters that are on record.
pub fn expressions() -> Vec<String> {
    Record::read(&fs::read_to_string(path(FILTERS)).unwrap()).strings
}

fn path(record: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(record)
}

/// A record: lines of comment, a header with the releases, then a line for each string.
struct Record {
    comment: String,
    strings: Vec<String>,
}

impl Record {
    fn read(text: &str) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let header = lines.iter().position(|line| !line.starts_with("# ")).unwrap();
        let (comment, rows) = lines.split_at(header + 1);
        Self {
            comment: comment[..header].iter().flat_map(|line| [line, "\n"]).collect(),
            strings: rows
                .iter()
                .map(|row| unescape(row.split('\t').next().unwrap()))
                .collect(),
        }
    }

    async fn ask(&self, column: &str, access_log: fn(&str) -> Value) -> String {
        let logs: Vec<Value> = self.strings.iter().map(|string| access_log(string)).collect();
        let said = every_release(&logs).await;
        let mut record = format!("{}{column}", self.comment);
        for release in Release::all() {
            record = record + "\t" + release.name();
        }
        for (index, string) in self.strings.iter().enumerate() {
            record = record + "\n" + &escape(string);
            for (_, verdicts) in &said {
                record += match verdicts[index] {
                    Verdict::Accepted => "\tok",
                    Verdict::Refused(_) => "\tno",
                    Verdict::Crashed => "\tcrash",
                };
            }
        }
        record + "\n"
    }
}

const ESCAPES: [(char, &str); 4] = [('\\', "\\\\"), ('\n', "\\n"), ('\r', "\\r"), ('\t', "\\t")];

fn escape(string: &str) -> String {
    ESCAPES.iter().fold(string.to_owned(), |escaped, (plain, escape)| {
        escaped.replace(*plain, escape)
    })
}

fn unescape(escaped: &str) -> String {
    let mut string = String::new();
    let mut rest = escaped;
    while let Some(first) = rest.chars().next() {
        let escape = ESCAPES.iter().find(|(_, escape)| rest.starts_with(escape));
        let (plain, written) = escape.map_or((first, first.len_utf8()), |(plain, escape)| (*plain, escape.len()));
        string.push(plain);
        rest = &rest[written..];
    }
    string
}

async fn is_what_the_envoys_say(record: &str, column: &str, access_log: fn(&str) -> Value) {
    let path = path(record);
    let recorded = fs::read_to_string(&path).unwrap();
    let said = Record::read(&recorded).ask(column, access_log).await;
    if std::env::var_os("SIGHTLINE_UPDATE").is_some() {
        fs::write(&path, said).unwrap();
        return;
    }
    let differing: Vec<_> = said
        .lines()
        .zip(recorded.lines())
        .filter(|(said, recorded)| said != recorded)
        .collect();
    assert!(
        differing.is_empty(),
        "(said, recorded) in {}: {differing:#?}",
        path.display()
    );
    assert_eq!(said, recorded);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recorded_verdicts_on_formats_are_what_the_envoys_say() {
    is_what_the_envoys_say(FORMATS, "string", text_log).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recorded_verdicts_on_filters_are_what_the_envoys_say() {
    is_what_the_envoys_say(FILTERS, "expression", filtered_log).await;
}
