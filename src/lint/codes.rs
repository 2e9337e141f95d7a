//! The codes of `sightline lint`: one table, from which messages, `--explain` and the docs are made. A code never changes its
//! meaning; one that goes out of use is not given again.
//!
//! SL001-SL049: formats that are refused. SL050-SL099: formats that nobody wants. SL100-SL199: filters. SL200-SL299: the files
//! around them. SL300-SL399 are for policies of a whole folder, SL400-SL499 for cost.

use serde::Serialize;

use crate::filter::{Doubt, Kind as Filter};
use crate::format::Kind as Format;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Accepted, and not what anybody wants.
    Warning,
    /// Refused by who reads it, or without any effect.
    Error,
}

impl Severity {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What is said of the files around formats and filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A string that should hold YAML or JSON does not, or a value has another shape.
    Unreadable,
}

/// What a code is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum About {
    /// A format.
    Format(Format),
    /// A filter that cannot work.
    Filter(Filter),
    /// A filter that Envoy takes.
    Doubt(Doubt),
    /// What stands around them.
    Place(Place),
}

/// A line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// `SL001`.
    pub id: &'static str,
    /// A name for people, unique too.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it means, a sentence.
    pub meaning: &'static str,
    /// What to do, a sentence.
    pub remedy: &'static str,
}

impl Code {
    /// The code of that name or number, in any case.
    pub fn find(id: &str) -> Option<&'static Self> {
        TABLE
            .iter()
            .find(|code| code.id.eq_ignore_ascii_case(id) || code.name.eq_ignore_ascii_case(id))
    }
}

/// Makes the table, and the way from a kind to its code: a kind without a code does not compile, nor does one with two.
macro_rules! codes {
    ($($id:literal $group:ident::$kind:ident $name:literal $severity:ident $meaning:literal $remedy:literal;)*) => {
        /// All codes, by number.
        pub const TABLE: &[Code] = &[$(Code {
            id: $id, name: $name, severity: Severity::$severity, meaning: $meaning, remedy: $remedy,
        }),*];

        /// The code of a kind.
        #[deny(unreachable_patterns)]
        pub const fn code(about: About) -> &'static Code {
            match about {
                $(About::$group($group::$kind) => &Code {
                    id: $id, name: $name, severity: Severity::$severity, meaning: $meaning, remedy: $remedy,
                }),*
            }
        }
    };
}

codes! {
    "SL001" Format::StrayPercent "stray-percent" Error
        "A `%` starts no operator; Envoy refuses the whole listener."
        "Write `%%` for a percent sign.";
    "SL002" Format::UnclosedPercent "unclosed-operator" Error
        "An operator has no closing `%`."
        "End it with `%`.";
    "SL003" Format::UnclosedParenthesis "unclosed-parenthesis" Error
        "A `(` has no `)` on the same line."
        "Close it, before the `%` or the `:LENGTH%`.";
    "SL004" Format::MisplacedParenthesis "misplaced-parenthesis" Error
        "A `)` is not followed by `%` or `:LENGTH%`."
        "End the operator right behind its `)`.";
    "SL005" Format::LowerCase "lower-case-operator" Error
        "Names of operators are upper case."
        "Write the name in capitals.";
    "SL006" Format::InvalidLength "invalid-length" Error
        "A length is no number, or does not fit 64 bits."
        "Write digits behind the colon, such as `%REQ(X-TENANT):64%`.";
    "SL007" Format::UnknownOperator "unknown-operator" Error
        "Envoy has no operator of this name."
        "Look the name up in docs/format.md; the message names one that is near.";
    "SL008" Format::NotAvailable "operator-not-available" Error
        "Envoy has the operator, but not here: it belongs to another mesh, or needs an extension that is not configured."
        "Use an operator that this place has; the message names one where there is any.";
    "SL009" Format::TooNew "operator-too-new" Error
        "The operator, its arguments or its length came with a later Envoy than the oldest one checked for."
        "Upgrade the proxies, or use an older operator; --envoy-version says which Envoy to check for.";
    "SL010" Format::ArgumentsRequired "arguments-required" Error
        "The operator does not work without arguments."
        "Write them in parentheses.";
    "SL011" Format::ArgumentsForbidden "arguments-forbidden" Error
        "The operator takes no arguments."
        "Leave the parentheses out.";
    "SL012" Format::LengthForbidden "length-forbidden" Error
        "The operator takes no length."
        "Leave the `:LENGTH` out.";
    "SL013" Format::InvalidArgument "invalid-argument" Error
        "The arguments are not of the form that the operator reads."
        "Write them as the message says.";
    "SL014" Format::InvalidField "invalid-field" Error
        "The name of a field is empty, given twice, or not possible in text."
        "Give each field a name of its own.";
    "SL015" Format::UnknownField "unknown-field" Error
        "`omit` names a field that the preset does not have."
        "Use one of the preset's names.";
    "SL016" Format::Conflict "conflicting-members" Error
        "Members of the format cannot be used together."
        "Leave one of them out.";
    "SL017" Format::Empty "empty-format" Error
        "Nothing would be printed."
        "Write a text, or keep at least one field.";
    "SL050" Format::AlwaysEmpty "always-empty" Warning
        "Envoy takes the operator and always prints `-`."
        "Leave it out, or write what the message says.";
    "SL051" Format::NoEffect "no-effect" Warning
        "Envoy takes it and does not do what it looks like."
        "Write what the message says.";
    "SL052" Format::KnownDefect "known-defect" Warning
        "Some Envoys from the oldest one on have a known bug here."
        "Avoid the operator until no proxy has the bug.";
    "SL053" Format::Unbounded "unbounded-value" Warning
        "A client decides how long the value is."
        "Give it a length.";
    "SL054" Format::MissingNewline "missing-newline" Warning
        "Nothing ends the line, so entries stand on one."
        "End the text with a newline.";
    "SL055" Format::Secret "secret" Warning
        "A header, a query string or a variable usually carries a secret."
        "Leave it out, or log the path without its query.";
    "SL056" Format::TextLikeJson "text-like-json" Warning
        "Text that looks like JSON: a client can break it, or write members of its own."
        "Use a JSON format, whose values Envoy escapes.";
    "SL057" Format::Overwrites "overwritten-field" Warning
        "A field takes the place of the preset's."
        "Give it another name, unless that is what you want.";
    "SL058" Format::NotExpressible "not-expressible" Warning
        "The mesh cannot say a field of the preset."
        "Omit the field, or use another preset.";
    "SL100" Filter::Length "filter-length" Error
        "The expression is empty, too long or too deeply nested."
        "Shorten it, or make it flatter.";
    "SL101" Filter::Refused "filter-refused" Error
        "Envoy would refuse the whole listener: this is no CEL that it can build."
        "Correct the expression at the place named.";
    "SL102" Filter::UnknownAttribute "unknown-attribute" Error
        "Envoy has no such attribute: the expression is an error for every request, and nothing is logged."
        "Use an attribute of Envoy's; the message names one that is near.";
    "SL103" Filter::TooNew "attribute-too-new" Error
        "The attribute came with a later Envoy than the oldest one checked for."
        "Upgrade the proxies, or use an older attribute.";
    "SL104" Filter::Type "filter-type-mismatch" Error
        "An operator or a function stands between types that it does not take: an error for every request."
        "Convert one side, or compare with a value of the same type.";
    "SL105" Filter::NotBool "filter-not-boolean" Error
        "The value is neither true nor false, so nothing is logged."
        "Compare it with something.";
    "SL106" Filter::Empty "empty-match" Error
        "A match has no property."
        "Name one, or leave the filter out to log everything.";
    "SL107" Filter::Property "impossible-property" Error
        "A property of a match has a value that no request can have."
        "Correct the value.";
    "SL108" Filter::AlwaysError "always-an-error" Error
        "The expression is an error for every request and connection, such as a division by zero: nothing is logged."
        "Correct the part that is named.";
    "SL150" Doubt::NeverOnTcp "never-true-on-tcp" Warning
        "The filter reads what only HTTP has: on TCP connections it is an error, and none of them is logged."
        "Say so with `has(request.method) && …`, or add what is to hold on TCP: `… || !has(request.method)`.";
    "SL151" Doubt::Unchecked "unchecked-filter" Warning
        "The expression has something that is not checked here, and that some Envoy may take."
        "Write it as the message says, or try it in the proxy that reads it.";
    "SL152" Doubt::NeverTrue "never-true" Warning
        "The expression is false, or an error, for every request and connection: its conditions exclude each other, or ask for values that no proxy has."
        "Correct the values, write `||` where one of several is meant, or switch logging off.";
    "SL153" Doubt::AlwaysTrue "always-true" Warning
        "The expression is true for every request and connection, so it filters nothing."
        "Leave the filter out, or correct it: `a != 1 || a != 2` is meant as `!(a in [1, 2])`.";
    "SL154" Doubt::PartInVain "part-in-vain" Warning
        "A part of the expression is an error, or compares values of different types; Envoy takes it, and the rest can be true."
        "Correct the part that is named, or leave it out.";
    "SL200" Place::Unreadable "unreadable-text" Error
        "A value cannot be read: a string that holds no YAML or JSON, or a format or match of another shape. All of it is ignored or refused."
        "Correct the text at the place named.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_code_stands_once_and_in_order() {
        let ids: Vec<&str> = TABLE.iter().map(|code| code.id).collect();
        let names: BTreeSet<&str> = TABLE.iter().map(|code| code.name).collect();
        assert!(ids.is_sorted(), "{ids:?}");
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), TABLE.len());
        assert_eq!(names.len(), TABLE.len());
        for code in TABLE {
            assert!(code.id.len() == 5 && code.id.starts_with("SL"), "{}", code.id);
            assert!(code.meaning.ends_with('.') && code.remedy.ends_with('.'), "{}", code.id);
        }
    }

    #[test]
    fn a_kind_leads_to_its_line_of_the_table() {
        assert_eq!(code(About::Format(Format::UnknownOperator)).id, "SL007");
        assert_eq!(Code::find("sl007"), Some(code(About::Format(Format::UnknownOperator))));
        assert_eq!(Code::find("unknown-operator"), Code::find("SL007"));
        assert_eq!(Code::find("SL999"), None);
    }
}
