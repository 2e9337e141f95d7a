//! What lint says, and the judge that says it.

use std::ops::Range;

use super::codes::{About, Code, Place, code};
use super::located::Located;
use super::source_map::SourceMap;
use crate::filter::{self, FilterError, Verdict};
use crate::format::{self, Diagnostic, Dialect, EnvoyVersion, Form, Setting, Traffic};

/// What files are checked for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The oldest Envoy that reads them.
    pub oldest: EnvoyVersion,
    /// Who reads a format that does not say so itself; `None`: not told.
    pub mesh: Option<Dialect>,
}

/// The object that a finding is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty where it has none.
    pub namespace: String,
    /// Its name; empty where it has none.
    pub name: String,
}

/// One finding.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What it is.
    pub code: &'static Code,
    /// The object; `None` for a file that holds none.
    pub resource: Option<Resource>,
    /// The value that is meant.
    pub path: String,
    /// Bytes of the string at `path`; empty where it is meant as a whole.
    pub span: Range<usize>,
    /// Bytes of the file.
    pub place: Range<usize>,
    /// What is wrong, in lower case, without a full stop.
    pub message: String,
    /// What to do, likewise.
    pub help: String,
}

/// How a format string is used.
#[derive(Clone, Copy, Debug)]
pub struct Use {
    /// A line or a value.
    pub form: Form,
    /// Who reads it.
    pub dialect: Dialect,
    /// What it is printed for.
    pub traffic: Traffic,
    /// Whether the configuration names the extension that `REQ_WITHOUT_QUERY` needs.
    pub has_extensions: bool,
}

/// Judges what the sources find in one document.
#[derive(Debug)]
pub struct Judge {
    /// What is checked for.
    pub options: Options,
    findings: Vec<Finding>,
}

impl Judge {
    /// Without findings.
    pub const fn new(options: Options) -> Self {
        Self {
            options,
            findings: Vec::new(),
        }
    }

    /// What was found, in the order of the file.
    pub fn into_findings(mut self) -> Vec<Finding> {
        self.findings
            .sort_by_key(|finding| (finding.place.start, finding.place.end));
        self.findings
    }

    /// A format string. What is no string is none of ours: who reads it refuses it.
    pub fn format(&mut self, value: &Located, used: Use) {
        if let Some(text) = value.as_string() {
            self.format_text(text, &value.source_map(), value.path(), used);
        }
    }

    /// A format string that stands in no document.
    pub fn format_text(&mut self, text: &str, map: &SourceMap, path: &str, used: Use) {
        let setting = Setting::new(used.dialect, self.options.oldest).with(used.traffic);
        let judged = format::judge(text, used.form, setting, used.has_extensions);
        for diagnostic in judged.errors.into_iter().chain(judged.warnings) {
            self.diagnostic(diagnostic, map, path);
        }
    }

    /// What the compiler said of a string.
    pub fn diagnostic(&mut self, diagnostic: Diagnostic, map: &SourceMap, path: &str) {
        let Diagnostic {
            kind,
            span,
            message,
            help,
            ..
        } = diagnostic;
        self.push(About::Format(kind), map, path, span, message, help);
    }

    /// A filter in CEL, of somebody else. An empty one is none.
    pub fn filter(&mut self, value: &Located, traffic: Traffic) {
        let Some(text) = value.as_string().filter(|text| !text.is_empty()) else {
            return;
        };
        self.judged_filter(value, text, filter::judge_foreign(text, traffic, self.options.oldest));
    }

    /// A filter in CEL, of ours.
    pub fn own_filter(&mut self, value: &Located, traffic: Traffic) {
        if let Some(text) = value.as_string() {
            self.judged_filter(value, text, filter::judge(text, traffic, self.options.oldest));
        }
    }

    /// A match of ours that gave no filter.
    pub fn bad_match(&mut self, value: &Located, error: FilterError) {
        let about = About::Filter(error.kind);
        let help = lower_first(code(about).remedy);
        self.push(about, &value.source_map(), value.path(), 0..0, error.message, help);
    }

    fn judged_filter(&mut self, value: &Located, text: &str, verdict: Verdict) {
        let (map, path) = (value.source_map(), value.path());
        // Places are in the text without the blanks before it.
        let before = text.len() - text.trim_start().len();
        let errors = verdict.error.into_iter();
        let errors = errors.map(|error| (About::Filter(error.kind), error.place, error.message));
        let warnings = verdict.warnings.into_iter();
        let warnings = warnings.map(|warning| (About::Doubt(warning.doubt), warning.place, warning.message));
        for (about, place, message) in errors.chain(warnings) {
            let span = place.map_or(0..0, |place| place.start + before..place.end + before);
            let help = lower_first(code(about).remedy);
            self.push(about, &map, path, span, message, help);
        }
    }

    /// A string that holds no YAML or JSON, or a value of another shape.
    pub fn unreadable(&mut self, value: &Located, why: &str) {
        self.place(Place::Unreadable, &value.source_map(), value.path(), 0..0, why);
    }

    fn place(&mut self, place: Place, map: &SourceMap, path: &str, span: Range<usize>, message: &str) {
        let about = About::Place(place);
        self.push(
            about,
            map,
            path,
            span,
            message.to_owned(),
            lower_first(code(about).remedy),
        );
    }

    fn push(&mut self, about: About, map: &SourceMap, path: &str, span: Range<usize>, message: String, help: String) {
        self.findings.push(Finding {
            code: code(about),
            resource: None,
            path: path.to_owned(),
            place: map.place(&span),
            span,
            message,
            help,
        });
    }
}

/// A sentence of the table as a help: in lower case, without a full stop.
fn lower_first(sentence: &str) -> String {
    let bare = sentence.strip_suffix('.').unwrap_or(sentence);
    let mut letters = bare.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_lowercase).collect();
    format!("{first}{}", letters.as_str())
}
