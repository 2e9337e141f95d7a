//! From a format string to its parts, each with its byte span; and back.
//!
//! Envoy finds an operator with one regular expression, `^%([A-Z0-9_]+)(?:\((.*?)\))?(?::([0-9]+))?%` (seen by asking
//! 1.36.4 and 1.40.0): upper-case names only, arguments on one line, and the first `)` that stands directly before `%`
//! or `:N%` ends the arguments. So `%CEL(1+(2))%` is one operator and `%ENVIRONMENT(a%b)%` too. The parser does the
//! same by hand, so that it can say what is wrong; it knows no operator by name.
//!
//! What is done for each operator is marked `#[inline]`: a part that is returned through memory, from another unit of
//! code, costs a third of the time (`make bench`).

use std::fmt;
use std::ops::Range;

use super::diagnostic::Kind;
use super::steps;

/// An operator as written; nothing about it is checked against the table yet.
///
/// What it is made of stands side by side, so that the place of each piece follows from the lengths of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OperatorUse<'a> {
    /// Where its opening percent sign stands in the text, in bytes.
    pub start: usize,
    pub name: &'a str,
    /// What stands between the parentheses; `None` without parentheses. Envoy takes `()` for no arguments.
    pub arguments: Option<&'a str>,
    /// The digits after the colon: a number that fits 64 bits.
    pub length: Option<&'a str>,
}

impl OperatorUse<'_> {
    /// From the opening to the closing percent sign.
    pub(super) fn span(&self) -> Range<usize> {
        let length = self.length.map_or(0, |digits| 1 + digits.len());
        self.start..self.head_end() + length + 1
    }

    pub(super) const fn name_span(&self) -> Range<usize> {
        let start = self.start + 1;
        start..start + self.name.len()
    }

    pub(super) fn arguments_span(&self) -> Option<Range<usize>> {
        let start = self.name_span().end + 1;
        self.arguments.map(|arguments| start..start + arguments.len())
    }

    pub(super) fn length_span(&self) -> Option<Range<usize>> {
        let start = self.head_end() + 1;
        self.length.map(|digits| start..start + digits.len())
    }

    /// Where the name, or the parenthesis behind it, ends.
    fn head_end(&self) -> usize {
        self.name_span().end + self.arguments.map_or(0, |arguments| arguments.len() + 2)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// Text that Envoy prints as it stands.
    Literal(&'a str),
    /// `%%`, which Envoy prints as `%`.
    Percent,
    Operator(OperatorUse<'a>),
}

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => f.write_str(text),
            Self::Percent => f.write_str("%%"),
            Self::Operator(operator) => {
                write!(f, "%{}", operator.name)?;
                if let Some(arguments) = operator.arguments {
                    write!(f, "({arguments})")?;
                }
                if let Some(length) = operator.length {
                    write!(f, ":{length}")?;
                }
                f.write_str("%")
            }
        }
    }
}

/// Why Envoy would say "Couldn't find valid command".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub kind: Kind,
    pub span: Range<usize>,
    pub message: String,
    pub help: String,
}

/// A format string, taken apart. Where there is an error parsing stopped, as Envoy stops there; the parts before it stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parsed<'a> {
    pub parts: Vec<Part<'a>>,
    pub error: Option<SyntaxError>,
    /// How many bytes the parts are: the whole text, or up to the percent sign of the operator with the error.
    pub length: usize,
}

/// Takes a format string apart.
pub(super) fn parse(source: &str) -> Parsed<'_> {
    let mut rest = parts(source);
    let (mut parts, mut error) = (Vec::new(), None);
    for part in rest.by_ref() {
        match part {
            Ok(part) => parts.push(part),
            Err(found) => error = Some(found),
        }
    }
    Parsed {
        parts,
        error,
        length: rest.at,
    }
}

/// The parts of a format string one after the other, and the error behind which there are no more.
pub(super) const fn parts(source: &str) -> Parts<'_> {
    Parts {
        source,
        at: 0,
        failed: false,
    }
}

/// See [`parts`].
pub(super) struct Parts<'a> {
    source: &'a str,
    /// How far the text was taken apart.
    at: usize,
    failed: bool,
}

impl<'a> Iterator for Parts<'a> {
    type Item = Result<Part<'a>, SyntaxError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let rest = self
            .source
            .get(self.at..)
            .filter(|rest| !rest.is_empty() && !self.failed)?;
        // Literals are a few bytes as a rule.
        let literal = rest.split_at(prefix_length(rest, |byte| byte != b'%')).0;
        if !literal.is_empty() {
            self.at += literal.len();
            return Some(Ok(Part::Literal(literal)));
        }
        if rest.starts_with("%%") {
            self.at += 2;
            return Some(Ok(Part::Percent));
        }
        Some(match operator(self.source, self.at) {
            Ok(operator) => {
                self.at = operator.span().end;
                Ok(Part::Operator(operator))
            }
            Err(error) => {
                self.failed = true;
                Err(error)
            }
        })
    }
}

/// The operator that starts with the percent sign at `start`.
#[inline]
fn operator(source: &str, start: usize) -> Result<OperatorUse<'_>, SyntaxError> {
    let rest_at = |at: usize| source.get(at..).unwrap_or_default();
    let behind_percent = rest_at(start + 1);
    let (name, behind_name) = behind_percent.split_at(prefix_length(behind_percent, is_name_byte));
    if name.is_empty() {
        return Err(no_name(source, start));
    }
    let name_end = start + 1 + name.len();
    if !behind_name.starts_with('(') {
        return match ending(behind_name) {
            Ending::Found(length) => finish(start, name, None, length),
            Ending::BadLength => Err(bad_length(source, start, name_end)),
            Ending::None => Err(unclosed(name, start, behind_name)),
        };
    }

    let arguments_start = name_end + 1;
    let mut bad_length_at = None;
    let mut last_close = None;
    let mut at = arguments_start;
    // Only as far as needed: a line can hold thousands of operators.
    let line_end = loop {
        at += prefix_length(rest_at(at), |byte| byte != b')' && byte != b'\n');
        if !rest_at(at).starts_with(')') {
            break at;
        }
        at += 1;
        match ending(rest_at(at)) {
            Ending::Found(length) => {
                let arguments = source.get(arguments_start..at - 1).unwrap_or_default();
                return finish(start, name, Some(arguments), length);
            }
            Ending::BadLength => bad_length_at = bad_length_at.or(Some(at)),
            Ending::None => {}
        }
        last_close = Some(at);
    };
    Err(match (bad_length_at, last_close) {
        (Some(at), _) => bad_length(source, start, at),
        (None, Some(after)) if rest_at(after).is_empty() => unclosed(name, start, ""),
        (None, Some(after)) => SyntaxError {
            kind: Kind::MisplacedParenthesis,
            span: after - 1..after,
            message: format!("the `)` of `%{name}(` is not followed by `%` or by `:` and a number"),
            help: format!("end the operator with `)%`, as in `%{name}(...)%`, or with `):20%` to cut the value"),
        },
        (None, None) if rest_at(line_end).starts_with('\n') => SyntaxError {
            kind: Kind::UnclosedParenthesis,
            span: name_end..line_end,
            message: format!("the arguments of `{name}` do not end on their line"),
            help: "write the operator on one line and end it with `)%`".to_owned(),
        },
        (None, None) => SyntaxError {
            kind: Kind::UnclosedParenthesis,
            span: name_end..name_end + 1,
            message: format!("the `(` of `{name}` is never closed"),
            help: format!("end the operator with `)%`, as in `%{name}(...)%`"),
        },
    })
}

/// What stands where the operator should end.
enum Ending<'a> {
    /// `%` or `:N%`, with the digits.
    Found(Option<&'a str>),
    /// A colon, but no number or no percent sign after it.
    BadLength,
    None,
}

#[inline]
fn ending(rest: &str) -> Ending<'_> {
    if rest.starts_with('%') {
        return Ending::Found(None);
    }
    let Some(after_colon) = rest.strip_prefix(':') else {
        return Ending::None;
    };
    let (digits, behind) = after_colon.split_at(prefix_length(after_colon, |byte| byte.is_ascii_digit()));
    if !digits.is_empty() && behind.starts_with('%') {
        return Ending::Found(Some(digits));
    }
    Ending::BadLength
}

/// Builds the operator; its length must fit 64 bits (Envoy 1.36 and 1.40 refuse 18446744073709551616).
#[inline]
fn finish<'a>(
    start: usize,
    name: &'a str,
    arguments: Option<&'a str>,
    length: Option<&'a str>,
) -> Result<OperatorUse<'a>, SyntaxError> {
    let operator = OperatorUse {
        start,
        name,
        arguments,
        length,
    };
    match operator.length_span() {
        Some(span) if length.is_some_and(|digits| digits.parse::<u64>().is_err()) => Err(SyntaxError {
            kind: Kind::InvalidLength,
            span,
            message: format!("the length of `{name}` is larger than 64 bits"),
            help: "write a smaller number, or leave the length out".to_owned(),
        }),
        _ => Ok(operator),
    }
}

/// A percent sign with no operator name behind it: a literal percent sign, or a name in lower case.
fn no_name(source: &str, start: usize) -> SyntaxError {
    let rest = source.get(start + 1..).unwrap_or_default();
    let word = rest.get(..prefix_length(rest, is_word_byte)).unwrap_or_default();
    mixed_case(word, start, rest).unwrap_or_else(|| stray(start))
}

fn stray(start: usize) -> SyntaxError {
    SyntaxError {
        kind: Kind::StrayPercent,
        span: start..start + 1,
        message: "a single `%` starts an operator, and no operator name follows".to_owned(),
        help: "write `%%` for a percent sign".to_owned(),
    }
}

/// An operator name that does not end where it should.
fn unclosed(name: &str, start: usize, rest: &str) -> SyntaxError {
    let tail = rest.get(..prefix_length(rest, is_word_byte)).unwrap_or_default();
    if !tail.is_empty() {
        let word = format!("{name}{tail}");
        let after = rest.get(tail.len()..).unwrap_or_default();
        if let Some(error) = mixed_case(&word, start, &format!("{word}{after}")) {
            return error;
        }
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return stray(start);
    }
    SyntaxError {
        kind: Kind::UnclosedPercent,
        span: start..start + 1 + name.len(),
        message: format!("the operator that starts with `%{name}` is not closed by a `%`"),
        help: format!("write `%{name}%`, or `%%` for a percent sign"),
    }
}

/// The error for a word that would be an operator in upper case; `rest` starts with the word.
fn mixed_case(word: &str, start: usize, rest: &str) -> Option<SyntaxError> {
    let after = rest.get(word.len()..).unwrap_or_default();
    if word.is_empty() || !after.starts_with(['%', '(', ':']) {
        return None;
    }
    let upper = word.to_ascii_uppercase();
    Some(SyntaxError {
        kind: Kind::LowerCase,
        span: start + 1..start + 1 + word.len(),
        message: format!("`{word}` is no operator name: names are in upper case"),
        help: format!("write `{upper}`, or `%%` for a percent sign"),
    })
}

/// A colon at `colon` with no number and percent sign behind it.
fn bad_length(source: &str, start: usize, colon: usize) -> SyntaxError {
    let rest = source.get(colon + 1..).unwrap_or_default();
    let digits = prefix_length(rest, |byte| byte.is_ascii_digit());
    if digits > 0 && digits == rest.len() {
        let span = start..source.len();
        let written = source.get(span.clone()).unwrap_or_default();
        return SyntaxError {
            kind: Kind::UnclosedPercent,
            span,
            message: "the operator is not closed by a `%`".to_owned(),
            help: format!("write `{written}%`, or `%%` for a percent sign"),
        };
    }
    let given = rest.split(['%', '\n']).next().unwrap_or_default();
    SyntaxError {
        kind: Kind::InvalidLength,
        span: colon..colon + 1 + given.len(),
        message: match given {
            "" => "no number follows the colon".to_owned(),
            _ => format!("the length must be a number, not `{given}`"),
        },
        help: "write `:20%` to cut the value after 20 bytes, or leave the colon out".to_owned(),
    }
}

#[inline]
fn prefix_length(text: &str, accept: impl Fn(u8) -> bool) -> usize {
    let length = text.bytes().take_while(|byte| accept(*byte)).count();
    steps::count(length + 1);
    length
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'
}

const fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn operators(source: &str) -> Vec<OperatorUse<'_>> {
        let parsed = parse(source);
        assert_eq!(parsed.error, None, "{source}");
        parsed
            .parts
            .into_iter()
            .filter_map(|part| if let Part::Operator(o) = part { Some(o) } else { None })
            .collect()
    }

    fn error(source: &str) -> SyntaxError {
        parse(source).error.unwrap_or_else(|| panic!("{source} parsed"))
    }

    #[test]
    fn an_operator_is_a_name_with_arguments_and_a_length() {
        let source = "é %REQ(X-A?:PATH):20% x";
        let found = operators(source);
        let [only] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((only.name, &source[only.name_span()]), ("REQ", "REQ"));
        assert_eq!(only.arguments, Some("X-A?:PATH"));
        assert_eq!(&source[only.arguments_span().unwrap()], "X-A?:PATH");
        assert_eq!(only.length, Some("20"));
        assert_eq!(&source[only.length_span().unwrap()], "20");
        assert_eq!(&source[only.span()], "%REQ(X-A?:PATH):20%");
    }

    #[test]
    fn two_percent_signs_are_one_literal_percent_sign() {
        assert_eq!(
            parse("100%% ok").parts,
            [Part::Literal("100"), Part::Percent, Part::Literal(" ok")]
        );
        assert_eq!(operators("%PROTOCOL%%%%PROTOCOL%").len(), 2);
    }

    #[test]
    fn the_first_parenthesis_before_a_percent_sign_or_a_length_ends_the_arguments() {
        for (source, arguments) in [
            ("%CEL(1+(2))%", "1+(2)"),
            ("%CEL(a)b):5%", "a)b"),
            ("%ENVIRONMENT(a%b)%", "a%b"),
            ("%ENVIRONMENT(a):b)%", "a):b"),
            ("%ENVIRONMENT(a) %X% %REQ(X)%", "a) %X% %REQ(X"),
            ("%REQ()%", ""),
        ] {
            let found = operators(source);
            assert_eq!(found.len(), 1, "{source}");
            assert_eq!(found[0].arguments, Some(arguments), "{source}");
        }
    }

    #[test]
    fn each_way_to_break_an_operator_has_its_own_error() {
        for (source, kind, span) in [
            ("100% ok", Kind::StrayPercent, "%"),
            ("%", Kind::StrayPercent, "%"),
            ("%()%", Kind::StrayPercent, "%"),
            ("50%5 x", Kind::StrayPercent, "%"),
            ("%req(x)%", Kind::LowerCase, "req"),
            ("%Req(X)%", Kind::LowerCase, "Req"),
            ("%PROTOCOL", Kind::UnclosedPercent, "%PROTOCOL"),
            ("%PROTOCOL %PROTOCOL%", Kind::UnclosedPercent, "%PROTOCOL"),
            ("%REQ(X)", Kind::UnclosedPercent, "%REQ"),
            ("%REQ(X):5", Kind::UnclosedPercent, "%REQ(X):5"),
            ("%REQ(X", Kind::UnclosedParenthesis, "("),
            ("%REQ(X\nY)%", Kind::UnclosedParenthesis, "(X"),
            ("%REQ(X)Y%", Kind::MisplacedParenthesis, ")"),
            ("%REQ(X):%", Kind::InvalidLength, ":"),
            ("%REQ(X):ab%", Kind::InvalidLength, ":ab"),
            ("%REQ:ab%", Kind::InvalidLength, ":ab"),
            (
                "%REQ(X):18446744073709551616%",
                Kind::InvalidLength,
                "18446744073709551616",
            ),
        ] {
            let error = error(source);
            assert_eq!((error.kind, &source[error.span]), (kind, span), "{source}");
        }
    }

    #[test]
    fn parts_before_a_syntax_error_are_kept_so_that_they_are_checked_too() {
        let parsed = parse("%NOPE% 100% ok");
        assert_eq!(parsed.parts.len(), 2);
        assert!(parsed.error.is_some());
    }

    proptest! {
        #[test]
        fn printing_what_was_parsed_gives_the_text_back(source in "([%():0-9A-Z_ a?\n]|%%|%REQ\\(X\\)%|%CEL\\(|:5%|é){0,24}") {
            let parsed = parse(&source);
            let printed: String = parsed.parts.iter().map(ToString::to_string).collect();
            if parsed.error.is_none() {
                prop_assert_eq!(printed, source);
            } else {
                prop_assert!(source.starts_with(&printed));
            }
        }

        #[test]
        fn each_byte_is_looked_at_a_few_times_however_long_the_text_is(
            piece in "([%():0-9A-Z_ a?\n]|%%|%REQ\\(X\\)%|%CEL\\(|:5%|\\):|é){1,6}",
            end in "[%():5REQa\n]{0,4}",
        ) {
            let source = piece.repeat(300) + &end;
            let steps = steps::of(|| drop(parse(&source)));
            prop_assert!(steps <= 4 * (source.len() + 1), "{} steps for {} bytes", steps, source.len());
        }

        #[test]
        fn every_span_is_a_piece_of_the_text(source in "\\PC*|[%():5REQa\n]{0,16}") {
            let parsed = parse(&source);
            for part in &parsed.parts {
                if let Part::Operator(operator) = part {
                    let printed = part.to_string();
                    prop_assert_eq!(source.get(operator.span()), Some(printed.as_str()));
                }
            }
            if let Some(error) = parsed.error {
                prop_assert!(source.get(error.span.clone()).is_some_and(|text| !text.is_empty()), "{:?}", error);
            }
        }
    }
}
