//! Where the characters of a string stand in the file that it was read from: through indentation, folding and escapes,
//! and through strings that stand in strings.
//!
//! The YAML parser says what a string is and where it stands; here the two are laid side by side. Where they do not fit
//! (the parser knows a rule that we do not), the string maps as a whole: a place is then coarse, never wrong.

use std::ops::Range;

use granit_parser::ScalarStyle;

/// Bytes of a string, and the bytes of the file that they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    decoded: Range<usize>,
    file: Range<usize>,
    /// Byte for byte the same; else the piece is indivisible.
    is_verbatim: bool,
}

/// Where each byte of a string stands in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceMap {
    /// Sorted, without gaps in `decoded`.
    pieces: Vec<Piece>,
    /// The whole string in the file, quotes included.
    whole: Range<usize>,
}

impl SourceMap {
    /// Of a text that is a file.
    pub fn of_file(length: usize) -> Self {
        let piece = Piece {
            decoded: 0..length,
            file: 0..length,
            is_verbatim: true,
        };
        Self {
            pieces: vec![piece],
            whole: 0..length,
        }
    }

    /// Of a value that is no string.
    pub const fn of_whole(span: Range<usize>) -> Self {
        Self {
            pieces: Vec::new(),
            whole: span,
        }
    }

    /// Of a scalar that the parser read as `decoded` at `span` of `text`.
    pub fn of_scalar(text: &str, span: Range<usize>, style: ScalarStyle, decoded: &str) -> Self {
        let mut aligner = Aligner::new(text, span.clone(), decoded);
        let fits = match style {
            ScalarStyle::Literal | ScalarStyle::Folded => aligner.block(),
            ScalarStyle::Plain => aligner.flow(None),
            ScalarStyle::SingleQuoted => aligner.flow(Some('\'')),
            ScalarStyle::DoubleQuoted => aligner.flow(Some('"')),
        };
        let pieces = match fits {
            Some(()) => aligner.pieces,
            None => vec![Piece {
                decoded: 0..decoded.len(),
                file: span.clone(),
                is_verbatim: false,
            }],
        };
        Self { pieces, whole: span }
    }

    /// The bytes of the file that bytes of the string come from. An empty span is the string as a whole, since a finding
    /// without a place is about all of it.
    pub fn place(&self, span: &Range<usize>) -> Range<usize> {
        if span.is_empty() {
            return self.whole.clone();
        }
        self.exactly(span).unwrap_or_else(|| self.whole.clone())
    }

    fn exactly(&self, span: &Range<usize>) -> Option<Range<usize>> {
        let first = self.holding(span.start)?;
        let last = self.holding(span.end.checked_sub(1)?)?;
        let start = if first.is_verbatim {
            first.file.start + (span.start - first.decoded.start)
        } else {
            first.file.start
        };
        let end = if last.is_verbatim {
            last.file.start + (span.end - last.decoded.start)
        } else {
            last.file.end
        };
        (start <= end).then_some(start..end)
    }

    fn holding(&self, at: usize) -> Option<&Piece> {
        let index = self.pieces.partition_point(|piece| piece.decoded.end <= at);
        self.pieces.get(index).filter(|piece| piece.decoded.contains(&at))
    }

    /// The map of a string that stands in this string, which `inner` maps to this one: its map to the file.
    #[must_use]
    pub fn within(&self, inner: &Self) -> Self {
        let pieces = inner.pieces.iter().flat_map(|piece| self.split(piece)).collect();
        let whole = self.place(&inner.whole);
        Self { pieces, whole }
    }

    /// A piece whose `file` is this string, as pieces of the file.
    fn split(&self, inner: &Piece) -> Vec<Piece> {
        if !inner.is_verbatim {
            let file = self.place(&inner.file);
            return vec![Piece { file, ..inner.clone() }];
        }
        let first = self
            .pieces
            .partition_point(|outer| outer.decoded.end <= inner.file.start);
        let outers = self.pieces.iter().skip(first);
        let overlapping = outers.take_while(|outer| outer.decoded.start < inner.file.end);
        overlapping
            .map(|outer| {
                let start = outer.decoded.start.max(inner.file.start);
                let end = outer.decoded.end.min(inner.file.end);
                let from = inner.decoded.start + (start - inner.file.start);
                let file = if outer.is_verbatim {
                    let moved = |at: usize| outer.file.start + (at - outer.decoded.start);
                    moved(start)..moved(end)
                } else {
                    outer.file.clone()
                };
                Piece {
                    decoded: from..from + (end - start),
                    file,
                    is_verbatim: outer.is_verbatim,
                }
            })
            .collect()
    }
}

/// A scalar's source and its value, laid side by side.
struct Aligner<'a> {
    text: &'a str,
    /// Where the source ends.
    end: usize,
    /// Next byte of the source.
    at: usize,
    decoded: &'a str,
    /// Next byte of the value.
    done: usize,
    pieces: Vec<Piece>,
}

impl<'a> Aligner<'a> {
    fn new(text: &'a str, span: Range<usize>, decoded: &'a str) -> Self {
        Self {
            text,
            end: span.end,
            at: span.start,
            decoded,
            done: 0,
            pieces: Vec::new(),
        }
    }

    fn source(&self) -> &'a str {
        self.text.get(self.at..self.end).unwrap_or_default()
    }

    fn value(&self) -> &'a str {
        self.decoded.get(self.done..).unwrap_or_default()
    }

    /// The next bytes of the source are the next bytes of the value.
    fn verbatim(&mut self, words: &str) -> Option<()> {
        self.value()
            .starts_with(words)
            .then(|| self.push(words.len(), words.len(), true))
    }

    /// The next bytes of the source stand for some of the value.
    fn standing_for(&mut self, length: usize, value: &str) -> Option<()> {
        self.value()
            .starts_with(value)
            .then(|| self.push(length, value.len(), false))
    }

    fn push(&mut self, source: usize, value: usize, is_verbatim: bool) {
        let decoded = self.done..self.done + value;
        let file = self.at..self.at + source;
        (self.done, self.at) = (decoded.end, file.end);
        match self.pieces.last_mut() {
            _ if value == 0 => {}
            Some(last) if is_verbatim && last.is_verbatim && last.file.end == file.start => {
                last.decoded.end = decoded.end;
                last.file.end = file.end;
            }
            _ => self.pieces.push(Piece {
                decoded,
                file,
                is_verbatim,
            }),
        }
    }

    /// Lines of a block scalar. The parser's span begins at its first character that is no indentation.
    fn block(&mut self) -> Option<()> {
        let line_start = |at: usize| {
            self.text
                .get(..at)
                .map(|before| before.rfind('\n').map_or(0, |end| end + 1))
        };
        let first = line_start(self.at)?;
        let indent = self.at - first;
        // Empty lines before the first one with words are part of the value.
        let mut start = first;
        while let Some(before) = start.checked_sub(1).and_then(line_start) {
            if !self.text.get(before..start)?.trim().is_empty() {
                break;
            }
            start = before;
        }
        self.at = start;
        while self.at < self.end {
            let line = self.source().split_inclusive('\n').next()?;
            let words = line.trim_end_matches(['\n', '\r']);
            let line_break = line.get(words.len()..)?;
            let blanks = words.len() - words.trim_start_matches(' ').len();
            let skipped = blanks.min(indent);
            self.standing_for(skipped, "")?;
            self.verbatim(words.get(skipped..)?)?;
            let becomes = match self.value().chars().next() {
                Some('\n') => "\n",
                Some(' ') => " ",
                _ => "",
            };
            self.standing_for(line_break.len(), becomes)?;
        }
        // A last line without its newline has one in the value.
        self.standing_for(0, if self.value() == "\n" { "\n" } else { "" })?;
        self.value().is_empty().then_some(())
    }

    /// A plain or quoted scalar, folded over lines.
    fn flow(&mut self, quote: Option<char>) -> Option<()> {
        if let Some(quote) = quote {
            self.source().starts_with(quote).then(|| self.at += 1)?;
            self.source().ends_with(quote).then(|| self.end -= 1)?;
        }
        while self.at < self.end {
            let rest = self.source();
            let escaped_break = quote == Some('"') && (rest.starts_with("\\\n") || rest.starts_with("\\\r"));
            let from = usize::from(escaped_break);
            let blank = rest.get(from..)?;
            let blanks = blank.len() - blank.trim_start_matches([' ', '\t', '\n', '\r']).len();
            let run = rest.get(..from + blanks)?;
            match (breaks(run), escaped_break) {
                (0, _) if !run.is_empty() => self.verbatim(run)?,
                (0, _) => self.character(rest, quote)?,
                (1, false) => self.standing_for(run.len(), " ")?,
                (count, _) => self.standing_for(run.len(), &"\n".repeat(count - 1))?,
            }
        }
        self.value().is_empty().then_some(())
    }

    /// One character, or one escape.
    fn character(&mut self, rest: &str, quote: Option<char>) -> Option<()> {
        match quote {
            Some('\'') if rest.starts_with("''") => self.standing_for(2, "'"),
            Some('"') if rest.starts_with('\\') => {
                let value = self.value().chars().next()?;
                let length = escape_length(rest, value)?;
                self.standing_for(length, value.encode_utf8(&mut [0; 4]))
            }
            _ => {
                let first = rest.chars().next()?;
                self.verbatim(rest.get(..first.len_utf8())?)
            }
        }
    }
}

/// Line breaks in a run of blanks.
fn breaks(run: &str) -> usize {
    let pairs = run.matches("\r\n").count();
    run.matches(['\r', '\n']).count() - pairs
}

/// Bytes of the escape that a text begins with, which gave `value`.
fn escape_length(rest: &str, value: char) -> Option<usize> {
    let kind = rest.chars().nth(1)?;
    Some(match kind {
        'x' => 4,
        // JSON writes what is beyond 16 bits as two halves.
        'u' if value.len_utf16() == 2 => 12,
        'u' => 6,
        'U' => 10,
        kind => 1 + kind.len_utf8(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lint::document::{Document, Node};

    fn map_of(text: &str, path: &[&str]) -> (String, SourceMap) {
        let documents = Document::read_all(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let mut node: Node = documents[0].root.clone();
        for key in path {
            node = node.get(key).unwrap_or_else(|| panic!("no {key} in\n{text}")).clone();
        }
        let value = node.as_str().expect("a string").to_owned();
        let map = node.source_map(text);
        (value, map)
    }

    /// Each character that is written as itself is found; the others are found as what stands for them, in order.
    #[track_caller]
    fn maps_exactly(text: &str, value: &str, map: &SourceMap) {
        let mut before = 0..0;
        for (at, c) in value.char_indices() {
            let place = map.exactly(&(at..at + c.len_utf8())).expect("a place");
            let source = &text[place.clone()];
            let is_same = source == c.to_string();
            let is_escape = source.trim_start().starts_with('\\') && source.len() <= 64
                || source == "''"
                || source.trim().is_empty();
            assert!(is_same || is_escape, "{c:?} of {value:?} is {source:?} in\n{text}");
            // Line breaks that are folded together are one piece.
            assert!(place == before || place.start >= before.end, "{value:?} in\n{text}");
            before = place;
        }
    }

    #[test]
    fn every_style_maps_each_character() {
        for (text, value) in [
            ("a: plain\n  folded\n\n  twice # c\n", "plain folded\ntwice"),
            ("a: 'it''s\n  é'\n", "it's é"),
            ("a: \"q\\\"\\u00e9\\x41\\\n    b\\n\\U0001F600\"\n", "q\"éAb\n😀"),
            ("{\"a\": \"\\ud83d\\ude00\\/x\"}", "😀/x"),
            ("a: |2-  # c\n    x\n   y\n\nb: 1\n", "  x\n y"),
            ("a: |+\n\n  x\n\n   y\n\n\nb: 1\n", "\nx\n\n y\n\n\n"),
            (
                "a: >\n  one\n  two\n\n  three\n    more\n  end\nb: 1\n",
                "one two\nthree\n  more\nend\n",
            ),
            ("a: |\r\n  x\r\n  y\r\n", "x\ny\n"),
            ("a: |\n  x", "x\n"),
        ] {
            let (read, map) = map_of(text, &["a"]);
            assert_eq!(read, value, "{text}");
            assert!(map.pieces.iter().any(|piece| piece.is_verbatim), "{text}");
            maps_exactly(text, value, &map);
        }
    }

    #[test]
    fn an_alias_leads_to_the_anchor() {
        let text = "x: &f |\n  abc\ny: {z: *f}\n";
        let (value, map) = map_of(text, &["y", "z"]);
        maps_exactly(text, &value, &map);
        assert_eq!(&text[map.place(&(1..2))], "b");
    }

    #[test]
    fn a_string_in_a_string_leads_to_the_file() {
        let text = "data:\n  mesh: |\n    format: >\n      one\n      two\n    other: \"a\\tb\"\n";
        let (mesh, outer) = map_of(text, &["data", "mesh"]);
        for (key, word) in [("format", "two"), ("other", "b")] {
            let (value, inner) = map_of(&mesh, &[key]);
            let map = outer.within(&inner);
            maps_exactly(text, &value, &map);
            let at = value.find(word).unwrap();
            assert_eq!(&text[map.place(&(at..at + word.len()))], word);
        }
    }

    #[test]
    fn characters_behind_an_escape_of_the_outer_string_are_found() {
        let text = r#"mesh: "a: one \"two\" three""#;
        let (mesh, outer) = map_of(text, &["mesh"]);
        let (value, inner) = map_of(&mesh, &["a"]);
        let map = outer.within(&inner);
        maps_exactly(text, &value, &map);
        let at = value.find("three").unwrap();
        assert_eq!(&text[map.place(&(at..at + 5))], "three");
    }

    fn indented(value: &str, width: usize) -> String {
        let line = |line: &str| {
            if line == "\n" {
                line.to_owned()
            } else {
                format!("{:width$}{line}", "")
            }
        };
        value.split_inclusive('\n').map(line).collect()
    }

    proptest! {
        #[test]
        fn what_is_written_in_each_style_is_found_again(
            value in "[a-c%'\"\\\\é😀 :#\n]{1,24}", indent in 1usize..5, depth in 0usize..3,
        ) {
            let single = value.replace('\'', "''").replace('\n', "\n\n");
            let escaped = serde_json::Value::from(value.as_str()).to_string();
            let mut written = vec![format!("a: {escaped}\n"), format!("{{\"a\": [{escaped}]}}").replace(['[', ']'], "")];
            written.push(format!("a: |{indent}+\n{}\n", indented(&value, indent)));
            written.push(format!("a: |{indent}-\n{}\n", indented(&value, indent)));
            written.push(format!("a: >{indent}+\n{}\n", indented(&value, indent)));
            written.push(format!("a: '{}'\n", indented(&single, indent).trim_start()));
            for text in written {
                // What the parser reads is what is mapped, whatever it is; what it refuses is not.
                let Ok(documents) = Document::read_all(&text) else { continue };
                let Some(node) = documents.first().and_then(|document| document.root.get("a").cloned()) else { continue };
                let Some(read) = node.as_str() else { continue };
                let map = node.source_map(&text);
                if read.chars().all(|c| c == '\n' || c == ' ') {
                    continue;
                }
                maps_exactly(&text, read, &map);
                // The same as a string in a string.
                let width = depth + 1;
                let quoted = format!("mesh: {}\n", serde_json::Value::from(text.as_str()));
                for outer in [format!("mesh: |{width}\n{}\n", indented(&text, width)), quoted] {
                    let Ok(documents) = Document::read_all(&outer) else { continue };
                    let Some(mesh) = documents[0].root.get("mesh").cloned() else { continue };
                    let Some(inner_text) = mesh.as_str() else { continue };
                    let Ok(inner_documents) = Document::read_all(inner_text) else { continue };
                    let Some(inner) = inner_documents.first().and_then(|document| document.root.get("a").cloned()) else { continue };
                    let map = mesh.source_map(&outer).within(&inner.source_map(inner_text));
                    maps_exactly(&outer, inner.as_str().unwrap_or_default(), &map);
                }
            }
        }
    }
}
