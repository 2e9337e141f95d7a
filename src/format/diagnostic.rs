//! What the compiler says to a person: what is wrong, where, and what to write instead.

use std::fmt;
use std::ops::Range;

use super::steps;
use super::version::EnvoyVersion;

/// What a [`Diagnostic`] is about. Errors unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A `%` that starts no operator.
    StrayPercent,
    /// An operator without its closing `%`.
    UnclosedPercent,
    /// A `(` without a `)` on the same line.
    UnclosedParenthesis,
    /// A `)` that is not followed by `%` or `:N%`.
    MisplacedParenthesis,
    /// An operator name in lower or mixed case.
    LowerCase,
    /// A length that is no number, or none that fits 64 bits.
    InvalidLength,
    /// No operator has this name.
    UnknownOperator,
    /// Envoy has the operator, but not in an access log of this mesh.
    NotAvailable,
    /// The operator, its arguments or its length came with a later Envoy than the oldest proxy.
    TooNew,
    /// The operator does not work without arguments.
    ArgumentsRequired,
    /// The operator takes no arguments.
    ArgumentsForbidden,
    /// The operator takes no length.
    LengthForbidden,
    /// The arguments are not of the form that the operator reads.
    InvalidArgument,
    /// A field name that is empty, given twice, or not possible in text.
    InvalidField,
    /// A name in `omit` that the preset does not have.
    UnknownField,
    /// Members of the format that cannot be used together.
    Conflict,
    /// Nothing would be printed.
    Empty,
    /// Warning: accepted by Envoy, which then prints `-` always.
    AlwaysEmpty,
    /// Warning: accepted by Envoy, which then does not do what it looks like.
    NoEffect,
    /// Warning: some Envoys from the oldest proxy on have a known bug here.
    KnownDefect,
    /// Warning: the value has no bound but Envoy's own for a whole request.
    Unbounded,
    /// Warning: nothing ends the line.
    MissingNewline,
    /// Warning: a header, a query string or a variable that usually carries a secret.
    Secret,
    /// Warning: text that looks like JSON, into which a client can write members of its own.
    TextLikeJson,
    /// Warning: a field takes the place of the preset's.
    Overwrites,
    /// Warning: the mesh cannot say a field of the preset.
    NotExpressible,
}

impl Kind {
    /// Whether a warning is about security or a proxy's life: to be named first where not all can be.
    pub const fn is_grave(self) -> bool {
        matches!(self, Self::Secret | Self::KnownDefect | Self::TextLikeJson)
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What it is about.
    pub kind: Kind,
    /// The member of the format that is meant: `text`, `fields[tenant].value`, `omit[user_agent]`.
    pub path: String,
    /// The bytes of that member's string that are meant; empty where the member as a whole is.
    pub span: Range<usize>,
    /// The position of the first of them, counted in characters from 1.
    pub character: usize,
    /// Those bytes on one line, cut when long.
    pub excerpt: String,
    /// What is wrong, in lower case, without a full stop.
    pub message: String,
    /// What to write instead, likewise.
    pub help: String,
}

/// The most characters that an excerpt shows.
const EXCERPT_CHARACTERS: usize = 48;
/// The most characters of a message or a help.
const MESSAGE_CHARACTERS: usize = 300;

impl Diagnostic {
    /// A finding about `span` of `source`, which stands at `path`.
    pub(super) fn at(kind: Kind, path: &str, source: &str, span: Range<usize>, message: &str, help: &str) -> Self {
        let before = source.get(..span.start).unwrap_or_default();
        steps::count(before.len());
        let character = before.chars().count() + 1;
        let excerpt = shorten(source.get(span.clone()).unwrap_or_default(), EXCERPT_CHARACTERS);
        let (message, help) = (shorten(message, MESSAGE_CHARACTERS), shorten(help, MESSAGE_CHARACTERS));
        Self {
            kind,
            path: path.to_owned(),
            span,
            character,
            excerpt,
            message,
            help,
        }
    }

    /// A finding about a member as a whole.
    pub(super) fn whole(kind: Kind, path: &str, message: &str, help: &str) -> Self {
        Self::at(kind, path, "", 0..0, message, help)
    }
}

/// At most `limit` characters of the text on one line: messages quote what a user wrote, and end up in a status.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    let mut short = String::new();
    let mut rest = text.chars();
    for c in rest.by_ref().take(limit) {
        if c.is_control() {
            short.extend(c.escape_default());
        } else {
            short.push(c);
        }
    }
    if rest.next().is_some() {
        short.push('…');
    }
    short
}

impl fmt::Display for Diagnostic {
    /// `text, character 5, "%REQQ%": there is no operator …; write …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shorten(&self.path, MESSAGE_CHARACTERS))?;
        if !self.excerpt.is_empty() {
            write!(f, ", character {}, `{}`", self.character, self.excerpt)?;
        }
        write!(f, ": {}; {}", self.message, self.help)
    }
}

/// Why a format does not compile: at least one [`Diagnostic`], in the order of the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{first}{}", others(.rest.len()))]
pub struct FormatErrors {
    first: Box<Diagnostic>,
    rest: Vec<Diagnostic>,
    needs: Option<EnvoyVersion>,
}

/// That there are more errors than the one that is named; empty where there are none.
pub(crate) fn others(count: usize) -> String {
    match count {
        0 => String::new(),
        1 => " (and 1 more error)".to_owned(),
        _ => format!(" (and {count} more errors)"),
    }
}

impl FormatErrors {
    /// `None` where there is no error. `needs` says what [`Self::needs`] is to say.
    pub(super) fn from_found(found: Vec<Diagnostic>, needs: impl FnOnce() -> Option<EnvoyVersion>) -> Option<Self> {
        let mut found = found.into_iter();
        Some(Self {
            first: Box::new(found.next()?),
            rest: found.collect(),
            needs: needs(),
        })
    }

    /// Whether all errors are about the version: nothing is wrong with the format but that the oldest proxy is too old.
    pub const fn is_unsupported(&self) -> bool {
        self.needs.is_some()
    }

    /// The oldest supported Envoy that takes the format; `None` where none does.
    pub const fn needs(&self) -> Option<EnvoyVersion> {
        self.needs
    }

    /// All errors, in the order of the format.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        std::iter::once(self.first.as_ref()).chain(&self.rest)
    }
}

/// The name of `known` that is nearest to `wrong`, if any is near enough to be meant.
pub(crate) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = wrong.chars().count();
    let allowed = (length / 3).max(1);
    known
        // As far apart as their lengths are, at least: a text of thousands of characters is not compared.
        .filter(|name| name.chars().count().abs_diff(length) <= allowed)
        .map(|name| (distance(wrong, name), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's edit distance, by rows.
fn distance(a: &str, b: &str) -> usize {
    steps::count(a.len() * b.len());
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, left) in a.chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        let mut before = line + 1;
        next.push(before);
        for (right, pair) in b.iter().zip(row.windows(2)) {
            let [diagonal, above] = pair else { continue };
            before = (diagonal + usize::from(left != *right)).min(above + 1).min(before + 1);
            next.push(before);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_is_one_sentence_with_place_and_remedy() {
        let one = Diagnostic::at(Kind::StrayPercent, "text", "é 5% x", 4..5, "a single `%`", "write `%%`");
        assert_eq!(one.to_string(), "text, character 4, `%`: a single `%`; write `%%`");
        let whole = Diagnostic::whole(Kind::Empty, "fields", "nothing is printed", "add a field");
        assert_eq!(whole.to_string(), "fields: nothing is printed; add a field");
        let both = FormatErrors::from_found(vec![one, whole], || None).unwrap();
        assert_eq!(
            both.to_string(),
            "text, character 4, `%`: a single `%`; write `%%` (and 1 more error)"
        );
        assert_eq!(both.iter().count(), 2);
        assert_eq!(FormatErrors::from_found(Vec::new(), || None), None);
    }

    #[test]
    fn excerpts_are_one_short_line() {
        let long = "a\n".repeat(100);
        let one = Diagnostic::at(Kind::Empty, "text", &long, 0..200, "", "");
        assert!(one.excerpt.starts_with("a\\na\\n") && one.excerpt.ends_with('…'));
        assert_eq!(
            one.excerpt.chars().filter(|c| *c == 'a').count(),
            EXCERPT_CHARACTERS / 2
        );
        let quoting = Diagnostic::whole(Kind::InvalidField, "fields[a\nb].name", &long, "");
        assert!(quoting.to_string().chars().count() < 1000 && !quoting.to_string().contains('\n'));
    }

    #[test]
    fn only_a_near_name_is_proposed() {
        let known = ["REQ", "RESP", "RESPONSE_CODE", "PROTOCOL"];
        assert_eq!(nearest("REQQ", known.into_iter()), Some("REQ"));
        assert_eq!(nearest("RESPONSE_COD", known.into_iter()), Some("RESPONSE_CODE"));
        assert_eq!(nearest("STATUS", known.into_iter()), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
