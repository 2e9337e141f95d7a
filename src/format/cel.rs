//! Whether Envoy takes a CEL expression, in `%CEL(…)%` and `%TYPED_CEL(…)%`.
//!
//! Envoy refuses its whole configuration for what its CEL cannot build: a syntax error, a function that it does not
//! have, a comprehension, a bad regular expression. Attributes that do not exist it takes (they print `-`). The table is
//! what Envoy 1.36 to 1.40 were asked; what stands outside of it is refused here too, to be on the safe side.

use kube_cel::cel::Program;
use kube_cel::cel::common::ast::{CallExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue};

/// Functions of Envoy's access-log CEL with the numbers of arguments that they take, the receiver included.
const FUNCTIONS: &[(&str, &[usize])] = &[
    ("size", &[1]),
    ("contains", &[2]),
    ("startsWith", &[2]),
    ("endsWith", &[2]),
    ("matches", &[2]),
    ("int", &[1]),
    ("uint", &[1]),
    ("double", &[1]),
    ("bool", &[1]),
    ("bytes", &[1]),
    ("duration", &[1]),
    ("timestamp", &[1]),
    ("type", &[1]),
    ("dyn", &[1]),
    ("getFullYear", &[1]),
    ("getMonth", &[1]),
    ("getDate", &[1]),
    ("getDayOfMonth", &[1]),
    ("getDayOfWeek", &[1]),
    ("getDayOfYear", &[1]),
    ("getHours", &[1]),
    ("getMinutes", &[1]),
    ("getSeconds", &[1]),
    ("getMilliseconds", &[1]),
];

/// The same for those of the namespace `re`.
const RE_FUNCTIONS: &[(&str, usize)] = &[("extract", 3), ("capture", 2)];

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
pub fn refusal(expression: &str) -> Option<String> {
    // The parser is a library's and its input anybody's: a panic of its is a refusal.
    let parsed = std::panic::catch_unwind(|| Program::compile(expression));
    match parsed {
        Ok(Ok(program)) => in_expression(program.expression()),
        Ok(Err(_)) | Err(_) => Some("this is no CEL expression".to_owned()),
    }
}

fn in_expression(expression: &IdedExpr) -> Option<String> {
    match &expression.expr {
        Expr::Ident(name) if RESERVED.contains(&name.as_str()) => Some(format!("`{name}` is a reserved word of CEL")),
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => None,
        Expr::Select(select) => in_expression(&select.operand),
        Expr::List(list) if !list.optional_indices.is_empty() => Some("optional elements are not supported".to_owned()),
        Expr::List(list) => list.elements.iter().find_map(in_expression),
        Expr::Map(map) => map.entries.iter().find_map(in_entry),
        Expr::Struct(made) => Some(format!("messages such as `{}` cannot be made", made.type_name)),
        Expr::Comprehension(_) => Some("`all`, `exists`, `exists_one`, `map` and `filter` are switched off".to_owned()),
        Expr::Call(call) => in_call(call),
    }
}

fn in_entry(entry: &IdedEntryExpr) -> Option<String> {
    match &entry.expr {
        EntryExpr::MapEntry(entry) if entry.optional => Some("optional entries are not supported".to_owned()),
        EntryExpr::MapEntry(entry) => in_expression(&entry.key).or_else(|| in_expression(&entry.value)),
        EntryExpr::StructField(field) => in_expression(&field.value),
    }
}

fn in_call(call: &CallExpr) -> Option<String> {
    let name = call.func_name.as_str();
    let receiver = call.target.as_deref();
    let in_re = receiver.is_some_and(|target| target.expr == Expr::Ident("re".to_owned()));
    let known = if in_re {
        RE_FUNCTIONS.contains(&(name, call.args.len()))
    } else if OPERATORS.contains(&name) {
        true
    } else {
        let arguments = call.args.len() + usize::from(receiver.is_some());
        FUNCTIONS
            .iter()
            .any(|(function, counts)| *function == name && counts.contains(&arguments))
    };
    if !known {
        return Some(format!("Envoy's CEL has no function `{name}` with these arguments"));
    }
    if name == "matches"
        && let Some(pattern) = call.args.last().and_then(literal_text)
        && !is_re2(pattern)
    {
        return Some("the pattern of `matches` is no RE2 regular expression".to_owned());
    }
    receiver
        .and_then(in_expression)
        .or_else(|| call.args.iter().find_map(in_expression))
}

fn literal_text(expression: &IdedExpr) -> Option<&str> {
    match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
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
