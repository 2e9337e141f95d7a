//! CEL as Envoy's access logs take it: in filters, and in the operators `%CEL(…)%` and `%TYPED_CEL(…)%`. Pure.
//!
//! [`parse`] says what Envoy 1.36 to 1.40 would refuse the whole listener for. What an expression means (attributes,
//! types) is the business of who evaluates it: of `filter`.

pub mod functions;
mod places;
pub mod re2;
mod refusal;

use std::ops::Range;

use kube_cel::cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, MapExpr, StructExpr};
use kube_cel::cel::parser::{ParseErrors, Parser};

use crate::format::EnvoyVersion;

/// An expression that Envoy takes.
#[derive(Debug)]
pub struct Parsed<'a> {
    source: &'a str,
    expression: IdedExpr,
}

/// Why Envoy does not take an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The bytes that are meant, where that is known.
    pub place: Option<Range<usize>>,
    /// In lower case, without a full stop.
    pub message: String,
    /// From which Envoy on it may be taken all the same; `None` where every Envoy refuses it.
    pub maybe_from: Option<EnvoyVersion>,
}

/// The most bytes of an expression. (A format has at most 8 KiB.)
const MAX_BYTES: usize = 16 * 1024;
/// The deepest that Envoy lets parts stand in parts, or parentheses in parentheses. The chains of `&&` and `||` are a few
/// levels, however long.
const MAX_DEPTH: u16 = 32;

/// Reads an expression.
///
/// # Errors
///
/// The first thing for which Envoy would refuse it; and more than 16 KiB, whatever Envoy says to that.
pub fn parse(source: &str) -> Result<Parsed<'_>, Refusal> {
    if source.len() > MAX_BYTES {
        return Err(Refusal {
            maybe_from: Some(EnvoyVersion::OLDEST_SUPPORTED),
            ..unreadable("this is longer than 16 KiB; shorten it")
        });
    }
    let expression = on_large_stack(|| {
        let expression = parser().parse(source).map_err(|errors| syntax(source, &errors))?;
        if is_deeper_than(MAX_DEPTH, &expression) {
            return Err(too_deep());
        }
        Ok(expression)
    });
    let parsed = Parsed {
        source,
        expression: expression.unwrap_or_else(|| Err(too_deep()))?,
    };
    match refusal::find(source, parsed.expression()) {
        None => Ok(parsed),
        Some(refused) => Err(Refusal {
            place: parsed.place(refused.part),
            message: refused.message,
            maybe_from: refused.maybe_from,
        }),
    }
}

/// Stack for the parser, which is a library's and takes some 50 KiB for each parenthesis in an unoptimized build.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// Runs the parser where the input, which is anybody's, cannot exhaust the stack. `None` where it panicked, or where the
/// system gives no thread: then nothing can be said for the expression. It panics, with overflow checks, on giving up for
/// the nesting.
fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work);
        thread.ok()?.join().ok()
    })
}

fn parser() -> Parser {
    Parser::default().max_recursion_depth(MAX_DEPTH)
}

fn is_deeper_than(levels: u16, part: &IdedExpr) -> bool {
    let Some(below) = levels.checked_sub(1) else {
        return true;
    };
    let deep = |part: &IdedExpr| is_deeper_than(below, part);
    match &part.expr {
        // `has(a.b)` is a level more than `a.b`.
        Expr::Select(select) if select.test => below
            .checked_sub(1)
            .is_none_or(|lower| is_deeper_than(lower, &select.operand)),
        Expr::Select(select) => deep(&select.operand),
        Expr::Call(call) => call.target.as_deref().is_some_and(deep) || call.args.iter().any(deep),
        Expr::List(list) => list.elements.iter().any(deep),
        Expr::Map(MapExpr { entries }) | Expr::Struct(StructExpr { entries, .. }) => {
            entries.iter().any(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => deep(&entry.key) || deep(&entry.value),
                EntryExpr::StructField(field) => deep(&field.value),
            })
        }
        Expr::Comprehension(made) => [&made.iter_range, &made.loop_step, &made.result].into_iter().any(deep),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => false,
    }
}

impl Parsed<'_> {
    /// The expression as a tree.
    pub fn expression(&self) -> &IdedExpr {
        &self.expression
    }

    /// Whether the tree says what the source says. The parser reads `!!a` as `!a`, and `--a` as `-a`.
    pub fn is_faithful(&self) -> bool {
        // What looks like a comment may stand in a text, and the other way round.
        let without_comments: String = self.source.lines().filter_map(|line| line.split("//").next()).collect();
        !has_two_signs(self.source) && !has_two_signs(&without_comments)
    }

    /// The bytes of the source that a part of the expression was read from.
    pub fn place(&self, part: &IdedExpr) -> Option<Range<usize>> {
        places::place(self.source, part)
    }
}

/// Whether one sign stands behind the same one.
fn has_two_signs(source: &str) -> bool {
    let dense: String = source.chars().filter(|c| !c.is_whitespace()).collect();
    dense.contains("!!") || dense.contains("--")
}

/// The text of a string literal.
pub fn literal_text(part: &IdedExpr) -> Option<&str> {
    match &part.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

fn unreadable(message: &str) -> Refusal {
    Refusal {
        place: None,
        message: message.to_owned(),
        maybe_from: None,
    }
}

fn too_deep() -> Refusal {
    unreadable("this is nested more than 32 times; make it flatter")
}

fn no_cel(place: Option<Range<usize>>) -> Refusal {
    Refusal {
        place,
        ..unreadable("this is no CEL expression")
    }
}

/// A syntax error: from where the parser stopped to the end of the line. At the end of the source it has no place.
fn syntax(source: &str, errors: &ParseErrors) -> Refusal {
    // Only where it gives up for the nesting does the parser give no position.
    if errors.errors.iter().any(|error| error.pos == (0, 0)) {
        return too_deep();
    }
    let place = errors.errors.first().and_then(|error| {
        let line = usize::try_from(error.pos.0).ok()?.checked_sub(1)?;
        let column = usize::try_from(error.pos.1).ok()?.checked_sub(1)?;
        let before: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
        let rest = source.get(before..)?.lines().next()?;
        let (start, _) = rest.char_indices().nth(column)?;
        Some(before + start..before + rest.len())
    });
    Refusal {
        maybe_from: is_beyond_the_parser(source).then_some(EnvoyVersion::OLDEST_SUPPORTED),
        ..no_cel(place)
    }
}

/// Whether the source may have what Envoy's parser reads and ours does not: an infinite number, or a text in three
/// quotation marks that begins with a fourth.
fn is_beyond_the_parser(source: &str) -> bool {
    let large = source.char_indices().any(|(at, c)| {
        let exponent = source.get(at + 1..).unwrap_or_default().trim_start_matches('+');
        c.eq_ignore_ascii_case(&'e') && exponent.bytes().take_while(u8::is_ascii_digit).count() > 2
    });
    large || source.contains("''''") || source.contains("\"\"\"\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(source: &str) -> (Option<&str>, String) {
        let refusal = parse(source).map(|_| ()).expect_err(source);
        (refusal.place.and_then(|place| source.get(place)), refusal.message)
    }

    #[test]
    fn a_refusal_names_the_part_it_is_about() {
        for (source, place, message) in [
            (
                "a == 'é' && nofunc(b, 1) > 2",
                Some("nofunc(b, 1)"),
                "no function `nofunc`",
            ),
            (
                "a.b.lowerAscii() == 'x'",
                Some("a.b.lowerAscii()"),
                "no function `lowerAscii`",
            ),
            ("getHours(a) > 1", Some("getHours(a)"), "it is not called so"),
            ("a.int() > 1", Some("a.int()"), "it is not called so"),
            ("true && size(a, b) > 1", Some("size(a, b)"), "takes other arguments"),
            ("a && b.matches('(')", Some("b.matches('(')"), "RE2"),
            ("a && [1].exists(x, x > 1)", None, "switched off"),
            ("a && b.`c`", None, "backquotes"),
            ("a && has(b.`c`)", None, "backquotes"),
            ("a &&\n b c", Some("c"), "no CEL"),
            ("a ||", None, "no CEL"),
        ] {
            let (at, said) = refused(source);
            assert!(said.contains(message), "{source}: {said}");
            if place.is_some() {
                assert_eq!(at, place, "{source}");
            }
        }
    }

    /// The limits are those that Envoy 1.36.4 and 1.40.0 had.
    #[test]
    fn nesting_is_taken_as_deep_as_envoy_takes_it() {
        for (open, part, close, end, most) in [
            ("(", "true", ")", "", 32),
            ("!(", "true", ")", "", 31),
            ("[", "", "]", " == 1", 31),
            ("size(", "a", ")", " == 1", 30),
            ("true?true:", "true", "", "", 31),
            ("", "a", ".b", " == 1", 30),
            ("", "1", "+1", " == 1", 30),
            ("(true && ", "true", ")", "", 31),
            ("!", "true", "", "", 300),
        ] {
            let nested = |times: usize| format!("{}{part}{}{end}", open.repeat(times), close.repeat(times));
            assert!(parse(&nested(most)).is_ok(), "{}", nested(most));
            assert!(most == 300 || parse(&nested(most + 1)).is_err(), "{}", nested(most + 1));
        }
    }

    /// Seen in 1.36.4.
    #[test]
    fn a_test_for_a_field_is_a_level_more_than_the_field() {
        let chain = |fields: usize| format!("a{}", ".b".repeat(fields));
        assert!(parse(&chain(31)).is_ok() && parse(&chain(32)).is_err());
        let has = |fields: usize| format!("has({})", chain(fields));
        assert!(parse(&has(30)).is_ok() && parse(&has(31)).is_err());
    }

    #[test]
    fn no_input_exhausts_the_stack() {
        for (prefix, part, suffix) in [
            ("", "(", "a"),
            ("", "[", "a"),
            ("", "!", "a"),
            ("", "-", "a"),
            ("a", ".b", ""),
            ("a", "[0]", ""),
            ("a", ".size()", ""),
            ("1", "+1", ""),
            ("1", "<1", ""),
            ("", "a?b:", "c"),
            ("", "a?", "c"),
            ("", "{1:", "c"),
            ("", "size(", "c"),
            ("true", "||true", ""),
            ("[1]", ".map(x,x)", ""),
        ] {
            for length in [200, MAX_BYTES] {
                let source = format!("{prefix}{}{suffix}", part.repeat(length / part.len()));
                let closed: String = part
                    .chars()
                    .filter_map(|c| "([{".find(c).and_then(|at| ")]}".chars().nth(at)))
                    .collect();
                let source = if prefix.is_empty() {
                    source.clone() + &closed.repeat(length / part.len())
                } else {
                    source
                };
                let taken = parse(&source).is_ok();
                assert!(!taken || !matches!(part, "(" | "+1"), "{part} {length}");
            }
        }
    }

    #[test]
    fn functions_are_called_as_members_or_not_as_envoy_wants_it() {
        for source in [
            "size(a) == 1",
            "a.size() == 1",
            "contains(a, 'b')",
            "a.getHours() > 1",
            "a.getHours('UTC') > 1",
            "re.extract(a, 'b', 'c') == 'd'",
            "re.captureN(a, 'b') == c",
        ] {
            assert!(parse(source).is_ok(), "{source}");
        }
        for source in [
            "a.timestamp()",
            "'a'.extract('b', 'c')",
            "re.size(a)",
            "extract(a, 'b', 'c')",
            "a.type()",
        ] {
            assert!(parse(source).is_err(), "{source}");
        }
    }
}
