//! Findings for programs.

use std::ops::Range;

use serde::Serialize;

use super::codes::Severity;
use super::findings::Finding;
use super::text::Position;

/// A finding, as a member of the array that is printed.
#[derive(Debug, Serialize)]
pub struct Entry<'a> {
    code: &'static str,
    severity: Severity,
    file: &'a str,
    /// `null` for a file that holds no object.
    resource: Option<Resource<'a>>,
    path: &'a str,
    /// Bytes of the string at `path`; both 0 where it is meant as a whole.
    span: Span,
    /// Where that is in the file.
    location: Location,
    message: &'a str,
    help: &'a str,
}

#[derive(Debug, Serialize)]
struct Resource<'a> {
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
}

#[derive(Debug, Serialize)]
struct Span {
    start: usize,
    end: usize,
}

#[derive(Debug, Serialize)]
struct Location {
    start: Position,
    end: Position,
}

/// A finding in a file with this text.
pub fn entry<'a>(file: &'a str, text: &str, finding: &'a Finding) -> Entry<'a> {
    let Range { start, end } = finding.span;
    Entry {
        code: finding.code.id,
        severity: finding.code.severity,
        file,
        resource: finding.resource.as_ref().map(|resource| Resource {
            kind: &resource.kind,
            namespace: &resource.namespace,
            name: &resource.name,
        }),
        path: &finding.path,
        span: Span { start, end },
        location: Location {
            start: Position::of(text, finding.place.start),
            end: Position::of(text, finding.place.end),
        },
        message: &finding.message,
        help: &finding.help,
    }
}
