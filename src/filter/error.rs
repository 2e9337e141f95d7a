//! What a filter is refused with.

use std::fmt;
use std::ops::Range;

use crate::format::shorten;

/// What a [`FilterError`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An expression that is empty, too long or too deeply nested.
    Length,
    /// Envoy would refuse the whole listener: no CEL, an unknown function, a comprehension.
    Refused,
    /// Envoy has no such attribute.
    UnknownAttribute,
    /// The attribute came with a later Envoy than the oldest proxy.
    TooNew,
    /// An operator or a function between types that it does not take.
    Type,
    /// The value is neither true nor false.
    NotBool,
    /// It is an error for each request and connection, as a division by zero is.
    AlwaysError,
    /// A match without a property.
    Empty,
    /// A property of a match has a value that no request can have.
    Property,
}

/// Why there is no filter. It prints as a sentence with place and remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    /// What it is about.
    pub kind: Kind,
    /// The bytes of the trimmed expression that are meant, where that is known.
    pub place: Option<Range<usize>>,
    /// The position of the first of them, counted in characters from 1.
    pub character: Option<usize>,
    /// Those bytes on one line, cut when long.
    pub excerpt: String,
    /// What is wrong and what to write instead, without a full stop.
    pub message: String,
}

impl std::error::Error for FilterError {}

/// The most characters that an excerpt shows.
const EXCERPT_CHARACTERS: usize = 48;
/// The most characters of a message.
const MESSAGE_CHARACTERS: usize = 400;

impl FilterError {
    /// About the filter as a whole.
    pub(super) fn whole(kind: Kind, message: &str) -> Self {
        Self {
            kind,
            place: None,
            character: None,
            excerpt: String::new(),
            message: shorten(message, MESSAGE_CHARACTERS),
        }
    }

    /// About a part of an expression.
    pub(super) fn at(kind: Kind, source: &str, place: Option<Range<usize>>, message: &str) -> Self {
        let whole = Self::whole(kind, message);
        let Some((range, text)) = place.and_then(|range| Some((range.clone(), source.get(range)?))) else {
            return whole;
        };
        let before = source.get(..range.start).unwrap_or_default();
        Self {
            character: Some(before.chars().count() + 1),
            excerpt: shorten(text, EXCERPT_CHARACTERS),
            place: Some(range),
            ..whole
        }
    }
}

impl fmt::Display for FilterError {
    /// `Character 5, "request.methd": Envoy has no attribute …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(character) = self.character {
            return write!(f, "Character {character}, `{}`: {}", self.excerpt, self.message);
        }
        let mut letters = self.message.chars();
        let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
        write!(f, "{first}{}", letters.as_str())
    }
}
