//! Findings for people: the line of the file, and what of it is meant.

use std::fmt::Write;

use serde::Serialize;

use super::findings::Finding;

/// A place in a file, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Position {
    /// Of a byte of a text; of the last character where it is behind the end.
    pub fn of(text: &str, at: usize) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }
}

/// Characters that an excerpt shows before what is meant, and of it and behind it.
const BEFORE: usize = 60;
const FROM: usize = 100;

/// A finding in a file with this text, on several lines.
pub fn report(file: &str, text: &str, finding: &Finding) -> String {
    let Position { line, column } = Position::of(text, finding.place.start);
    let code = finding.code;
    let where_in = match &finding.resource {
        Some(resource) => {
            let namespace = match resource.namespace.as_str() {
                "" => String::new(),
                namespace => format!("{namespace}/"),
            };
            format!(" ({} {namespace}{}, {})", resource.kind, resource.name, finding.path)
        }
        None if finding.path == "text" => String::new(),
        None => format!(" ({})", finding.path),
    };
    let margin = " ".repeat(line.to_string().len());
    let mut report = format!("{}[{}]: {}\n", code.severity.as_str(), code.id, finding.message);
    // Writing into a String does not fail.
    let _ = writeln!(report, "{margin}--> {file}:{line}:{column}{where_in}");
    if !finding.is_of_secret() {
        let (excerpt, marks) = excerpt(text, finding);
        let _ = writeln!(report, "{margin} |\n{line} | {excerpt}\n{margin} | {marks}");
    }
    let _ = writeln!(report, "{margin} = help: {}", finding.help);
    report
}

/// The line that a finding begins in, and marks below what of it is meant: one at least.
fn excerpt(text: &str, finding: &Finding) -> (String, String) {
    let start = finding.place.start.min(text.len());
    let (before, after) = text.split_at_checked(start).unwrap_or((text, ""));
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let before: Vec<char> = before.get(line_start..).unwrap_or_default().chars().collect();
    let rest = after.split(['\n', '\r']).next().unwrap_or_default();
    let meant = text.get(finding.place.clone()).unwrap_or_default();
    let meant = meant.split(['\n', '\r']).next().unwrap_or_default();
    let cut = before.len().saturating_sub(BEFORE);
    let shown_before: String = before.iter().skip(cut).collect();
    let mut excerpt = if cut > 0 { String::from("…") } else { String::new() };
    // Marks stand below what they mean, whatever the tabs before it are.
    let mut marks: String = if cut > 0 { " ".into() } else { String::new() };
    marks.extend(shown_before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }));
    excerpt.push_str(&shown_before);
    excerpt.extend(rest.chars().take(FROM));
    if rest.chars().nth(FROM).is_some() {
        excerpt.push('…');
    }
    marks.push_str(&"^".repeat(meant.chars().count().clamp(1, FROM)));
    (excerpt, marks)
}
