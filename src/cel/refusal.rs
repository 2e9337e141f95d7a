//! Whether Envoy takes a CEL expression.
//!
//! Envoy refuses its whole configuration for what its CEL cannot build: a syntax error, a function that it does not
//! have, a comprehension, a bad regular expression. Attributes that do not exist it takes.

use kube_cel::cel::common::ast::{CallExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr};

use super::functions::{self, FUNCTIONS};
use super::literal_text;

/// Why Envoy refuses an expression, and the part that it refuses it for.
pub(super) struct Refused<'a> {
    pub part: &'a IdedExpr,
    pub message: String,
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

/// Largest repetition that Envoy's regular expressions (RE2) take.
const MAX_REPETITION: u32 = 1000;

/// Why Envoy would refuse the expression; `None` where it takes it.
pub(super) fn in_expression(part: &IdedExpr) -> Option<Refused<'_>> {
    let refused = |message: String| Some(Refused { part, message });
    match &part.expr {
        Expr::Ident(name) if RESERVED.contains(&name.as_str()) => {
            refused(format!("`{name}` is a reserved word of CEL"))
        }
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => None,
        Expr::Select(select) => in_expression(&select.operand),
        Expr::List(list) if !list.optional_indices.is_empty() => {
            refused("optional elements are not supported".to_owned())
        }
        Expr::List(list) => list.elements.iter().find_map(in_expression),
        Expr::Map(map) => map.entries.iter().find_map(|entry| in_entry(part, entry)),
        Expr::Struct(made) => refused(format!("messages such as `{}` cannot be made", made.type_name)),
        Expr::Comprehension(_) => {
            refused("`all`, `exists`, `exists_one`, `map` and `filter` are switched off".to_owned())
        }
        Expr::Call(call) => in_call(part, call),
    }
}

fn in_entry<'a>(map: &'a IdedExpr, entry: &'a IdedEntryExpr) -> Option<Refused<'a>> {
    match &entry.expr {
        EntryExpr::MapEntry(entry) if entry.optional => Some(Refused {
            part: map,
            message: "optional entries are not supported".to_owned(),
        }),
        EntryExpr::MapEntry(entry) => in_expression(&entry.key).or_else(|| in_expression(&entry.value)),
        EntryExpr::StructField(field) => in_expression(&field.value),
    }
}

fn in_call<'a>(part: &'a IdedExpr, call: &'a CallExpr) -> Option<Refused<'a>> {
    let name = call.func_name.as_str();
    let refused = |message: String| Some(Refused { part, message });
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
        && !is_re2(pattern)
    {
        return refused("the pattern of `matches` is no RE2 regular expression".to_owned());
    }
    call.target
        .as_deref()
        .and_then(in_expression)
        .or_else(|| call.args.iter().find_map(in_expression))
}

fn is_re2(pattern: &str) -> bool {
    let too_often = pattern.split('{').skip(1).any(|tail| {
        let counts = tail.split('}').next().unwrap_or_default().split(',');
        counts
            .filter_map(|count| count.trim().parse::<u32>().ok())
            .any(|count| count > MAX_REPETITION)
    });
    !too_often && regex::Regex::new(pattern).is_ok()
}
