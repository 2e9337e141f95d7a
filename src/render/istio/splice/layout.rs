//! Where things stand in the text of a MeshConfig: bytes and lines, no values.

use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span, StructureStyle};

use super::{KEY, SpliceError};
use crate::yaml::YamlError;

/// The name of the list in the text of the proto, which istiod takes too.
const SNAKE_KEY: &str = "extension_providers";

/// Where the list is and where it would be.
#[derive(Debug)]
pub struct Layout {
    /// Where lines at the end of the mapping go: before `...`, else at the end of the text.
    pub end: usize,
    /// Column of the mapping's keys.
    pub column: usize,
    /// The list.
    pub list: List,
    /// Line of a block scalar that ends with the text, without the newline that is part of its value. Readers disagree
    /// about that value: istiod's has no newline at the end.
    pub open_scalar: Option<usize>,
}

/// `extensionProviders` as it is written.
#[derive(Debug)]
pub enum List {
    /// No such key in a text of block style, or no text.
    Missing,
    /// No such key in a mapping in braces, or without a value.
    MissingInFlow(usize),
    /// The key without a value, or with `null` (`word`).
    Null {
        key: Range<usize>,
        word: Option<Range<usize>>,
    },
    /// `- ` entries: each the whole lines from its dash to its last value.
    Block {
        key: Range<usize>,
        column: usize,
        entries: Vec<Range<usize>>,
    },
    /// Entries within brackets, with the places after `[` and before `]`.
    Flow {
        open: usize,
        close: usize,
        entries: Vec<Range<usize>>,
    },
}

impl List {
    /// Ranges of the entries.
    pub fn entries(&self) -> &[Range<usize>] {
        match self {
            Self::Block { entries, .. } | Self::Flow { entries, .. } => entries,
            Self::Missing | Self::MissingInFlow(_) | Self::Null { .. } => &[],
        }
    }
}

/// Finds the list.
pub fn read(text: &str) -> Result<Layout, SpliceError> {
    let reader = Reader::new(text)?;
    let mut starts = reader
        .events
        .iter()
        .filter(|p| matches!(p.event, Event::DocumentStart(..)));
    let (_, second) = (starts.next(), starts.next());
    if let Some(second) = second {
        return Err(SpliceError::Documents { line: second.line });
    }
    reader.layout()
}

/// Start of the line that a place is in.
pub fn line_start(text: &str, at: usize) -> usize {
    text.get(..at)
        .and_then(|before| before.rfind('\n'))
        .map_or(0, |newline| newline + 1)
}

/// End of the line that a place is in, its newline included.
pub fn line_end(text: &str, at: usize) -> usize {
    text.get(at..)
        .and_then(|rest| rest.find('\n'))
        .map_or(text.len(), |newline| at + newline + 1)
}

/// Bytes of white space that a line begins with.
pub fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// The end of the comment lines from `at` on that are indented deeper than `column`: they speak of what is above them.
pub fn after_comments(text: &str, mut at: usize, column: usize) -> usize {
    loop {
        let end = line_end(text, at);
        let line = text.get(at..end).unwrap_or_default();
        if !line.trim_start().starts_with('#') || indent(line) <= column {
            return at;
        }
        at = end;
    }
}

/// An event and its place.
struct Placed<'a> {
    event: Event<'a>,
    bytes: Range<usize>,
    line: usize,
    column: usize,
}

/// A node: the events from one to before another, from its first byte to its last that is a value.
struct Node {
    start: usize,
    end: usize,
    next: usize,
}

struct Reader<'a> {
    text: &'a str,
    events: Vec<Placed<'a>>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Result<Self, SpliceError> {
        let options = granit_parser::options! { emit_comments: false };
        let events = Parser::new_from_str_with_options(text, options)
            .map(|next| {
                let (event, span): (Event<'a>, Span) =
                    next.map_err(|error| SpliceError::Unreadable(YamlError::Read(error.to_string())))?;
                Ok(Placed {
                    event,
                    bytes: span.byte_range().unwrap_or_default(),
                    line: span.start.line(),
                    column: span.start.col(),
                })
            })
            .collect::<Result<_, SpliceError>>()?;
        Ok(Self { text, events })
    }

    fn layout(&self) -> Result<Layout, SpliceError> {
        let mut layout = Layout {
            end: self.end(),
            column: 0,
            list: List::Missing,
            open_scalar: self.open_scalar(),
        };
        let document = self
            .events
            .iter()
            .position(|p| matches!(p.event, Event::DocumentStart(..)));
        let Some((at, root)) = document.and_then(|at| Some((at + 1, self.events.get(at + 1)?))) else {
            return Ok(layout);
        };
        match &root.event {
            Event::Scalar(_, ScalarStyle::Plain, 0, None) if root.bytes.is_empty() => Ok(layout),
            Event::MappingStart(style, ..) => {
                layout.column = root.column;
                layout.list = match self.keys(at + 1)? {
                    Some((key, value)) => match self.list(key, value) {
                        Ok(List::Null { .. }) | Err(SpliceError::Layout { .. }) if *style == StructureStyle::Flow => {
                            List::MissingInFlow(root.line)
                        }
                        list => list?,
                    },
                    None if *style == StructureStyle::Flow => List::MissingInFlow(root.line),
                    None => List::Missing,
                };
                Ok(layout)
            }
            _ => Err(SpliceError::NotAMapping { line: root.line }),
        }
    }

    /// Our key and the event of its value, where the mapping whose first key is at `at` has it. A merge key is refused
    /// wherever it stands: what it brings counts for istiod when it comes after our key, and not for other readers.
    fn keys(&self, mut at: usize) -> Result<Option<(&Placed<'a>, usize)>, SpliceError> {
        let mut found: Option<(&Placed<'a>, usize)> = None;
        while let (Some(key), Some(node)) = (self.events.get(at), self.node(at)) {
            let line = key.line;
            if let Event::Scalar(name, style, ..) = &key.event {
                match (name.as_ref(), found) {
                    (KEY, Some((first, _))) => {
                        return Err(SpliceError::Twice {
                            first: first.line,
                            second: line,
                        });
                    }
                    (KEY, None) => found = Some((key, node.next)),
                    (SNAKE_KEY, _) => return Err(SpliceError::SnakeCase { line }),
                    ("<<", _) if *style == ScalarStyle::Plain => return Err(SpliceError::Shared { line }),
                    _ => {}
                }
            }
            at = self.node(node.next).map_or(self.events.len(), |value| value.next);
        }
        Ok(found)
    }

    fn list(&self, key: &Placed<'a>, at: usize) -> Result<List, SpliceError> {
        let not_a_list = SpliceError::NotAList { line: key.line };
        let Some(value) = self.events.get(at) else {
            return Err(not_a_list);
        };
        let key_bytes = key.bytes.clone();
        match &value.event {
            Event::Scalar(text, ScalarStyle::Plain, 0, None) => {
                let word = (!value.bytes.is_empty()).then(|| value.bytes.clone());
                match (word, text.as_ref()) {
                    (None, _) if self.ends_after_colon(&key_bytes) => Ok(List::Null {
                        key: key_bytes,
                        word: None,
                    }),
                    (None, _) => Err(SpliceError::Layout { line: key.line }),
                    (word, "null" | "Null" | "NULL" | "~") => Ok(List::Null { key: key_bytes, word }),
                    _ => Err(not_a_list),
                }
            }
            Event::Alias(_) => Err(SpliceError::Shared { line: key.line }),
            Event::SequenceStart(style, anchor, _) => {
                let is_target = |p: &Placed<'_>| matches!(p.event, Event::Alias(id) if id == *anchor);
                if *anchor != 0 && self.events.iter().any(is_target) {
                    return Err(SpliceError::Shared { line: key.line });
                }
                match style {
                    StructureStyle::Flow => self.flow(value, at).ok_or(not_a_list),
                    StructureStyle::Block => self.block(key, at),
                }
            }
            _ => Err(not_a_list),
        }
    }

    fn ends_after_colon(&self, key: &Range<usize>) -> bool {
        let rest = self.text.get(key.end..line_end(self.text, key.end)).unwrap_or_default();
        let rest = rest.trim_start_matches(['"', '\'', ' ']).trim_end();
        rest.strip_prefix(':')
            .is_some_and(|rest| rest.is_empty() || rest.trim_start().starts_with('#'))
    }

    fn flow(&self, value: &Placed<'a>, at: usize) -> Option<List> {
        Some(List::Flow {
            open: value.bytes.end,
            close: self.node(at)?.end.checked_sub(1)?,
            entries: self.items(at).map(|node| node.start..node.end).collect(),
        })
    }

    /// Between two entries are only comments and empty lines, so the next line that is neither has the dash.
    fn block(&self, key: &Placed<'a>, at: usize) -> Result<List, SpliceError> {
        let mut cursor = line_end(self.text, key.bytes.end);
        let mut entries = Vec::new();
        let mut column = 0;
        for node in self.items(at) {
            let (start, line) = self.next_line(cursor);
            if !line.trim_start().starts_with('-') {
                return Err(SpliceError::Layout {
                    line: self.line_number(start),
                });
            }
            if entries.is_empty() {
                column = indent(line);
            }
            cursor = line_end(self.text, node.end);
            entries.push(start..cursor);
        }
        Ok(List::Block {
            key: key.bytes.clone(),
            column,
            entries,
        })
    }

    fn next_line(&self, mut at: usize) -> (usize, &'a str) {
        loop {
            let end = line_end(self.text, at);
            let line = self.text.get(at..end).unwrap_or_default();
            let is_between = line.trim().is_empty() || line.trim_start().starts_with('#');
            if !is_between || end == self.text.len() {
                return (at, line);
            }
            at = end;
        }
    }

    fn line_number(&self, at: usize) -> usize {
        self.text.get(..at).unwrap_or_default().matches('\n').count() + 1
    }

    /// The entries of the sequence that begins at an event.
    fn items(&self, at: usize) -> impl Iterator<Item = Node> {
        let mut at = at + 1;
        std::iter::from_fn(move || {
            let node = self.node(at)?;
            at = node.next;
            Some(node)
        })
    }

    /// The node that begins at an event; `None`: the collection around it ends there.
    fn node(&self, at: usize) -> Option<Node> {
        let events = self.events.get(at..)?;
        let start = events.first()?.bytes.start;
        let (mut depth, mut end) = (0_usize, start);
        for (offset, placed) in events.iter().enumerate() {
            match &placed.event {
                Event::MappingStart(..) | Event::SequenceStart(..) => depth += 1,
                Event::MappingEnd | Event::SequenceEnd => {
                    depth = depth.checked_sub(1)?;
                    // A block collection ends where the next thing begins: comments in between are not its own.
                    let bracket = self.text.get(placed.bytes.clone());
                    if bracket.is_some_and(|b| b == "]" || b == "}") {
                        end = placed.bytes.end;
                    }
                }
                Event::Scalar(value, style, ..) => end = self.scalar_end(placed, value, *style),
                Event::Alias(_) => end = placed.bytes.end,
                _ => return None,
            }
            if depth == 0 {
                return Some(Node {
                    start,
                    end,
                    next: at + offset + 1,
                });
            }
        }
        None
    }

    /// End of a scalar's last line, without the newline. The span of a block scalar goes on to the next token, over empty
    /// lines that are part of its value (`|+`) or not.
    fn scalar_end(&self, placed: &Placed<'a>, value: &str, style: ScalarStyle) -> usize {
        if !is_block(style) {
            return placed.bytes.end;
        }
        let before = self.text.get(..placed.bytes.end).unwrap_or_default();
        let keeps = value.ends_with("\n\n") || value == "\n";
        if !keeps {
            return before.trim_end().len();
        }
        let lines = before.trim_end_matches(' ');
        lines.strip_suffix('\n').map_or(before.len(), str::len)
    }

    fn end(&self) -> usize {
        let end = self.events.iter().rfind(|p| p.event == Event::DocumentEnd);
        end.filter(|p| self.text.get(p.bytes.clone()) == Some("..."))
            .map_or(self.text.len(), |p| p.bytes.start)
    }

    fn open_scalar(&self) -> Option<usize> {
        let last = self.events.iter().rfind(|p| p.event.is_node() && !is_start(&p.event))?;
        match &last.event {
            Event::Scalar(value, style, ..)
                if is_block(*style) && value.ends_with('\n') && !self.text.ends_with('\n') =>
            {
                Some(last.line)
            }
            _ => None,
        }
    }
}

fn is_block(style: ScalarStyle) -> bool {
    matches!(style, ScalarStyle::Literal | ScalarStyle::Folded)
}

fn is_start(event: &Event<'_>) -> bool {
    matches!(event, Event::MappingStart(..) | Event::SequenceStart(..))
}
