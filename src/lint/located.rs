//! A value of a document with the way to it: its path, and where it stands in the file.

use std::ops::Range;
use std::rc::Rc;

use super::document::{Document, Node};
use super::findings::Resource;
use super::source_map::SourceMap;
use crate::yaml::YamlError;

/// A text that was read as YAML: a file, or a string in one.
#[derive(Debug)]
struct Text {
    text: String,
    to_file: SourceMap,
}

/// Where a value stands: what a finding needs of it when its document is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The way to it.
    pub path: String,
    /// Bytes of the file.
    pub place: Range<usize>,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub struct Located {
    node: Node,
    /// `spec.filter.expression`; it leads on into YAML that stands in a string. Empty at the top.
    path: String,
    text: Rc<Text>,
}

impl Located {
    /// The documents of a file.
    ///
    /// # Errors
    /// Where the text is no YAML.
    pub fn of_file(text: &str) -> Result<Vec<Self>, YamlError> {
        let documents = Document::read_all(text)?;
        let text = Rc::new(Text {
            text: text.to_owned(),
            to_file: SourceMap::of_file(text.len()),
        });
        let root = |document: Document| Self {
            node: document.root,
            path: String::new(),
            text: Rc::clone(&text),
        };
        Ok(documents.into_iter().map(root).collect())
    }

    /// The first document of the YAML or JSON that this string holds.
    ///
    /// # Errors
    /// Where it is no YAML.
    pub fn embedded(&self) -> Result<Option<Self>, YamlError> {
        let Some(text) = self.node.as_str() else {
            return Ok(None);
        };
        let Some(document) = Document::read_all(text)?.into_iter().next() else {
            return Ok(None);
        };
        let inner = Text {
            text: text.to_owned(),
            to_file: self.source_map(),
        };
        Ok(Some(Self {
            node: document.root,
            path: self.path.clone(),
            text: Rc::new(inner),
        }))
    }

    /// The way to it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value itself.
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// A member of a mapping.
    pub fn get(&self, key: &str) -> Option<Self> {
        Some(self.child(key, self.node.get(key)?))
    }

    /// A member of a mapping by its two names: JSON and proto.
    pub fn either(&self, names: [&'static str; 2]) -> Option<Self> {
        let (name, node) = self.node.either(names)?;
        Some(self.child(name, node))
    }

    /// What several keys lead to, one after the other.
    pub fn at(&self, keys: &[&str]) -> Option<Self> {
        let mut value = self.clone();
        for key in keys {
            value = value.get(key)?;
        }
        Some(value)
    }

    /// Entries of a list.
    pub fn items(&self) -> Vec<Self> {
        let items = self.node.items().iter().enumerate();
        items
            .map(|(index, node)| self.with(node, format!("{}[{index}]", self.path)))
            .collect()
    }

    /// Members of a mapping.
    pub fn members(&self) -> Vec<(String, Self)> {
        let members = self.node.members();
        members
            .filter_map(|(key, node)| {
                let key = key.as_str()?;
                Some((key.to_owned(), self.child(key, node)))
            })
            .collect()
    }

    /// All strings of a value, at any depth.
    pub fn strings(&self) -> Vec<Self> {
        if self.node.as_string().is_some() {
            return vec![self.clone()];
        }
        let below = self.items().into_iter();
        below
            .chain(self.members().into_iter().map(|(_, value)| value))
            .flat_map(|value| value.strings())
            .collect()
    }

    /// The string, where it is one.
    pub fn as_string(&self) -> Option<&str> {
        self.node.as_string()
    }

    /// Where it stands as a whole.
    pub fn mark(&self) -> Mark {
        self.mark_of(&self.node, self.path.clone())
    }

    /// Where the key of a member stands, under the first of its names; the whole value where it has no such member.
    pub fn key_mark(&self, names: &[&str]) -> Mark {
        let member = names.iter().find_map(|name| Some((name, self.node.member(name)?)));
        match member {
            Some((name, (key, _))) => self.mark_of(key, self.path_of(name)),
            None => self.mark(),
        }
    }

    /// Keys of a mapping with what they lead to and where they stand.
    pub fn keys(&self) -> Vec<(&str, Self, Mark)> {
        let members = self.node.members();
        members
            .filter_map(|(key, value)| {
                let name = key.as_str()?;
                Some((name, self.child(name, value), self.mark_of(key, self.path_of(name))))
            })
            .collect()
    }

    fn mark_of(&self, node: &Node, path: String) -> Mark {
        Mark {
            path,
            place: self.text.to_file.place(&node.span()),
        }
    }

    /// The text that several keys lead to; empty where there is none.
    pub fn text_at(&self, keys: &[&str]) -> &str {
        let value = keys.iter().try_fold(&self.node, |value, key| value.get(key));
        value.and_then(Node::as_str).unwrap_or_default()
    }

    /// Group and kind of the object that this is, each empty where it has none.
    pub fn group_and_kind(&self) -> (&str, &str) {
        let version = self.text_at(&["apiVersion"]);
        let group = version.split_once('/').map_or("", |(group, _)| group);
        (group, self.text_at(&["kind"]))
    }

    /// What the object that this is calls itself, in Kubernetes' form or in Kuma's own; `None` where it has no kind.
    pub fn resource(&self) -> Option<Resource> {
        let text = |keys: &[&str]| self.text_at(keys).to_owned();
        let kubernetes = Resource {
            kind: text(&["kind"]),
            namespace: text(&["metadata", "namespace"]),
            name: text(&["metadata", "name"]),
        };
        let universal = Resource {
            kind: text(&["type"]),
            namespace: String::new(),
            name: text(&["name"]),
        };
        let is_named = !universal.kind.is_empty() && !universal.name.is_empty();
        match kubernetes.kind.as_str() {
            "" => is_named.then_some(universal),
            _ => Some(kubernetes),
        }
    }

    /// Where its characters stand in the file.
    pub fn source_map(&self) -> SourceMap {
        self.text.to_file.within(&self.node.source_map(&self.text.text))
    }

    fn child(&self, key: &str, node: &Node) -> Self {
        self.with(node, self.path_of(key))
    }

    fn path_of(&self, key: &str) -> String {
        let is_plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '@'));
        match (self.path.is_empty(), is_plain) {
            (true, true) => key.to_owned(),
            (false, true) => format!("{}.{key}", self.path),
            (_, false) => format!("{}[{key:?}]", self.path),
        }
    }

    fn with(&self, node: &Node, path: String) -> Self {
        Self {
            node: node.clone(),
            path,
            text: Rc::clone(&self.text),
        }
    }
}
