//! `sightline lint`: broken formats and filters, wherever they stand, before a proxy finds them; and policies that do not
//! do what they look like. Pure: texts in, findings out.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `crate::codes` | the codes, their meanings and remedies: one table |
//! | `document` | YAML and JSON as a tree whose values know where they stand |
//! | `source_map` | where each character of a string stands in the file |
//! | `located` | a value with its path, also in YAML that stands in a string |
//! | `sources` | where formats and filters stand: a file for each kind of source |
//! | `findings` | what is judged, and what is said |
//! | `linter` | files one after the other, and then what all of them together say |
//! | `policies` | what is wrong between objects, or with one as a whole: a file for each subject |
//! | `cost` | what the formats that stand there cost |
//! | `text`, `json`, `sarif` | how it is printed; a new form is a new file |
//! | `examples`, `docs` | what each code looks like; `--explain` and `docs/lint` |

pub mod cost;
pub mod docs;
pub mod document;
pub mod examples;
pub mod findings;
pub mod json;
mod linter;
pub mod located;
mod policies;
pub mod sarif;
pub mod source_map;
mod sources;
pub mod text;

#[cfg(test)]
mod tests;

pub use crate::codes;
pub use findings::{Finding, Options};
pub use linter::{Checked, Linter};
pub use sources::{SERVED, ServedKind};

use findings::{Judge, Use};

use crate::format::{Dialect, Form, Traffic};
use crate::yaml::YamlError;

/// Checks all objects of one file that stands alone.
///
/// # Errors
/// Where the file is no YAML.
pub fn lint(text: &str, options: Options) -> Result<Vec<Finding>, YamlError> {
    let mut linter = Linter::new(options);
    linter.add(String::new(), text.to_owned())?;
    Ok(linter.finish().into_iter().flat_map(|file| file.findings).collect())
}

/// Checks one format: a whole line of text. Its place is that in the text, and its path is `text`.
pub fn lint_format(text: &str, options: Options) -> Vec<Finding> {
    let mut judge = Judge::new(options);
    let used = Use {
        form: Form::Line,
        dialect: options.mesh.unwrap_or(Dialect::Envoy),
        traffic: Traffic::Both,
        has_extensions: false,
    };
    let map = source_map::SourceMap::of_file(text.len());
    judge.format_text(text, &map, "text", used);
    judge.into_findings()
}
