//! Whether Envoy takes a CEL expression.
//!
//! Envoy refuses its whole configuration for what its CEL cannot build: a syntax error, a function that it does not
//! have, a comprehension, a bad regular expression. Attributes that do not exist it takes.

use kube_cel::cel::common::ast::{CallExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr};

use super::functions::{self, FUNCTIONS};
use super::{literal_text, places, re2};
use crate::format::EnvoyVersion;

/// Why Envoy refuses an expression, and the part that it refuses it for.
pub(super) struct Refused<'a> {
    pub part: &'a IdedExpr,
    pub message: String,
    /// From which Envoy on it may be taken; `None`: never.
    pub maybe_from: Option<EnvoyVersion>,
}

/// Operators, by the names that the parser gives them.
const OPERATORS: &[&str] = &[
    "_?_:_", "_&&_", "_||_", "_+_", "_-_", "_*_", "_/_", "_%_", "_==_", "_!=_", "_>=_", "_<=_", "_>_", "_<_", "_[_]",
    "!_", "-_", "@in", "_in_",
];

/// Identifiers that CEL keeps for other languages.
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Why Envoy would refuse the expression that was read from `source`; `None` where it takes it.
pub(super) fn find<'a>(source: &str, expression: &'a IdedExpr) -> Option<Refused<'a>> {
    Search { source }.in_expression(expression)
}

struct Search<'s> {
    source: &'s str,
}

impl Search<'_> {
    fn in_expression<'a>(&self, part: &'a IdedExpr) -> Option<Refused<'a>> {
        let unless_from = |maybe_from: Option<EnvoyVersion>, message: &str| {
            Some(Refused {
                part,
                message: message.to_owned(),
                maybe_from,
            })
        };
        let refused = |message: &str| unless_from(None, message);
        match &part.expr {
            Expr::Literal(_) if self.is_unclosed(part) => refused("a raw string cannot end with a backslash"),
            Expr::Ident(name) if RESERVED.contains(&name.as_str()) => {
                refused(&format!("`{name}` is a reserved word of CEL"))
            }
            Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => None,
            Expr::Select(select) if select.field.starts_with('`') => unless_from(
                Some(EnvoyVersion::new(1, 40)),
                "names in backquotes are not supported; write `a['b']`",
            ),
            Expr::Select(select) => self.in_expression(&select.operand),
            Expr::List(list) if !list.optional_indices.is_empty() => refused("optional elements are not supported"),
            Expr::List(list) => list.elements.iter().find_map(|element| self.in_expression(element)),
            Expr::Map(map) => map.entries.iter().find_map(|entry| self.in_entry(part, entry)),
            // Which ones it knows depends on how it was built.
            Expr::Struct(made) => unless_from(
                Some(EnvoyVersion::OLDEST_SUPPORTED),
                &format!("messages such as `{}` cannot be made", made.type_name),
            ),
            Expr::Comprehension(_) => refused("`all`, `exists`, `exists_one`, `map` and `filter` are switched off"),
            Expr::Call(call) => self.in_call(part, call),
        }
    }

    fn in_entry<'a>(&self, map: &'a IdedExpr, entry: &'a IdedEntryExpr) -> Option<Refused<'a>> {
        match &entry.expr {
            EntryExpr::MapEntry(entry) if entry.optional => Some(Refused {
                part: map,
                message: "optional entries are not supported".to_owned(),
                maybe_from: None,
            }),
            EntryExpr::MapEntry(entry) => self
                .in_expression(&entry.key)
                .or_else(|| self.in_expression(&entry.value)),
            EntryExpr::StructField(field) => self.in_expression(&field.value),
        }
    }

    fn in_call<'a>(&self, part: &'a IdedExpr, call: &'a CallExpr) -> Option<Refused<'a>> {
        let name = call.func_name.as_str();
        let refused = |message: String| {
            Some(Refused {
                part,
                message,
                maybe_from: None,
            })
        };
        let is_operator = call.target.is_none() && OPERATORS.contains(&name);
        if !is_operator && functions::called(call).is_none() {
            let exists = FUNCTIONS.iter().any(|function| function.name == name);
            return refused(if exists {
                format!("Envoy's CEL has a function `{name}`, but it is not called so or takes other arguments")
            } else {
                format!("Envoy's CEL has no function `{name}`")
            });
        }
        if name == "matches"
            && let Some(pattern) = call.args.last().and_then(literal_text)
            && let Some(refusal) = re2::refusal(pattern)
        {
            return Some(Refused {
                part,
                message: refusal.reason.to_owned(),
                maybe_from: (!refusal.is_certain).then_some(EnvoyVersion::OLDEST_SUPPORTED),
            });
        }
        call.target
            .as_deref()
            .and_then(|target| self.in_expression(target))
            .or_else(|| call.args.iter().find_map(|argument| self.in_expression(argument)))
    }

    /// In a raw string a backslash is one, so Envoy misses the end of `r'a\'`. The parser here takes the quotation mark as
    /// part of the text.
    fn is_unclosed(&self, part: &IdedExpr) -> bool {
        let quotes = ['\'', '"'];
        literal_text(part).is_some_and(|text| text.ends_with(quotes))
            && places::place(self.source, part)
                .and_then(|place| self.source.get(place))
                .filter(|literal| literal.starts_with(['r', 'R']))
                .and_then(|literal| Some(literal.trim_end_matches(literal.chars().last()?)))
                .is_some_and(|literal| literal.ends_with('\\'))
    }
}
