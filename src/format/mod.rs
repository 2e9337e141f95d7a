//! Envoy's access-log format language: what a user wrote becomes a format that Envoy takes, or an error that says what
//! to write instead. Pure: no I/O, no clock.
//!
//! There are two ways in. [`compile`] takes a format: it composes (preset plus fields minus what is omitted) and checks
//! every operator against the oldest proxy, because one bad operator makes Envoy refuse the whole listener, and the same
//! log stands in every listener (`reference/istio-behaviour.md` §e). [`check_text`] takes the value of a span's tag.
//!
//! Of what was compiled, [`otlp_attributes`] makes a log record, [`to_kuma`] what a MeshAccessLog holds, and
//! [`http_operators`] says what is silent on TCP. [`lost_in_otlp`] and [`in_kmesh`] say what is lost there.
//! [`text_to_fields`] makes JSON of a text, and [`from_kuma`] takes Kuma's own operators out of one.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `parser` | where operators begin and end, with byte spans; no operator by name |
//! | `operators.tsv`, `table` | the operators: name, version, arguments, length |
//! | `checker` | whether an operator is used as Envoy takes it |
//! | `setting` | where a format is used: the mesh, its oldest proxy, the traffic |
//! | `lint` | what Envoy takes and nobody wants |
//! | `otlp` | what of a compiled format goes where in an OTLP log record |
//! | `kuma` | Kuma's own operators, and formats from Kuma and to it |
//! | `judgement` | all there is to say of one string of somebody else's configuration |
//! | `express` | what a target cannot say of a format |
//! | `convert` | from a text to fields |
//! | `cost.tsv`, `cost` | what a format costs Envoy, from measured figures |
//! | `connection` | which operators say nothing on TCP connections |
//! | `presets`, `compose` | formats with a name, and what `fields` and `omit` do to them |
//! | `preview` | the line that Envoy would print for a described request |
//! | `diagnostic` | what errors and warnings look like |
//! | `steps` | how many bytes are looked at, which tests bound |
//! | `docs` | the tables of `docs/format.md` |
//! | `testdata/envoy-verdicts.tsv` | what Envoy 1.36 to 1.40 said to some thousand strings; a test compares |
//!
//! Of CEL expressions (`crate::cel`) a function that was not seen to work in Envoy is refused, although one may.
//!
//! Whether a mesh leaves out what is empty (`omitEmptyValues`) is nothing to the compiler: it changes what Envoy prints
//! (`-` and null are left out, and objects that become empty so), not which strings it takes. It has nothing to do with
//! [`FormatSpec::omit`], which takes fields away before Envoy sees them.

mod checker;
mod compose;
mod connection;
mod convert;
pub mod cost;
mod diagnostic;
pub mod docs;
mod express;
mod judgement;
mod kuma;
mod lint;
mod otlp;
mod parser;
mod presets;
pub mod preview;
mod setting;
mod steps;
mod table;
mod version;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use checker::{Findings, Reader};

pub use connection::http_operators;
pub use convert::text_to_fields;
pub use diagnostic::{Diagnostic, FormatErrors, Kind};
pub(crate) use diagnostic::{nearest, others, shorten};
pub use express::{Expressed, Inexpressible, in_kmesh, lost_in_otlp};
pub use judgement::{Form, Judgement, judge, needs_extension};
pub use kuma::{KumaFormat, from_kuma, to_kuma, unreplaced_in_attribute};
pub(crate) use lint::is_secret;
pub use otlp::{OtlpFormat, otlp_attributes};
pub use setting::{Dialect, Setting, Traffic};
pub use version::{EnvoyVersion, InvalidKumaVersion, InvalidVersion, KumaVersion};

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
    /// The defaults of Kuma, of HTTP and of TCP. In other meshes what only Kuma knows is written as `-` in text and left
    /// out of JSON, with a warning.
    Kuma,
    /// Names of the Elastic Common Schema. JSON only; for TCP a form of its own.
    Ecs,
    /// Names of OpenTelemetry's semantic conventions. JSON only; for TCP a form of its own.
    OpenTelemetry,
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
    /// Whether the dots of the name nest: `a.b` is the member `b` of the object `a`. At most 16 names deep, because the
    /// readers of a mesh's configuration refuse what is nested deeper than some 33. Only for [`Encoding::Json`].
    pub nest: bool,
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
    /// All values are strings, or objects of such values. Never empty, on no level.
    Json(Map<String, Value>),
}

/// A compiled format and what is odd about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// The format.
    pub format: CompiledFormat,
    /// What Envoy takes and nobody wants, in the order of the format.
    pub warnings: Vec<Diagnostic>,
}

/// Compiles a format for the place where it is used; a version alone stands for all traffic of an Istio mesh whose oldest
/// proxy it is.
///
/// # Errors
///
/// All errors of the format, each with its place, its reason and what to write instead.
pub fn compile(spec: &FormatSpec, setting: impl Into<Setting>) -> Result<Compiled, FormatErrors> {
    let setting = setting.into();
    let compose = |oldest, findings: &mut Findings| compose::compose(spec, Setting { oldest, ..setting }, findings);
    without_errors(setting.oldest, compose).map(|(format, warnings)| Compiled { format, warnings })
}

/// The first Envoy whose span tags can be made by a substitution string (`value` of `CustomTag`): 1.36 refuses it. It is
/// inside Istio 1.29; istiod leaves such a tag out for older proxies.
pub const TAG_TEXT_SINCE: EnvoyVersion = EnvoyVersion::new(1, 37);

/// Checks a substitution string that makes the value of a span's tag, for proxies from `oldest_proxy` on; those before
/// [`TAG_TEXT_SINCE`] never get it.
///
/// The language is that of access logs without `REQ_WITHOUT_QUERY`, which needs an extension that no tag has: so said
/// Envoy 1.37.0 and 1.40.0 to every string of `testdata/envoy-verdicts.tsv`. No newline is added.
///
/// # Errors
///
/// All errors of the text, with their place in `text`.
pub fn check_text(text: &str, oldest_proxy: EnvoyVersion) -> Result<(), FormatErrors> {
    let read = |oldest, findings: &mut Findings| {
        if text.is_empty() {
            let help = "write literal text and operators, such as `%REQUESTED_SERVER_NAME%`";
            let empty = Diagnostic::whole(Kind::Empty, "text", "the text is empty", help);
            findings.errors.push(empty);
        }
        let reader = Reader {
            oldest,
            extensions: false,
            kuma: None,
        };
        checker::check(text, "text", reader, findings);
    };
    without_errors(oldest_proxy.max(TAG_TEXT_SINCE), read).map(|((), _)| ())
}

/// Where Envoy stops reading a text: the N of its message `Couldn't find valid command at position N`, in bytes from 0.
/// `None` where it reads all of it, which does not mean that it takes it.
pub fn unreadable_at(text: &str) -> Option<usize> {
    let parsed = parser::parse(text);
    parsed.error.map(|_| parsed.length)
}

/// Checks a JSON format as a mesh or Envoy has it, for proxies from `oldest_proxy` on: strings in it, at any depth, are
/// format strings; numbers, booleans, null and keys are printed as they stand.
///
/// # Errors
///
/// All errors of the strings; the path of each leads to the value, such as `http.paths[1]`.
pub fn check_json(fields: &Map<String, Value>, oldest_proxy: EnvoyVersion) -> Result<Vec<Diagnostic>, FormatErrors> {
    // istiod looks for operators that need an extension in the outermost strings only, but adds it for all.
    let extensions = fields.values().filter_map(Value::as_str).any(checker::needs_extension);
    let read = |oldest, findings: &mut Findings| {
        let reader = Reader {
            oldest,
            extensions,
            kuma: None,
        };
        for (key, value) in fields {
            checker::check_value(value, key, reader, findings);
        }
    };
    without_errors(oldest_proxy, read).map(|((), warnings)| warnings)
}

/// What `read` makes for the oldest proxy, and its warnings; or its errors, which know whether a supported Envoy that is
/// newer has none.
fn without_errors<T>(
    oldest: EnvoyVersion,
    read: impl Fn(EnvoyVersion, &mut Findings) -> T,
) -> Result<(T, Vec<Diagnostic>), FormatErrors> {
    let read = |version| {
        let mut findings = Findings::default();
        (read(version, &mut findings), findings)
    };
    let (made, findings) = read(oldest);
    // What is wrong for another reason stays wrong: not worth reading again.
    let too_new = findings.errors.iter().all(|error| error.kind == Kind::TooNew);
    let accepted = |version: &EnvoyVersion| too_new && *version > oldest && read(*version).1.errors.is_empty();
    let needs = || EnvoyVersion::supported().find(accepted);
    match FormatErrors::from_found(findings.errors, needs) {
        Some(errors) => Err(errors),
        None => Ok((made, findings.warnings)),
    }
}
