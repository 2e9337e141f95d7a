//! Whether Envoy takes a regular expression of `matches`.
//!
//! Envoy's are RE2's, and it refuses those whose program has more than 100 instructions: `[^/]{13}` and `\pL` already.
//! The parser here is of Rust's `regex`, which knows more; what RE2 does not know is refused on its tree, and so are the
//! Unicode classes, which are too large but for a few. The size is reckoned from what Envoy 1.36.4 and 1.40.0 were seen
//! to take, and is never less than RE2's own: what is near the limit may be refused although Envoy would take it.

use std::collections::BTreeSet;

use regex_syntax::ast::{self, Ast};
use regex_syntax::hir::translate::TranslatorBuilder;
use regex_syntax::hir::{Class, Hir, HirKind, Look};
use regex_syntax::utf8::Utf8Sequences;

/// Largest program that Envoy takes, less what each program has.
const MAX_SIZE: u32 = 95;
/// Largest repetition that RE2 takes.
const MAX_REPETITION: u32 = 1000;

/// Why Envoy would refuse a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// In lower case, without a full stop.
    pub reason: &'static str,
    /// Whether it does; else it is not known.
    pub is_certain: bool,
}

/// Why Envoy would refuse the pattern, or may; `None` where it takes it.
pub fn refusal(pattern: &str) -> Option<Refusal> {
    let no_re2 = |is_certain: bool| {
        Some(Refusal {
            reason: "the pattern of `matches` is no RE2 regular expression",
            is_certain,
        })
    };
    let tree = match ast::parse::Parser::new().parse(pattern) {
        Ok(tree) => tree,
        Err(error) => return no_re2(is_certainly_bad(&error)),
    };
    let ignores_case = match ast::visit(&tree, OnlyRe2 { ignores_case: false }) {
        Ok(ignores_case) => ignores_case,
        Err(unknown) => return no_re2(unknown == Unknown::Refused),
    };
    // RE2's `\d`, `\w` and `\s` are of ASCII, as those of `regex` are without Unicode; but then it reads no text beyond.
    let translated = [false, true].into_iter().find_map(|unicode| {
        let mut translator = TranslatorBuilder::new().unicode(unicode).utf8(false).build();
        translator.translate(pattern, &tree).ok()
    });
    let Some(meaning) = translated else {
        return no_re2(false);
    };
    // An anchored program needs no loop in front that looks for its start.
    let anchored = meaning.properties().look_set_prefix().contains(Look::Start);
    let size = |reckon: Reckon| {
        reckon
            .size(&meaning, ignores_case)
            .saturating_sub(if anchored { 3 } else { 0 })
    };
    (size(Reckon::Most) > MAX_SIZE).then(|| Refusal {
        reason: "the pattern of `matches` is too large (Envoy takes RE2 programs of at most 100 instructions); shorten it, \
         or write several",
        is_certain: size(Reckon::Least) > MAX_SIZE + UNSURE,
    })
}

/// By how much the least size that is reckoned may be too much.
const UNSURE: u32 = 8;

/// Whether RE2 cannot read it either. It reads some of what the parser here stops at: a `{` that counts nothing is itself,
/// and so is a `[` in brackets; and it knows `\\Q`, `\\C` and other classes of characters.
fn is_certainly_bad(error: &ast::Error) -> bool {
    use ast::ErrorKind;
    match error.kind() {
        ErrorKind::GroupUnclosed
        | ErrorKind::GroupUnopened
        | ErrorKind::RepetitionCountInvalid
        | ErrorKind::UnsupportedLookAround => !error.pattern().contains(['\\', '[']),
        // A zero and two digits are octal numbers.
        ErrorKind::UnsupportedBackreference => {
            let pattern = error.pattern().as_bytes();
            let is_octal = |part: &[u8]| matches!(part, [b'\\', b'0'..=b'7', b'0'..=b'7']);
            !pattern.windows(3).any(is_octal) && !error.pattern().contains("\\0")
        }
        // A `(?)` without flags is one for RE2.
        ErrorKind::RepetitionMissing => !error.pattern().contains(['\\', '[', '{']) && !error.pattern().contains("(?"),
        ErrorKind::ClassUnclosed | ErrorKind::ClassRangeInvalid => error.pattern().matches('[').count() == 1,
        _ => false,
    }
}

/// Finds what only `regex` knows, and whether letters match in any case somewhere.
struct OnlyRe2 {
    ignores_case: bool,
}

/// Something that RE2 does not know as such.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unknown {
    /// It refuses it.
    Refused,
    /// It may read something else, or a pattern that is too large.
    Unclear,
}

fn known(is_known: bool) -> Result<(), Unknown> {
    if is_known { Ok(()) } else { Err(Unknown::Refused) }
}

fn literal(literal: &ast::Literal) -> Result<(), Unknown> {
    use ast::{HexLiteralKind, LiteralKind};
    known(!matches!(
        literal.kind,
        LiteralKind::HexFixed(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong)
            | LiteralKind::HexBrace(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong)
    ))
}

impl OnlyRe2 {
    fn flags(&mut self, flags: &ast::Flags) -> Result<(), Unknown> {
        use ast::{Flag, FlagsItemKind};
        self.ignores_case |= flags.flag_state(Flag::CaseInsensitive).is_some();
        known(flags.items.iter().all(|item| {
            !matches!(
                item.kind,
                FlagsItemKind::Flag(Flag::Unicode | Flag::CRLF | Flag::IgnoreWhitespace)
            )
        }))
    }
}

impl ast::Visitor for OnlyRe2 {
    type Output = bool;
    type Err = Unknown;

    fn finish(self) -> Result<bool, Unknown> {
        Ok(self.ignores_case)
    }

    fn visit_pre(&mut self, part: &Ast) -> Result<(), Unknown> {
        use ast::{AssertionKind, GroupKind, RepetitionKind, RepetitionRange};
        match part {
            Ast::Flags(set) => self.flags(&set.flags),
            Ast::Group(group) => match &group.kind {
                GroupKind::NonCapturing(flags) => self.flags(flags),
                GroupKind::CaptureName { name, .. } => {
                    known(name.name.chars().all(|c| c.is_alphanumeric() || c == '_'))
                }
                GroupKind::CaptureIndex(_) => Ok(()),
            },
            Ast::Literal(one) => literal(one),
            Ast::Assertion(assertion) => match assertion.kind {
                AssertionKind::StartLine
                | AssertionKind::EndLine
                | AssertionKind::StartText
                | AssertionKind::EndText
                | AssertionKind::WordBoundary
                | AssertionKind::NotWordBoundary => Ok(()),
                _ => Err(Unknown::Unclear),
            },
            Ast::ClassUnicode(_) => Err(Unknown::Unclear),
            Ast::Repetition(repetition) => {
                let counts = match &repetition.op.kind {
                    RepetitionKind::Range(
                        RepetitionRange::Exactly(n) | RepetitionRange::AtLeast(n) | RepetitionRange::Bounded(_, n),
                    ) => *n,
                    _ => 0,
                };
                known(counts <= MAX_REPETITION && !matches!(*repetition.ast, Ast::Repetition(_)))
            }
            _ => Ok(()),
        }
    }

    fn visit_class_set_item_pre(&mut self, item: &ast::ClassSetItem) -> Result<(), Unknown> {
        match item {
            ast::ClassSetItem::Literal(one) => literal(one),
            ast::ClassSetItem::Range(range) => literal(&range.start).and_then(|()| literal(&range.end)),
            ast::ClassSetItem::Unicode(_) | ast::ClassSetItem::Bracketed(_) => Err(Unknown::Unclear),
            _ => Ok(()),
        }
    }

    fn visit_class_set_binary_op_pre(&mut self, _: &ast::ClassSetBinaryOp) -> Result<(), Unknown> {
        Err(Unknown::Unclear)
    }
}

/// How many instructions of a program are reckoned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reckon {
    /// No fewer than RE2's.
    Most,
    /// Few: alternatives may share all but the longest of them.
    Least,
}

impl Reckon {
    fn size(self, part: &Hir, ignores_case: bool) -> u32 {
        let of = |part: &Hir| self.size(part, ignores_case);
        let sum = |parts: &[Hir]| parts.iter().map(of).fold(0, u32::saturating_add);
        match part.kind() {
            HirKind::Alternation(parts) if self == Self::Least => parts.iter().map(of).max().unwrap_or_default(),
            HirKind::Class(class) if self == Self::Least && !is_plain(class) => 1,
            HirKind::Empty | HirKind::Look(_) => 1,
            HirKind::Literal(literal) => count(literal.0.len()),
            HirKind::Class(class) => of_class(class, ignores_case),
            HirKind::Capture(capture) => of(&capture.sub).saturating_add(2),
            HirKind::Concat(parts) => sum(parts),
            HirKind::Alternation(parts) => sum(parts).saturating_add(count(parts.len())),
            HirKind::Repetition(repetition) => {
                let once = of(&repetition.sub);
                let optional = match repetition.max {
                    Some(max) => once
                        .saturating_add(1)
                        .saturating_mul(max.saturating_sub(repetition.min)),
                    None if repetition.min == 0 => once.saturating_add(1),
                    None => 1,
                };
                once.saturating_mul(repetition.min).saturating_add(optional)
            }
        }
    }
}

/// Whether the class is of ASCII, with all or nothing beyond it: its size is known.
fn is_plain(class: &Class) -> bool {
    match class {
        Class::Bytes(_) => true,
        Class::Unicode(class) => class
            .iter()
            .all(|r| r.end().is_ascii() || r.start() <= '\u{80}' && r.end() == char::MAX),
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// All characters beyond ASCII.
const BEYOND_ASCII: u32 = 6;
/// What `(?i)` adds to `k`, which is also the Kelvin sign, and to `s`, which is also the long s.
const KELVIN: u32 = 3;
const LONG_S: u32 = 2;

fn of_class(class: &Class, ignores_case: bool) -> u32 {
    let (ranges, beyond): (Vec<(u32, u32)>, u32) = match class {
        Class::Bytes(class) => {
            let ranges: Vec<_> = class
                .iter()
                .map(|r| (u32::from(r.start()), u32::from(r.end())))
                .collect();
            let beyond = if ranges.iter().any(|(_, end)| *end > 0x7f) {
                BEYOND_ASCII
            } else {
                0
            };
            (ranges, beyond)
        }
        Class::Unicode(class) => {
            let ranges = class
                .iter()
                .map(|r| (u32::from(r.start()), u32::from(r.end())))
                .collect();
            let all = class.iter().any(|r| r.start() <= '\u{80}' && r.end() == char::MAX);
            (ranges, if all { BEYOND_ASCII } else { of_sequences(class) })
        }
    };
    let ascii: Vec<(u32, u32)> = ranges.into_iter().filter(|(start, _)| *start <= 0x7f).collect();
    let both_cases = |letter: u8| {
        let has = |c: u32| ascii.iter().any(|(start, end)| (*start..=*end).contains(&c));
        has(u32::from(letter)) && has(u32::from(letter.to_ascii_uppercase()))
    };
    let folded = |extra: u32, letter: u8| if ignores_case && both_cases(letter) { extra } else { 0 };
    // RE2 folds the upper case of a range into its lower case.
    let lower = |(start, end): (u32, u32)| {
        let is_upper = |c: u32| (0x41..=0x5a).contains(&c);
        is_upper(start) && is_upper(end) && ascii.contains(&(start + 0x20, end + 0x20))
    };
    let plain = ascii.iter().filter(|range| !lower(**range)).count();
    count(plain) + beyond + folded(KELVIN, b'k') + folded(LONG_S, b's')
}

/// Instructions for the characters beyond ASCII: their sequences of bytes, where equal ends are shared.
fn of_sequences(class: &regex_syntax::hir::ClassUnicode) -> u32 {
    let mut ends = BTreeSet::new();
    for range in class.iter() {
        for sequence in Utf8Sequences::new(range.start(), range.end()) {
            let mut bytes = sequence.as_slice();
            if bytes.len() > 1 {
                while let Some((_, rest)) = bytes.split_first() {
                    ends.insert(bytes.to_vec());
                    bytes = rest;
                }
            }
        }
    }
    count(ends.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most `~` that Envoy took behind the pattern, of 96: what is left of the program.
    #[test]
    fn sizes_are_not_below_what_envoy_was_seen_to_count() {
        for (pattern, counted) in [
            ("(?i:abc)", 3),
            ("[^:]", 8),
            ("[^:]+", 9),
            (r"[-.\w]+", 5),
            (r"\w", 3),
            (r"\s", 3),
            (".", 8),
            ("(?s).*", 7),
            ("a?", 2),
            ("(a|b)", 3),
            ("(?:ab|cd)", 4),
            ("é", 2),
            ("[а-я]", 4),
            ("(?i)[a-z]", 6),
            ("(?i)é", 3),
            ("(?i)k", 4),
            ("(?i)s", 3),
            ("(a{3}){3}", 15),
            ("(?:ab){0,5}", 15),
            ("a{2,5}", 8),
            ("(?:a?){10}", 20),
            ("[a-cx-z]", 2),
            (r"[\s\S]", 7),
            ("(?:foo|bar|baz)", 7),
            ("[a-zA-Z0-9]", 2),
            ("(:[0-9]+)?", 6),
            ("日", 3),
            ("()", 2),
        ] {
            let tail = |length: u32| "~".repeat(length as usize);
            let largest = (0..=96)
                .rev()
                .find(|length| refusal(&format!("{pattern}{}", tail(*length))).is_none());
            let reckoned = 96 - largest.expect(pattern);
            assert!(
                (counted..=counted + 6).contains(&reckoned),
                "{pattern}: {reckoned}, Envoy {counted}"
            );
        }
    }

    #[test]
    fn what_only_the_regex_crate_knows_is_refused() {
        for pattern in [
            "(?x)a",
            "(?R)a",
            "(?u)a",
            "(?-u)a",
            r"\u0041",
            r"\u{41}",
            "a**",
            "a++",
            "a{2}{3}",
            "a{2}*",
            "[a--b]",
            r"\p{sc=Greek}",
            r"(?P<a.b>x)",
            r"\b{start-half}",
            "(?:){1001}",
            "(",
            "(?=a)",
            r"\1",
            "[z-a]",
        ] {
            assert!(refusal(pattern).is_some(), "{pattern}");
        }
    }

    #[test]
    fn common_patterns_are_taken() {
        for pattern in [
            r"^/api/v[0-9]+/users/[^/]+/orders/[^/]+$",
            "^(GET|POST|PUT|DELETE|PATCH)$",
            r"^(?i:shop\.example\.com|store\.example\.com)(:[0-9]+)?$",
            "^/(health|ready|live|metrics|status|ping)(/.*)?$",
            "(?i)googlebot",
            ".*bot.*",
            r"^10\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$",
            "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
            r"\d+",
            "[]a]",
            "é",
        ] {
            assert_eq!(refusal(pattern), None, "{pattern}");
        }
    }
}
