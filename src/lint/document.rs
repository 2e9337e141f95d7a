//! YAML and JSON as a tree whose values know where they stand.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Value};

use super::source_map::SourceMap;
use crate::yaml::YamlError;

/// Most levels of a document: nobody writes more, and dropping a tree takes stack for each.
const DEEPEST: usize = 256;

/// Most values of a document, those of aliases counted wherever they stand: aliases of aliases make any number of a few.
const MOST_VALUES: usize = 2_000_000;

/// One document of a text.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its only value.
    pub root: Node,
}

/// A value. Cheap to clone; an alias is the value of its anchor.
#[derive(Clone, Debug)]
pub struct Node(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    content: Content,
    span: Range<usize>,
    /// Values in it, itself included.
    values: usize,
    /// Levels of it, 1 for a scalar.
    depth: usize,
}

#[derive(Debug)]
enum Content {
    Scalar {
        value: String,
        style: ScalarStyle,
        is_string: bool,
    },
    Sequence(Vec<Node>),
    Mapping(Vec<(Node, Node)>),
}

impl Document {
    /// All documents of a text; those without a value are left out.
    ///
    /// # Errors
    /// Where the text is no YAML. The message quotes nothing of the text: there may be a Secret in it.
    pub fn read_all(text: &str) -> Result<Vec<Self>, YamlError> {
        let options = granit_parser::options! { emit_comments: false };
        let mut builder = Builder::default();
        for next in Parser::new_from_str_with_options(text, options) {
            let (event, span) = next.map_err(|error| YamlError::Read(error.to_string()))?;
            let line = span.start.line();
            builder
                .take(event, span.byte_range().unwrap_or_default())
                .map_err(|problem| YamlError::Read(format!("{problem} at line {line}")))?;
        }
        Ok(builder.documents)
    }
}

impl Node {
    /// A scalar.
    fn scalar(content: Content, span: Range<usize>) -> Self {
        Self(Rc::new(Inner {
            content,
            span,
            values: 1,
            depth: 1,
        }))
    }

    /// The value of a member of a mapping; of a key that stands twice the last counts, and merge keys (`<<`) are followed.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.member(key).map(|(_, value)| value)
    }

    /// The same with the key as it is written.
    pub fn member(&self, key: &str) -> Option<(&Self, &Self)> {
        let own = self.members().rev().find(|(name, _)| name.as_str() == Some(key));
        own.or_else(|| {
            let merged = self.members().filter(|(name, _)| name.as_str() == Some("<<"));
            merged
                .flat_map(|(_, value)| value.items_or_self())
                .find_map(|value| value.member(key))
        })
    }

    /// The member that has one of two names, of which the first counts where both stand: JSON names and proto names.
    pub fn either(&self, names: [&'static str; 2]) -> Option<(&'static str, &Self)> {
        names.into_iter().find_map(|name| Some((name, self.get(name)?)))
    }

    /// Keys and values; nothing where it is no mapping.
    pub fn members(&self) -> impl DoubleEndedIterator<Item = (&Self, &Self)> {
        let members = match &self.0.content {
            Content::Mapping(members) => members.as_slice(),
            Content::Scalar { .. } | Content::Sequence(_) => &[],
        };
        members.iter().map(|(key, value)| (key, value))
    }

    /// Entries of a list; nothing where it is none.
    pub fn items(&self) -> &[Self] {
        match &self.0.content {
            Content::Sequence(items) => items,
            Content::Scalar { .. } | Content::Mapping(_) => &[],
        }
    }

    fn items_or_self(&self) -> &[Self] {
        match &self.0.content {
            Content::Sequence(items) => items,
            Content::Scalar { .. } | Content::Mapping(_) => std::slice::from_ref(self),
        }
    }

    /// The value of a scalar as it is written: `12` and `"12"` are the same.
    pub fn as_str(&self) -> Option<&str> {
        match &self.0.content {
            Content::Scalar { value, .. } => Some(value),
            Content::Sequence(_) | Content::Mapping(_) => None,
        }
    }

    /// The value of a scalar that YAML reads as a string.
    pub fn as_string(&self) -> Option<&str> {
        self.as_str().filter(|_| matches!(self.to_value(), Value::String(_)))
    }

    /// Where it stands in its text.
    pub fn span(&self) -> Range<usize> {
        self.0.span.clone()
    }

    /// Whether two are one and the same, by an alias.
    pub fn identity(&self) -> usize {
        Rc::as_ptr(&self.0).addr()
    }

    /// Where its characters stand in `text`, which it was read from.
    pub fn source_map(&self, text: &str) -> SourceMap {
        match &self.0.content {
            Content::Scalar { value, style, .. } => SourceMap::of_scalar(text, self.span(), *style, value),
            Content::Sequence(_) | Content::Mapping(_) => SourceMap::of_whole(self.span()),
        }
    }

    fn is_null(&self) -> bool {
        matches!(&self.0.content, Content::Scalar { value, is_string: false, .. } if plain_value(value).is_null())
    }

    /// The value without its place.
    pub fn to_value(&self) -> Value {
        match &self.0.content {
            Content::Scalar {
                value, is_string: true, ..
            } => Value::from(value.as_str()),
            Content::Scalar { value, .. } => plain_value(value),
            Content::Sequence(items) => items.iter().map(Self::to_value).collect(),
            Content::Mapping(_) => {
                let members = self
                    .members()
                    .filter_map(|(key, value)| Some((key.as_str()?.to_owned(), value.to_value())));
                Value::Object(members.collect::<Map<String, Value>>())
            }
        }
    }
}

/// A plain scalar, by YAML's core schema.
fn plain_value(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    let number = is_number.then(|| {
        text.parse::<i64>()
            .map(Value::from)
            .or_else(|_| text.parse::<f64>().map(Value::from))
    });
    number.and_then(Result::ok).unwrap_or_else(|| Value::from(text))
}

/// A collection that is not complete.
struct Open {
    nodes: Vec<Node>,
    is_mapping: bool,
    anchor: usize,
    start: usize,
}

#[derive(Default)]
struct Builder {
    documents: Vec<Document>,
    anchors: HashMap<usize, Node>,
    open: Vec<Open>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Range<usize>) -> Result<(), &'static str> {
        match event {
            Event::Scalar(value, style, anchor, tag) => {
                let is_string = style != ScalarStyle::Plain || is_string_tag(tag.as_ref());
                let value = value.into_owned();
                self.finish(
                    Node::scalar(
                        Content::Scalar {
                            value,
                            style,
                            is_string,
                        },
                        span,
                    ),
                    anchor,
                );
            }
            Event::SequenceStart(_, anchor, _) => self.open(false, anchor, span.start)?,
            Event::MappingStart(_, anchor, _) => self.open(true, anchor, span.start)?,
            Event::SequenceEnd | Event::MappingEnd => self.close(span.end)?,
            Event::Alias(id) => {
                let node = self.anchors.get(&id).ok_or("an alias within its own anchor")?.clone();
                self.finish(node, 0);
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, is_mapping: bool, anchor: usize, start: usize) -> Result<(), &'static str> {
        if self.open.len() >= DEEPEST {
            return Err("too deeply nested");
        }
        self.open.push(Open {
            nodes: Vec::new(),
            is_mapping,
            anchor,
            start,
        });
        Ok(())
    }

    fn close(&mut self, end: usize) -> Result<(), &'static str> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let values = 1 + open.nodes.iter().map(|node| node.0.values).sum::<usize>();
        let depth = 1 + open.nodes.iter().map(|node| node.0.depth).max().unwrap_or_default();
        if depth > DEEPEST {
            return Err("too deeply nested");
        }
        if values > MOST_VALUES {
            return Err("too many values, those of aliases included,");
        }
        let content = if open.is_mapping {
            let mut nodes = open.nodes.into_iter();
            Content::Mapping(std::iter::from_fn(|| Some((nodes.next()?, nodes.next()?))).collect())
        } else {
            Content::Sequence(open.nodes)
        };
        let inner = Inner {
            content,
            span: open.start..end.max(open.start),
            values,
            depth,
        };
        self.finish(Node(Rc::new(inner)), open.anchor);
        Ok(())
    }

    fn finish(&mut self, node: Node, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            Some(open) => open.nodes.push(node),
            None if node.is_null() => {}
            None => self.documents.push(Document { root: node }),
        }
    }
}

fn is_string_tag(tag: Option<&Cow<'_, Tag>>) -> bool {
    tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_reads_as_the_repositorys_reader_reads_it() {
        let text = "a: 1\nb: [x, ~, true, \"1\", !!str 2, 1.5]\nc: {d: 'e'}\n---\n- |\n  f\n---\n";
        let values: Vec<Value> = Document::read_all(text)
            .unwrap()
            .iter()
            .map(|d| d.root.to_value())
            .collect();
        assert_eq!(values, crate::yaml::read_documents(text).unwrap());
        assert_eq!(values[0]["b"], json!(["x", null, true, "1", "2", 1.5]));
    }

    #[test]
    fn merge_keys_are_followed_and_the_last_of_two_keys_counts() {
        let text = "x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3, b: 4}\n";
        let y = Document::read_all(text).unwrap()[0].root.get("y").unwrap().clone();
        let read = |key| y.get(key).and_then(Node::as_str).map(str::to_owned);
        assert_eq!((read("a").as_deref(), read("b").as_deref()), (Some("1"), Some("4")));
    }

    #[test]
    fn what_is_nested_too_deeply_is_refused() {
        let deep = format!("{}{}", "[".repeat(DEEPEST + 1), "]".repeat(DEEPEST + 1));
        assert!(Document::read_all(&deep).is_err());
        let level = |anchor: usize, value: &str| format!("a{anchor}: &a{anchor} {value}\n");
        let chain = |value: &dyn Fn(usize) -> String| -> String {
            (0..300)
                .map(|at| level(at, &if at == 0 { "x".into() } else { value(at - 1) }))
                .collect()
        };
        assert!(
            Document::read_all(&chain(&|before| format!("[*a{before}]"))).is_err(),
            "by aliases"
        );
        let bomb = Document::read_all(&chain(&|before| format!("[*a{before}, *a{before}]")));
        assert!(bomb.unwrap_err().to_string().contains("aliases"));
    }
}
