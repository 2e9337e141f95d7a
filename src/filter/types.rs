//! Can an expression have a value, and is it `true` or `false`?
//!
//! Envoy accepts what has no type: unknown attributes, operators between types that they do not take, results that are
//! no condition. Nothing is logged then, and nobody told. Here these are errors. What has a type that is known only at
//! the request (`dyn`) is let through. The rules are what Envoy 1.36 and 1.40 evaluated to a value when each operator
//! and function was given each pair of types; so `+` joins neither texts nor lists.

use std::fmt;

use kube_cel::cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr};

use super::attributes::{self, Attribute, Message, Shape};
use super::error::Kind as Reason;
use crate::cel::functions::{self, Kind};
use crate::cel::literal_text;
use crate::format::EnvoyVersion;

/// What is wrong, and with which part.
#[derive(Debug)]
pub(super) struct Problem<'a> {
    pub part: &'a IdedExpr,
    pub reason: Reason,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Type {
    Is(Kind),
    Null,
    List(Box<Type>),
    Map(Box<Type>),
    Message(Message),
}

const ANY: Type = Type::Is(Kind::Any);
const BOOL: Type = Type::Is(Kind::Bool);

/// Names of types, which are values too: `type(x) == int`.
const TYPES: [&str; 10] = [
    "bool",
    "bytes",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
];

/// Whether the name is that of a type.
pub(super) fn is_type(name: &str) -> bool {
    TYPES.contains(&name)
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Is(kind) => name(*kind),
            Self::Null => "null",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Message(message) => return write!(f, "all of `{}`", message.name()),
        })
    }
}

const fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "a condition (bool)",
        Kind::Int => "a number (int)",
        Kind::Uint => "a number (uint)",
        Kind::Double => "a number (double)",
        Kind::String => "a string",
        Kind::Bytes => "bytes",
        Kind::Timestamp => "a timestamp",
        Kind::Duration => "a duration",
        Kind::List => "a list",
        Kind::Map => "a map",
        Kind::Type => "a type",
        Kind::Any => "anything",
    }
}

/// Whether the expression can be a condition for proxies from `oldest` on.
pub(super) fn check(expression: &IdedExpr, oldest: EnvoyVersion) -> Result<(), Problem<'_>> {
    let found = Checker { oldest }.of(expression)?;
    if fits(&found, Kind::Bool) {
        return Ok(());
    }
    Err(Problem {
        part: expression,
        reason: Reason::NotBool,
        message: format!("a filter is a condition, but this is {found}; compare it with something"),
    })
}

/// Checks the types of an expression whose value may be anything.
pub(super) fn check_value(expression: &IdedExpr, oldest: EnvoyVersion) -> Result<(), Problem<'_>> {
    Checker { oldest }.of(expression).map(|_| ())
}

struct Checker {
    oldest: EnvoyVersion,
}

type Found<'a> = Result<Type, Problem<'a>>;

impl Checker {
    fn of<'a>(&self, part: &'a IdedExpr) -> Found<'a> {
        Ok(match &part.expr {
            Expr::Literal(literal) => of_literal(literal),
            Expr::Ident(name) => return of_name(part, name),
            Expr::Select(select) => return self.of_select(part, select),
            Expr::Call(call) => return self.of_call(part, call),
            Expr::List(list) => {
                let mut elements = Vec::new();
                for element in &list.elements {
                    elements.push(self.of(element)?);
                }
                Type::List(Box::new(common(elements)))
            }
            Expr::Map(map) => {
                let mut values = Vec::new();
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.of(&entry.key)?;
                        values.push(self.of(&entry.value)?);
                    }
                }
                Type::Map(Box::new(common(values)))
            }
            // These do not get through `cel::parse`.
            Expr::Unspecified | Expr::Comprehension(_) | Expr::Struct(_) => ANY,
        })
    }

    fn of_select<'a>(&self, part: &'a IdedExpr, select: &'a SelectExpr) -> Found<'a> {
        let found = match self.of(&select.operand)? {
            Type::Message(message) => self.of_attribute(part, message, &select.field)?,
            Type::Map(value) => *value,
            Type::Is(Kind::Any) => ANY,
            other => {
                return Err(mismatch(
                    part,
                    format!("`.{}` is asked of {other}, which has no parts", select.field),
                ));
            }
        };
        Ok(if select.test { BOOL } else { found })
    }

    fn of_attribute<'a>(&self, part: &'a IdedExpr, of: Message, name: &str) -> Found<'a> {
        let Some(attribute) = of.attribute(name) else {
            let hint = match of.nearest(name) {
                Some(near) => format!("; did you mean `{}.{near}`?", of.name()),
                None => "; see Envoy's list of attributes".to_owned(),
            };
            return Err(Problem {
                part,
                reason: Reason::UnknownAttribute,
                message: format!("Envoy has no attribute `{}.{name}`{hint}", of.name()),
            });
        };
        let Attribute { shape, since, .. } = *attribute;
        if self.oldest < since {
            return Err(Problem {
                part,
                reason: Reason::TooNew,
                message: format!(
                    "`{}.{name}` came with Envoy {since}, but the oldest proxy is {}; leave it out until all are newer",
                    of.name(),
                    self.oldest
                ),
            });
        }
        Ok(of_shape(shape))
    }

    fn of_call<'a>(&self, part: &'a IdedExpr, call: &'a CallExpr) -> Found<'a> {
        if let Some(function) = functions::called(call) {
            return self.of_function(part, call, function);
        }
        let mut operands = Vec::new();
        for argument in &call.args {
            operands.push((argument, self.of(argument)?));
        }
        match (call.func_name.as_str(), operands.as_slice()) {
            ("!_", [(_, one)]) if fits(one, Kind::Bool) => Ok(BOOL),
            ("!_", [(at, one)]) => Err(mismatch(at, format!("`!` needs a condition, but this is {one}"))),
            ("-_", [(_, one)]) if fits(one, Kind::Int) || fits(one, Kind::Double) => Ok(one.clone()),
            ("-_", [(at, one)]) => Err(mismatch(at, format!("`-` needs an int or a double, but this is {one}"))),
            ("_&&_" | "_||_", both) => match both.iter().find(|(_, one)| !fits(one, Kind::Bool)) {
                None => Ok(BOOL),
                Some((at, one)) => Err(mismatch(
                    at,
                    format!("`&&` and `||` need conditions, but this is {one}"),
                )),
            },
            ("_?_:_", [(at, condition), (_, yes), (_, no)]) => {
                if fits(condition, Kind::Bool) {
                    Ok(common(vec![yes.clone(), no.clone()]))
                } else {
                    Err(mismatch(at, format!("`?` needs a condition, but this is {condition}")))
                }
            }
            ("_[_]", [(_, of), (at, key)]) => self.of_index(part, of, at, key),
            (operator, [(_, left), (_, right)]) => of_binary(part, operator, left, right),
            _ => Ok(ANY),
        }
    }

    fn of_index<'a>(&self, part: &'a IdedExpr, of: &Type, at: &'a IdedExpr, key: &Type) -> Found<'a> {
        match of {
            Type::Message(message) if !message.is_group() => Err(mismatch(
                part,
                format!("`{}` has fields and no keys; write `.name`", message.name()),
            )),
            Type::Message(message) => match literal_text(at) {
                Some(name) => self.of_attribute(part, *message, name),
                None if fits(key, Kind::String) => Ok(ANY),
                None => Err(mismatch(at, format!("attributes have names, but this is {key}"))),
            },
            Type::List(element) if is_number(key) => Ok((**element).clone()),
            Type::List(_) => Err(mismatch(
                at,
                format!("elements of a list have numbers, but this is {key}"),
            )),
            Type::Map(value) => Ok((**value).clone()),
            Type::Is(Kind::Any) => Ok(ANY),
            other => Err(mismatch(part, format!("`[…]` is asked of {other}, which has no parts"))),
        }
    }

    fn of_function<'a>(&self, part: &'a IdedExpr, call: &'a CallExpr, function: &functions::Function) -> Found<'a> {
        let receiver = call.target.as_deref().filter(|target| !functions::is_re(target));
        let mut given = Vec::new();
        for argument in receiver.into_iter().chain(&call.args) {
            given.push(self.of(argument)?);
        }
        let taken = function.overloads.iter().any(|overload| {
            overload.len() == given.len() && overload.iter().zip(&given).all(|(kind, one)| fits(one, *kind))
        });
        if !taken {
            let given: Vec<String> = given.iter().map(ToString::to_string).collect();
            return Err(mismatch(
                part,
                format!("`{}` does not take {}", function.name, given.join(" and ")),
            ));
        }
        if let [only] = call.args.as_slice()
            && let Some(text) = literal_text(only)
            && !is_readable(function.name, text)
        {
            return Err(mismatch(only, format!("`{}` cannot read this text", function.name)));
        }
        Ok(of_kind(function.result))
    }
}

fn mismatch(part: &IdedExpr, message: String) -> Problem<'_> {
    Problem {
        part,
        reason: Reason::Type,
        message,
    }
}

fn of_literal(literal: &LiteralValue) -> Type {
    Type::Is(match literal {
        LiteralValue::Boolean(_) => Kind::Bool,
        LiteralValue::Bytes(_) => Kind::Bytes,
        LiteralValue::Double(_) => Kind::Double,
        LiteralValue::Int(_) => Kind::Int,
        LiteralValue::String(_) => Kind::String,
        LiteralValue::UInt(_) => Kind::Uint,
        LiteralValue::Null => return Type::Null,
    })
}

fn of_name<'a>(part: &'a IdedExpr, name: &str) -> Found<'a> {
    if is_type(name) {
        return Ok(Type::Is(Kind::Type));
    }
    attributes::root(name).map(of_shape).ok_or_else(|| {
        let hint = match attributes::nearest_root(name) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write a string in quotes".to_owned(),
        };
        Problem {
            part,
            reason: Reason::UnknownAttribute,
            message: format!("Envoy has no attribute `{name}`; {hint}"),
        }
    })
}

fn of_shape(shape: Shape) -> Type {
    match shape {
        Shape::Is(kind) => of_kind(kind),
        Shape::Headers => Type::Map(Box::new(Type::Is(Kind::String))),
        Shape::Values => Type::Map(Box::new(ANY)),
        Shape::Texts => Type::List(Box::new(Type::Is(Kind::String))),
        Shape::Message(message) => Type::Message(message),
    }
}

fn of_kind(kind: Kind) -> Type {
    match kind {
        Kind::List => Type::List(Box::new(ANY)),
        Kind::Map => Type::Map(Box::new(ANY)),
        kind => Type::Is(kind),
    }
}

/// The type that all have, or any.
fn common(types: Vec<Type>) -> Type {
    let mut types = types.into_iter();
    let Some(first) = types.next() else { return ANY };
    if types.all(|other| other == first) { first } else { ANY }
}

/// Whether a value of the type can be of the kind.
fn fits(found: &Type, kind: Kind) -> bool {
    match found {
        _ if kind == Kind::Any => true,
        Type::Is(Kind::Any) => true,
        Type::Is(found) => *found == kind,
        Type::List(_) => kind == Kind::List,
        // The groups of attributes are maps; the messages of Envoy's API are not, but nothing is lost by saying so.
        Type::Map(_) | Type::Message(_) => kind == Kind::Map,
        Type::Null => false,
    }
}

fn is_number(found: &Type) -> bool {
    [Kind::Int, Kind::Uint, Kind::Double]
        .into_iter()
        .any(|kind| fits(found, kind))
}

/// Whether the two can be equal. Numbers of all kinds can; what a message is, is also null where it is missing.
fn comparable(left: &Type, right: &Type) -> bool {
    match (left, right) {
        (Type::Is(Kind::Any), _)
        | (_, Type::Is(Kind::Any))
        | (Type::Message(_), Type::Null)
        | (Type::Null, Type::Message(_)) => true,
        (Type::List(left), Type::List(right)) | (Type::Map(left), Type::Map(right)) => comparable(left, right),
        _ => left == right || is_number(left) && is_number(right),
    }
}

/// Whether one can be less than the other.
fn ordered(left: &Type, right: &Type) -> bool {
    let kinds = [Kind::Bool, Kind::String, Kind::Bytes, Kind::Timestamp, Kind::Duration];
    is_number(left) && is_number(right) || kinds.into_iter().any(|kind| fits(left, kind) && fits(right, kind))
}

fn of_binary<'a>(part: &'a IdedExpr, operator: &str, left: &Type, right: &Type) -> Found<'a> {
    let sign = operator.trim_matches(['_', '@']);
    let refuse = |what: &str| Err(mismatch(part, format!("`{sign}` cannot {what} {left} and {right}")));
    match operator {
        "_==_" | "_!=_" if comparable(left, right) => Ok(BOOL),
        "_==_" | "_!=_" => Err(mismatch(
            part,
            format!("{left} and {right} are never equal; compare values of one type"),
        )),
        "_<_" | "_<=_" | "_>_" | "_>=_" if ordered(left, right) => Ok(BOOL),
        "_<_" | "_<=_" | "_>_" | "_>=_" => refuse("compare"),
        "@in" | "_in_" => of_in(part, left, right),
        _ => arithmetic(sign, left, right).map_or_else(|| refuse("compute with"), Ok),
    }
}

fn of_in<'a>(part: &'a IdedExpr, left: &Type, right: &Type) -> Found<'a> {
    match right {
        Type::List(element) if comparable(left, element) => Ok(BOOL),
        Type::List(element) => Err(mismatch(
            part,
            format!("{left} is looked for in a list of {element}; look for a value of that type"),
        )),
        Type::Map(_) | Type::Is(Kind::Any) => Ok(BOOL),
        Type::Message(message) if message.is_group() && fits(left, Kind::String) => Ok(BOOL),
        other => Err(mismatch(
            part,
            format!("`in` needs a list or a map, but this is {other}"),
        )),
    }
}

/// What the operator gives for the two, if it takes them.
fn arithmetic(sign: &str, left: &Type, right: &Type) -> Option<Type> {
    if *left == ANY || *right == ANY {
        return Some(ANY);
    }
    let (Type::Is(left), Type::Is(right)) = (left, right) else {
        return None;
    };
    let result = match (sign, left, right) {
        ("+" | "-" | "*" | "/", Kind::Int | Kind::Uint | Kind::Double, same) if left == same => *left,
        ("%", Kind::Int | Kind::Uint, same) if left == same => *left,
        ("+" | "-", Kind::Duration, Kind::Duration) | ("-", Kind::Timestamp, Kind::Timestamp) => Kind::Duration,
        ("+" | "-", Kind::Timestamp, Kind::Duration) | ("+", Kind::Duration, Kind::Timestamp) => Kind::Timestamp,
        _ => return None,
    };
    Some(Type::Is(result))
}

/// The nanoseconds of a duration as `duration` reads it; `None` where it cannot, or where they are no whole number.
pub(super) fn span(text: &str) -> Option<i128> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut nanoseconds: i128 = 0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(number);
        let (unit, factor) = UNITS.into_iter().find(|(unit, _)| behind.starts_with(unit))?;
        rest = behind.strip_prefix(unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let tenths = 10_i128.checked_pow(fraction.len().try_into().ok()?)?;
        let parts: i128 = format!("{whole}{fraction}").parse().ok()?;
        let scaled = parts.checked_mul(factor)?;
        if scaled % tenths != 0 {
            return None;
        }
        nanoseconds = nanoseconds.checked_add(scaled / tenths)?;
    }
    (!text.is_empty()).then_some(sign * nanoseconds)
}

/// Units of durations in nanoseconds; one that begins like another stands first.
const UNITS: [(&str, i128); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Whether the function makes a value of the text: what it cannot read is an error in each request.
pub(super) fn is_readable(function: &str, text: &str) -> bool {
    let matches = |pattern: &str| regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text));
    match function {
        "duration" => matches(r"^[-+]?(0|([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|ms|s|m|h))+$"),
        "timestamp" => matches(r"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[-+]\d\d:\d\d)$"),
        "int" => text.trim_ascii().parse::<i64>().is_ok(),
        "uint" => text.trim_ascii().parse::<u64>().is_ok(),
        "double" => text.parse::<f64>().is_ok(),
        "bool" => ["1", "t", "true", "TRUE", "True", "0", "f", "false", "FALSE", "False"].contains(&text),
        _ => true,
    }
}
