//! What lint says, and the judge that says it.

use std::ops::Range;

use serde::Serialize;
use serde_json::Value;

use super::codes::{About, Code, Place, Policy, Severity, code};
use super::cost::Written;
use super::located::{Located, Mark};
use super::policies::Fact;
use super::source_map::SourceMap;
use crate::cel::{self, Refusal};
use crate::filter::{self, FilterError, Verdict};
use crate::format::{self, CompiledFormat, Diagnostic, Dialect, EnvoyVersion, Form, Setting, Traffic};

/// What files are checked for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The oldest Envoy that reads them.
    pub oldest: EnvoyVersion,
    /// Who reads a format that does not say so itself; `None`: not told.
    pub mesh: Option<Dialect>,
}

/// The object that a finding is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
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

impl Finding {
    /// What is wrong with a value as a whole; what to do is what the table says.
    pub fn of_policy(policy: Policy, resource: Option<Resource>, mark: Mark, message: String) -> Self {
        let code = code(About::Policy(policy));
        Self {
            code,
            resource,
            path: mark.path,
            span: 0..0,
            place: mark.place,
            message,
            help: lower_first(code.remedy),
        }
    }

    /// Whether its line of the file holds a secret, which is not to be printed again.
    pub fn is_of_secret(&self) -> bool {
        self.code == code(About::Policy(Policy::InlineSecret))
    }
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

/// What is said of one object.
#[derive(Clone, Debug)]
pub struct Judged {
    /// What was found, in the order of the file.
    pub findings: Vec<Finding>,
    /// What policies are judged by.
    pub facts: Vec<Fact>,
    /// The object.
    pub resource: Option<Resource>,
    /// Whether anything depends on who reads.
    pub asked_for_mesh: bool,
}

/// Judges what the sources find in one document.
#[derive(Debug)]
pub struct Judge {
    options: Options,
    findings: Vec<Finding>,
    facts: Vec<Fact>,
    asked_for_mesh: bool,
    /// `None` where nobody asks what formats cost.
    formats: Option<Vec<Written>>,
}

impl Judge {
    /// Without findings.
    pub const fn new(options: Options) -> Self {
        Self {
            options,
            findings: Vec::new(),
            facts: Vec::new(),
            asked_for_mesh: false,
            formats: None,
        }
    }

    /// One that keeps the formats that it meets.
    pub fn keeping_formats(options: Options) -> Self {
        Self {
            formats: Some(Vec::new()),
            ..Self::new(options)
        }
    }

    /// The formats that it met, in the order of the file.
    pub fn into_formats(self) -> Vec<Written> {
        let mut formats = self.formats.unwrap_or_default();
        formats.sort_by_key(|written| written.at);
        formats
    }

    /// Keeps a whole format that stands at a value.
    pub fn keep(&mut self, value: &Located, traffic: Traffic, omit_empty_values: bool, format: CompiledFormat) {
        if let Some(formats) = &mut self.formats {
            formats.push(Written {
                path: value.path().to_owned(),
                at: value.source_map().place(&(0..0)).start,
                traffic,
                format,
                omit_empty_values,
            });
        }
    }

    /// Keeps a format whose members are written as they are read.
    pub fn keep_members(&mut self, value: &Located, traffic: Traffic) {
        if self.formats.is_some()
            && let Value::Object(members) = value.node().to_value()
        {
            self.keep(value, traffic, false, CompiledFormat::Json(members));
        }
    }

    /// What was found, in the order of the file.
    pub fn into_findings(mut self) -> Vec<Finding> {
        self.findings
            .sort_by_key(|finding| (finding.place.start, finding.place.end));
        self.findings
    }

    /// What was found in an object, and what is kept of it.
    pub fn into_judged(mut self, object: &Located) -> Judged {
        let (facts, asked_for_mesh) = (std::mem::take(&mut self.facts), self.asked_for_mesh);
        let mut findings = self.into_findings();
        let is_silent = findings.is_empty() && facts.is_empty();
        let resource = if is_silent { None } else { object.resource() };
        for finding in &mut findings {
            finding.resource.clone_from(&resource);
        }
        Judged {
            findings,
            facts,
            resource,
            asked_for_mesh,
        }
    }

    /// The oldest Envoy that reads the files.
    pub const fn oldest(&self) -> EnvoyVersion {
        self.options.oldest
    }

    /// Who reads a string that does not say so itself: what the flag says, or the files. An object whose source asks is
    /// judged again when all files are read.
    pub const fn mesh(&mut self) -> Option<Dialect> {
        self.asked_for_mesh = true;
        self.options.mesh
    }

    /// What is wrong with an object as a whole.
    pub fn policy(&mut self, policy: Policy, mark: Mark, message: String) {
        self.findings.push(Finding::of_policy(policy, None, mark, message));
    }

    /// Whether an error was found in a value, or below it.
    pub fn has_error_in(&self, path: &str) -> bool {
        let mut errors = self
            .findings
            .iter()
            .filter(|finding| finding.code.severity == Severity::Error);
        errors.any(|finding| finding.path.starts_with(path))
    }

    /// Keeps a fact until all files are read.
    pub fn note(&mut self, fact: Fact) {
        self.facts.push(fact);
    }

    /// A format string. What is no string is none of ours: who reads it refuses it.
    pub fn format(&mut self, value: &Located, used: Use) {
        if let Some(text) = value.as_string() {
            if used.form == Form::Line {
                self.keep(value, used.traffic, false, CompiledFormat::Text(text.to_owned()));
            }
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

    /// A format string that makes the value of a span's tag, or its name.
    pub fn span_text(&mut self, value: &Located) {
        let Some(text) = value.as_string() else { return };
        if let Err(errors) = format::check_text(text, self.options.oldest) {
            for error in errors.iter() {
                self.diagnostic(error.clone(), &value.source_map(), value.path());
            }
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

    /// The expression of a metric's tag, of which nobody says that it is wrong. Its attributes are those of Istio's own
    /// metrics, so only what no proxy can build is told.
    pub fn tag_expression(&mut self, value: &Located) {
        let Some(text) = value.as_string() else { return };
        let refused = cel::parse(text).err().filter(|refusal| refusal.maybe_from.is_none());
        if let Some(Refusal { place, message, .. }) = refused {
            let about = About::Policy(Policy::TagExpression);
            let (span, help) = (place.unwrap_or(0..0), lower_first(code(about).remedy));
            self.push(about, &value.source_map(), value.path(), span, message, help);
        }
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
