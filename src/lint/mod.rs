//! `sightline lint`: broken formats and filters, wherever they stand, before a proxy finds them. Pure: texts in, findings
//! out.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `crate::codes` | the codes, their meanings and remedies: one table |
//! | `document` | YAML and JSON as a tree whose values know where they stand |
//! | `source_map` | where each character of a string stands in the file |
//! | `located` | a value with its path, also in YAML that stands in a string |
//! | `sources` | where formats and filters stand: a file for each kind of source |
//! | `findings` | what is judged, and what is said |
//! | `text`, `json`, `sarif` | how it is printed; a new form is a new file |
//! | `examples`, `docs` | what each code looks like; `--explain` and `docs/lint` |

pub mod docs;
pub mod document;
pub mod examples;
pub mod findings;
pub mod json;
pub mod located;
pub mod sarif;
pub mod source_map;
mod sources;
pub mod text;

#[cfg(test)]
mod tests;

pub use crate::codes;
pub use findings::{Finding, Options};

use findings::{Judge, Use};
use located::Located;

use crate::format::{Dialect, Form, Traffic};
use crate::yaml::YamlError;

/// Checks all objects of a file.
///
/// # Errors
/// Where the file is no YAML.
pub fn lint(text: &str, options: Options) -> Result<Vec<Finding>, YamlError> {
    let mut findings = Vec::new();
    for object in Located::of_file(text)?.into_iter().flat_map(sources::objects) {
        let mut judge = Judge::new(options);
        sources::judge(&object, &mut judge);
        let found = judge.into_findings();
        if found.is_empty() {
            continue;
        }
        let resource = sources::resource(&object);
        findings.extend(found.into_iter().map(|finding| Finding {
            resource: resource.clone(),
            ..finding
        }));
    }
    Ok(findings)
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
