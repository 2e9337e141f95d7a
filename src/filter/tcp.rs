//! What an expression comes to on a TCP connection, where most attributes of HTTP are not there.
//!
//! Values are not followed, only what can come out: true, false, an error. In CEL `false && error` is false and
//! `true || error` is true, on either side.

use kube_cel::cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue};

use super::attributes::{self, Attribute, OnTcp, Shape};
use crate::cel::literal_text;

/// A set of what can come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcomes {
    pub holds: bool,
    pub fails: bool,
    pub error: bool,
}

const NONE: Outcomes = Outcomes {
    holds: false,
    fails: false,
    error: false,
};
const HOLDS: Outcomes = Outcomes { holds: true, ..NONE };
const FAILS: Outcomes = Outcomes { fails: true, ..NONE };
const ERROR: Outcomes = Outcomes { error: true, ..NONE };
/// Any value; of one that is no condition, nothing more is asked.
const VALUE: Outcomes = Outcomes {
    holds: true,
    fails: true,
    error: false,
};

impl Outcomes {
    fn or(self, other: Self) -> Self {
        Self {
            holds: self.holds || other.holds,
            fails: self.fails || other.fails,
            error: self.error || other.error,
        }
    }

    fn has_value(self) -> bool {
        self.holds || self.fails
    }

    fn negated(self) -> Self {
        Self {
            holds: self.fails,
            fails: self.holds,
            ..self
        }
    }

    /// `self && other`
    fn and(self, other: Self) -> Self {
        Self {
            holds: self.holds && other.holds,
            fails: self.fails || other.fails,
            error: self.error && (other.holds || other.error) || other.error && (self.holds || self.error),
        }
    }
}

/// What can come out of the expression on TCP.
pub(super) fn outcomes(part: &IdedExpr) -> Outcomes {
    match &part.expr {
        Expr::Literal(LiteralValue::Boolean(truth)) if *truth.inner() => HOLDS,
        Expr::Literal(LiteralValue::Boolean(_)) => FAILS,
        Expr::Select(select) => match (attribute(part).map(|found| found.on_tcp), select.test) {
            (Some(OnTcp::Absent), true) => FAILS,
            (Some(OnTcp::Absent), false) => ERROR,
            (Some(_), _) => VALUE,
            (None, test) if is_empty(&select.operand) => {
                if test {
                    FAILS
                } else {
                    ERROR
                }
            }
            (None, _) => made_of([&*select.operand]),
        },
        Expr::Call(call) => of_call(part, call),
        Expr::List(list) => made_of(&list.elements),
        Expr::Map(map) => made_of(map.entries.iter().filter_map(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => Some(&entry.value),
            EntryExpr::StructField(_) => None,
        })),
        Expr::Literal(_) | Expr::Ident(_) | Expr::Unspecified | Expr::Comprehension(_) | Expr::Struct(_) => VALUE,
    }
}

fn of_call(part: &IdedExpr, call: &CallExpr) -> Outcomes {
    match (call.func_name.as_str(), call.args.as_slice()) {
        ("_&&_", [left, right]) => outcomes(left).and(outcomes(right)),
        ("_||_", [left, right]) => outcomes(left).negated().and(outcomes(right).negated()).negated(),
        ("!_", [one]) => outcomes(one).negated(),
        ("_?_:_", [condition, yes, no]) => {
            let condition = outcomes(condition);
            let error = if condition.error { ERROR } else { NONE };
            let yes = if condition.holds { outcomes(yes) } else { NONE };
            let no = if condition.fails { outcomes(no) } else { NONE };
            error.or(yes).or(no)
        }
        ("_[_]", [of, _]) => match attribute(part).map(|found| found.on_tcp) {
            Some(OnTcp::Absent) => ERROR,
            Some(_) => VALUE,
            None if is_empty(of) => ERROR,
            None => made_of(&call.args).or(ERROR),
        },
        ("@in" | "_in_", [_, of]) if is_empty(of) => FAILS,
        _ => made_of(call.target.as_deref().into_iter().chain(&call.args)),
    }
}

/// A value made of others: an error where one of them is.
fn made_of<'a>(parts: impl IntoIterator<Item = &'a IdedExpr>) -> Outcomes {
    let all: Vec<Outcomes> = parts.into_iter().map(outcomes).collect();
    let value = if all.iter().all(|one| one.has_value()) {
        VALUE
    } else {
        NONE
    };
    let error = if all.iter().any(|one| one.error) { ERROR } else { NONE };
    value.or(error)
}

/// Whether it is a map that has no entries on TCP.
fn is_empty(part: &IdedExpr) -> bool {
    attribute(part).is_some_and(|found| found.on_tcp == OnTcp::Empty)
}

/// The attribute that `request.path` or `request['path']` is.
fn attribute(part: &IdedExpr) -> Option<&'static Attribute> {
    let (of, name) = match &part.expr {
        Expr::Select(select) => (&*select.operand, select.field.as_str()),
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
            ("_[_]", [of, key]) => (of, literal_text(key)?),
            _ => return None,
        },
        _ => return None,
    };
    let Expr::Ident(root) = &of.expr else { return None };
    match attributes::root(root)? {
        Shape::Message(message) => message.attribute(name),
        _ => None,
    }
}
