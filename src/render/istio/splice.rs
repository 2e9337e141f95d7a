//! Our extension providers in the text of a MeshConfig that belongs to somebody else.
//!
//! People write comments into that text and compare it with what is in git, so every byte that is not of our entries stays.
//! Our entries are taken out and put back after the last of the others: what is left in between is the text as it would be
//! without us, and [`splice`] gives nothing out that it could not take back to that text.
//!
//! - A key that we make is marked `# added by sightline`, and goes with our last entry. A `null` that we replace stays behind
//!   a comment, and comes back. A list without a mark stays, empty or not.
//! - A list in brackets stays one: our entries are then JSON, a line each.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Map, Value};

use crate::render::istio::provider::PREFIX;
use crate::yaml::{self, YamlError};

mod layout;
#[cfg(test)]
mod tests;

use layout::{Layout, List, after_comments, indent, line_end, line_start};

/// Key of the list in MeshConfig.
const KEY: &str = "extensionProviders";
/// What stands after a key that we made.
const ADDED: &str = ": # added by sightline";
/// What we put before a `null`, so that it is a comment.
const REPLACED: &str = "# replaced by sightline: ";

/// Why entries cannot be put into a text. Lines are those of the text, from 1.
#[derive(Debug, thiserror::Error)]
pub enum SpliceError {
    /// The text cannot be read.
    #[error("MeshConfig is {0}. Correct it, then providers are put in")]
    Unreadable(#[source] YamlError),
    /// An entry has no YAML form.
    #[error("A provider {0}")]
    Entry(#[source] YamlError),
    /// There are two documents.
    #[error("MeshConfig has a second YAML document at line {line}, and istiod reads the first alone: leave one")]
    Documents {
        /// Start of the second.
        line: usize,
    },
    /// The text is a list or a scalar.
    #[error("MeshConfig is no mapping (line {line}): write it as `key: value`")]
    NotAMapping {
        /// Where it begins.
        line: usize,
    },
    /// The key stands twice.
    #[error("MeshConfig has `extensionProviders` at line {first} and again at line {second}: make them one list")]
    Twice {
        /// The first.
        first: usize,
        /// The second.
        second: usize,
    },
    /// The list has its other name, and would be ignored beside ours.
    #[error(
        "MeshConfig has `extension_providers` at line {line}: rename it to `extensionProviders`, the name that counts where both stand"
    )]
    SnakeCase {
        /// Where.
        line: usize,
    },
    /// The value is no list.
    #[error("`extensionProviders` at line {line} of MeshConfig is no list: make it one, `[]` for an empty one")]
    NotAList {
        /// Line of the key.
        line: usize,
    },
    /// The list is, or may be, that of an anchor too.
    #[error(
        "`extensionProviders` of MeshConfig is shared by an alias or a merge key (line {line}): write the list out"
    )]
    Shared {
        /// Line of the key, or of the merge key.
        line: usize,
    },
    /// Entries do not begin on lines of their own.
    #[error(
        "MeshConfig writes `extensionProviders` in a way that cannot be added to (line {line}): write the key on a line of its own, and below it each entry on lines that begin with `- `"
    )]
    Layout {
        /// The line that is not understood.
        line: usize,
    },
    /// There is no list, and the mapping is in braces.
    #[error(
        "MeshConfig is written in braces (line {line}) and has no `extensionProviders`: add `\"extensionProviders\": []` to it"
    )]
    Braces {
        /// Where it begins.
        line: usize,
    },
    /// A line after the last one would change the last value.
    #[error("MeshConfig ends within the block text that begins at line {line}: end its last line with a newline")]
    OpenText {
        /// Start of the block scalar.
        line: usize,
    },
    /// The result was not what it should be, and is not given out.
    #[error(
        "MeshConfig with our providers would not be what it is now and they ({0}): nothing is written. Write `extensionProviders` as a plain list, each entry on lines that begin with `- `"
    )]
    Unsafe(&'static str),
}

/// Text with exactly `wanted` as our entries (names that begin with [`PREFIX`]) of `extensionProviders`, sorted by name and
/// behind those of others; every other byte as it was. A text that has these entries already comes back as it is.
pub fn splice(text: &str, wanted: &BTreeMap<String, Value>) -> Result<String, SpliceError> {
    let before = Mesh::read(text)?;
    if before.ours().eq(wanted.values()) {
        return Ok(text.to_owned());
    }
    let without = take_out(text)?;
    let result = put_in(&without, wanted)?;
    let after = Mesh::read(&result).map_err(|_| SpliceError::Unsafe("it would not read back"))?;
    if !after.ours().eq(wanted.values()) {
        return Err(SpliceError::Unsafe("our entries read back as others"));
    }
    if !after.others().eq(before.others()) || after.rest() != before.rest() {
        return Err(SpliceError::Unsafe("something that is not ours would change"));
    }
    if take_out(&result)? != without {
        return Err(SpliceError::Unsafe("our entries could not be taken out again"));
    }
    Ok(result)
}

/// What a text says and where its list is.
struct Mesh {
    values: Map<String, Value>,
    layout: Layout,
}

impl Mesh {
    /// As istiod reads: of a key that stands twice the last counts.
    fn read(text: &str) -> Result<Self, SpliceError> {
        let document = yaml::read_leniently(text)
            .map_err(SpliceError::Unreadable)?
            .into_iter()
            .next();
        let layout = layout::read(text)?;
        let values = match document {
            Some(Value::Object(values)) => values,
            _ => Map::new(),
        };
        let mesh = Self { values, layout };
        if mesh.entries().len() != mesh.layout.list.entries().len() {
            return Err(SpliceError::Unsafe("the list cannot be found in the text"));
        }
        Ok(mesh)
    }

    fn entries(&self) -> &[Value] {
        let list = self.values.get(KEY).and_then(Value::as_array);
        list.map(Vec::as_slice).unwrap_or_default()
    }

    fn ours(&self) -> impl Iterator<Item = &Value> {
        self.entries().iter().filter(|entry| is_ours(entry))
    }

    fn others(&self) -> impl Iterator<Item = &Value> {
        self.entries().iter().filter(|entry| !is_ours(entry))
    }

    fn rest(&self) -> Map<String, Value> {
        let mut rest = self.values.clone();
        rest.shift_remove(KEY);
        rest
    }

    /// Places of the entries, and whether they are ours.
    fn placed(&self) -> impl Iterator<Item = (&Range<usize>, bool)> {
        self.layout
            .list
            .entries()
            .iter()
            .zip(self.entries().iter().map(is_ours))
    }
}

fn is_ours(entry: &Value) -> bool {
    let name = entry.get("name").and_then(Value::as_str);
    name.is_some_and(|name| name.starts_with(PREFIX))
}

/// The text without our entries, and without the key where we made it.
fn take_out(text: &str) -> Result<String, SpliceError> {
    let mesh = Mesh::read(text)?;
    match &mesh.layout.list {
        List::Missing | List::MissingInFlow(_) => Ok(text.to_owned()),
        List::Flow { open, close, .. } => Ok(cut(text, &cuts_in_flow(text, &mesh, *open, *close))),
        List::Null { key, .. } | List::Block { key, .. } => take_out_lines(text, &mesh, key),
    }
}

fn take_out_lines(text: &str, mesh: &Mesh, key: &Range<usize>) -> Result<String, SpliceError> {
    let mut cuts: Vec<Range<usize>> = mesh
        .placed()
        .filter(|(_, ours)| *ours)
        .map(|(place, _)| place.clone())
        .collect();
    if mesh.others().next().is_none() {
        let key_line = line_start(text, key.start)..line_end(text, key.end);
        let list = mesh
            .layout
            .list
            .entries()
            .first()
            .map_or(key_line.end, |first| first.start);
        let after_key = text.get(key.end..list).unwrap_or_default();
        if text.get(key.end..key_line.end).unwrap_or_default().trim_end() == ADDED {
            cuts.insert(0, key_line);
        } else if let Some(at) = after_key.find(REPLACED).map(|at| key.end + at) {
            cuts.insert(0, at..at + REPLACED.len());
        }
    }
    let without = cut(text, &cuts);
    let ends_with_ours = cuts.last().is_some_and(|last| last.end == text.len());
    if !ends_with_ours || text.ends_with('\n') {
        return Ok(without);
    }
    // The last line had no newline. Nor has the one before it now, unless its value needs one.
    let shorter = without.strip_suffix('\n').unwrap_or(&without);
    let shorter = shorter.strip_suffix('\r').unwrap_or(shorter);
    Ok(match layout::read(shorter)?.open_scalar {
        Some(_) => without,
        None => shorter.to_owned(),
    })
}

/// Entries in brackets go with the comma and the space before them, or with the comma after them where they are the first.
fn cuts_in_flow(text: &str, mesh: &Mesh, open: usize, close: usize) -> Vec<Range<usize>> {
    let mut cuts = Vec::new();
    let (mut cursor, mut is_first) = (open, true);
    let mut places = mesh.placed().peekable();
    while let Some((place, ours)) = places.next() {
        if !ours {
            (cursor, is_first) = (place.end, false);
            continue;
        }
        let gap = text.get(cursor..place.start).unwrap_or_default();
        if gap.chars().all(|c| c == ',' || c.is_whitespace()) {
            cuts.push(cursor..place.end);
        } else {
            cuts.extend(comma(gap, cursor));
            cuts.push(place.clone());
        }
        cursor = place.end;
        if is_first {
            let next = places.peek().map_or(close, |(next, _)| next.start);
            let after = comma(text.get(cursor..next).unwrap_or_default(), cursor);
            cursor = after.as_ref().map_or(cursor, |comma| comma.end);
            cuts.extend(after);
        }
    }
    cuts
}

/// The comma between two entries, whatever comments stand around it.
fn comma(gap: &str, start: usize) -> Option<Range<usize>> {
    let mut at = start;
    for line in gap.split_inclusive('\n') {
        let code = line.split('#').next().unwrap_or_default();
        if let Some(comma) = code.find(',') {
            return Some(at + comma..at + comma + 1);
        }
        at += line.len();
    }
    None
}

/// The text without some ranges, which are sorted and apart.
fn cut(text: &str, ranges: &[Range<usize>]) -> String {
    let mut left = String::with_capacity(text.len());
    let mut from = 0;
    for range in ranges {
        left.push_str(text.get(from..range.start).unwrap_or_default());
        from = range.end;
    }
    left.push_str(text.get(from..).unwrap_or_default());
    left
}

/// A text that has none of our entries, with them.
fn put_in(text: &str, wanted: &BTreeMap<String, Value>) -> Result<String, SpliceError> {
    if wanted.is_empty() {
        return Ok(text.to_owned());
    }
    let layout = layout::read(text)?;
    let column = layout.column;
    match &layout.list {
        List::MissingInFlow(line) => Err(SpliceError::Braces { line: *line }),
        List::Flow { open, entries, .. } => Ok(put_in_flow(text, *open, entries, wanted)),
        List::Missing => {
            let lines = format!("{:column$}{KEY}{ADDED}\n{}", "", lines(wanted, column)?);
            put_lines(text, &layout, layout.end, &lines)
        }
        List::Null { key, word: None } => {
            let at = after_comments(text, line_end(text, key.end), column);
            put_lines(text, &layout, at, &lines(wanted, column)?)
        }
        List::Null { word: Some(word), .. } => {
            let (before, after) = text.split_at_checked(word.start).unwrap_or((text, ""));
            let commented = format!("{before}{REPLACED}{after}");
            let at = line_end(&commented, word.end + REPLACED.len());
            put_lines(&commented, &layout, at, &lines(wanted, column)?)
        }
        List::Block {
            column: dash, entries, ..
        } => {
            let last = entries.last().map_or(layout.end, |last| last.end);
            let at = after_comments(text, last, column);
            put_lines(text, &layout, at, &lines(wanted, *dash)?)
        }
    }
}

fn lines(wanted: &BTreeMap<String, Value>, column: usize) -> Result<String, SpliceError> {
    let entries = Value::Array(wanted.values().cloned().collect());
    let entries = yaml::to_plain_lines(&entries).map_err(SpliceError::Entry)?;
    let indented: Vec<String> = entries.lines().map(|line| format!("{:column$}{line}\n", "")).collect();
    Ok(indented.concat())
}

/// Puts whole lines in. At the end of a text without a final newline, there is none after them either.
fn put_lines(text: &str, layout: &Layout, at: usize, lines: &str) -> Result<String, SpliceError> {
    let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
    let newline = newline(text);
    let lines = lines.replace('\n', newline);
    if before.is_empty() || before.ends_with('\n') {
        return Ok(format!("{before}{lines}{after}"));
    }
    if let Some(line) = layout.open_scalar {
        return Err(SpliceError::OpenText { line });
    }
    let lines = lines.strip_suffix(newline).unwrap_or(&lines);
    Ok(format!("{before}{newline}{lines}{after}"))
}

fn put_in_flow(text: &str, open: usize, entries: &[Range<usize>], wanted: &BTreeMap<String, Value>) -> String {
    let at = entries.last().map_or(open, |last| last.end);
    let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
    let line = text.get(line_start(text, open)..).unwrap_or_default();
    let (newline, column) = (newline(text), indent(line) + 2);
    let entry = |entry: &Value| format!("{newline}{:column$}{}", "", yaml::to_flow(entry));
    let entries_text: Vec<String> = wanted.values().map(entry).collect();
    let comma = if entries.is_empty() { "" } else { "," };
    format!("{before}{comma}{}{after}", entries_text.join(","))
}

/// The newline of a text: that of its first line.
fn newline(text: &str) -> &'static str {
    let first = text.split_inclusive('\n').next().unwrap_or_default();
    if first.ends_with("\r\n") { "\r\n" } else { "\n" }
}
