//! A value of a document with the way to it: its path, and where it stands in the file.

use std::rc::Rc;

use super::document::{Document, Node};
use super::source_map::SourceMap;
use crate::yaml::YamlError;

/// A text that was read as YAML: a file, or a string in one.
#[derive(Debug)]
struct Text {
    text: String,
    to_file: SourceMap,
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

    /// Where its characters stand in the file.
    pub fn source_map(&self) -> SourceMap {
        self.text.to_file.within(&self.node.source_map(&self.text.text))
    }

    fn child(&self, key: &str, node: &Node) -> Self {
        let is_plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '@'));
        let path = match (self.path.is_empty(), is_plain) {
            (true, true) => key.to_owned(),
            (false, true) => format!("{}.{key}", self.path),
            (_, false) => format!("{}[{key:?}]", self.path),
        };
        self.with(node, path)
    }

    fn with(&self, node: &Node, path: String) -> Self {
        Self {
            node: node.clone(),
            path,
            text: Rc::clone(&self.text),
        }
    }
}
