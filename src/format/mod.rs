//! Envoy's access-log format language: what a user wrote becomes a format that Envoy takes, or an error that says what
//! to write instead. Pure: no I/O, no clock.
//!
//! [`compile`] is the only way in. It composes (preset plus fields minus what is omitted) and checks every operator
//! against the oldest proxy, because one bad operator makes Envoy refuse the whole listener, and the same log stands in
//! every listener (`reference/istio-behaviour.md` §e).
//!
//! | file | what it knows |
//! | --- | --- |
//! | `parser` | where operators begin and end, with byte spans; no operator by name |
//! | `operators.tsv`, `table` | the operators: name, version, arguments, length |
//! | `checker` | whether an operator is used as Envoy takes it |
//! | `presets`, `compose` | default formats, and what `fields` and `omit` do to them |
//! | `diagnostic` | what errors and warnings look like |
//! | `testdata/envoy-verdicts.tsv` | what Envoy 1.36 to 1.40 said to some thousand strings; a test compares |
//!
//! Of CEL expressions (`crate::cel`) a function that was not seen to work in Envoy is refused, although one may.
//! Not there yet: the preview of a line, warnings for operators that print `-` on TCP and for headers that carry
//! secrets, nested JSON names, the presets of Kuma, ECS and OpenTelemetry, and Kuma's own operators.

mod checker;
mod compose;
mod diagnostic;
mod parser;
mod presets;
mod table;
mod version;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

pub use diagnostic::{Diagnostic, FormatErrors, Kind};
pub(crate) use diagnostic::{nearest, shorten};
pub use version::{EnvoyVersion, InvalidVersion};

/// How a log entry is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// A line of text.
    Text,
    /// A JSON object in a line.
    Json,
}

/// A format that is known by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Preset {
    /// The default of Istio 1.28 and later.
    Istio,
    /// The default of Envoy.
    Envoy,
}

/// What a format starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// A preset, in the encoding of the format.
    Preset(Preset),
    /// The user's own text; nothing can be added or omitted. Only for [`Encoding::Text`].
    Text(String),
    /// Nothing but the fields. Only for [`Encoding::Json`].
    Empty,
}

/// A field to add: a JSON key, or ` name=value` at the end of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Not empty, given once. In text without blanks, `=` and `%`. In JSON the name of a field of the preset replaces
    /// that field in its place.
    pub name: String,
    /// A format string: literals and operators.
    pub value: String,
}

/// A format as a user wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatSpec {
    /// Text or JSON.
    pub encoding: Encoding,
    /// What to start from.
    pub base: Base,
    /// What to add.
    pub fields: Vec<Field>,
    /// What to take away from a preset, by its JSON names (such as `user_agent`), in either encoding. In text, a field
    /// goes with one space, and with its quotes when nothing else stands between them.
    pub omit: Vec<String>,
}

/// A format that Envoy takes, as it goes into a mesh's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompiledFormat {
    /// Ends with a newline.
    Text(String),
    /// All values are strings. Never empty.
    Json(Map<String, Value>),
}

/// A compiled format and what is odd about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// The format.
    pub format: CompiledFormat,
    /// What Envoy takes and is probably not meant.
    pub warnings: Vec<Diagnostic>,
}

/// Compiles a format for proxies from `oldest_proxy` on.
///
/// # Errors
///
/// All errors of the format, each with its place, its reason and what to write instead.
pub fn compile(spec: &FormatSpec, oldest_proxy: EnvoyVersion) -> Result<Compiled, FormatErrors> {
    let mut findings = checker::Findings::default();
    let format = compose::compose(spec, oldest_proxy, &mut findings);
    match FormatErrors::from_found(findings.errors) {
        Some(errors) => Err(errors),
        None => Ok(Compiled {
            format,
            warnings: findings.warnings,
        }),
    }
}
