//! A tiny evaluator of a few attributes and operators, which says what an expression comes to where `outcomes` says what
//! it can come to; and expressions for it.

use kube_cel::cel::common::ast::{Expr, IdedExpr, LiteralValue};
use proptest::prelude::*;

use super::attributes::Protocol;
use super::outcomes::World;
use super::{EnvoyVersion, cel, judge_foreign, types};
use crate::cel::literal_text;
use crate::format::Traffic;

#[derive(Debug, Clone, PartialEq, PartialOrd)]
enum Value {
    Bool(bool),
    Number(i64),
    Text(String),
    Span(i128),
    List(Vec<Value>),
    Error,
    /// Nothing beside it counts.
    Abort,
}

use Value::{Abort, Bool, Error, Number, Span, Text};

/// What a request has; `None`: not there.
#[derive(Debug, Clone)]
struct Request {
    method: Option<String>,
    code: Option<i64>,
    size: i64,
    duration: Option<i128>,
    mtls: bool,
}

impl Request {
    fn attribute(&self, of: &str, name: &str) -> Option<Value> {
        match (of, name) {
            ("request", "method") => self.method.clone().map(Text),
            ("request", "size") => Some(Number(self.size)),
            ("request", "duration") => self.duration.map(Span),
            ("response", "code") => self.code.map(Number),
            ("connection", "mtls") => Some(Bool(self.mtls)),
            _ => None,
        }
    }

    fn value(&self, part: &IdedExpr) -> Value {
        match &part.expr {
            Expr::Literal(LiteralValue::Boolean(truth)) => Bool(*truth.inner()),
            Expr::Literal(LiteralValue::Int(number)) => Number(*number.inner()),
            Expr::Literal(LiteralValue::String(text)) => Text(text.inner().to_owned()),
            Expr::Select(select) => {
                let Expr::Ident(of) = &select.operand.expr else {
                    return Error;
                };
                let found = self.attribute(of, &select.field);
                if select.test {
                    Bool(found.is_some())
                } else {
                    found.unwrap_or(Error)
                }
            }
            Expr::List(list) => {
                let all: Vec<Value> = list.elements.iter().map(|one| self.value(one)).collect();
                let bad = all
                    .iter()
                    .find(|one| **one == Abort)
                    .or(all.iter().find(|one| **one == Error));
                bad.cloned().unwrap_or(Value::List(all))
            }
            Expr::Call(call) => {
                let receiver = call.target.as_deref();
                let parts: Vec<&IdedExpr> = receiver.into_iter().chain(&call.args).collect();
                self.call(&call.func_name, &parts)
            }
            _ => panic!("{part:?}"),
        }
    }

    fn call(&self, name: &str, parts: &[&IdedExpr]) -> Value {
        let first = self.value(parts[0]);
        match (name, &first) {
            (_, Abort) => return Abort,
            ("!_", Bool(truth)) => return Bool(!truth),
            ("_&&_", Bool(false)) | ("_||_", Bool(true)) => return first,
            ("_&&_" | "_||_", _) => {
                let second = self.value(parts[1]);
                let decided = Bool(name == "_||_");
                return match (first, second) {
                    (_, Abort) => Abort,
                    (_, second) if second == decided => decided,
                    (Bool(_), Bool(truth)) => Bool(truth),
                    _ => Error,
                };
            }
            ("_?_:_", Bool(truth)) => return self.value(parts[if *truth { 1 } else { 2 }]),
            ("!_" | "_?_:_", _) => return Error,
            ("duration", Text(text)) => return types::span(text).map_or(Error, Span),
            ("matches", Text(text)) => {
                let pattern = regex::Regex::new(literal_text(parts[1]).unwrap()).unwrap();
                return Bool(pattern.is_match(text));
            }
            ("matches", _) => return Abort,
            _ => {}
        }
        let second = self.value(parts[1]);
        match (name, first, second) {
            (_, _, Abort) => Abort,
            // Lists have no order.
            (_, Error, _) | (_, _, Error) | ("_<_" | "_<=_" | "_>_" | "_>=_", Value::List(_), _) => Error,
            ("_==_", a, b) => Bool(a == b),
            ("_!=_", a, b) => Bool(a != b),
            ("@in", a, Value::List(all)) => Bool(all.contains(&a)),
            ("startsWith", Text(a), Text(b)) => Bool(a.starts_with(&b)),
            ("_+_", Number(a), Number(b)) => a.checked_add(b).map_or(Error, Number),
            ("_-_", Number(a), Number(b)) => a.checked_sub(b).map_or(Error, Number),
            ("_*_", Number(a), Number(b)) => a.checked_mul(b).map_or(Error, Number),
            ("_/_", Number(a), Number(b)) => a.checked_div(b).map_or(Error, Number),
            ("_%_", Number(a), Number(b)) => a.checked_rem(b).map_or(Error, Number),
            (sign, a, b) if std::mem::discriminant(&a) == std::mem::discriminant(&b) => match sign {
                "_<_" => Bool(a < b),
                "_<=_" => Bool(a <= b),
                "_>_" => Bool(a > b),
                "_>=_" => Bool(a >= b),
                _ => Error,
            },
            _ => Error,
        }
    }
}

fn request() -> impl Strategy<Value = Request> {
    let method = proptest::option::of(proptest::sample::select(vec!["GET", "POST", "a", ""]));
    let code = proptest::option::of(proptest::sample::select(vec![0_i64, 200, 399, 400, 404, 500, 599]));
    let duration = proptest::option::of(proptest::sample::select(vec![0_i128, 1, 500_000_000, 5_000_000_000]));
    (method, code, 0_i64..3, duration, any::<bool>()).prop_map(|(method, code, size, duration, mtls)| Request {
        method: method.map(str::to_owned),
        code,
        size,
        duration,
        mtls,
    })
}

fn words(all: &'static [&'static str]) -> BoxedStrategy<String> {
    proptest::sample::select(all).prop_map(str::to_owned).boxed()
}

fn number() -> BoxedStrategy<String> {
    let plain = words(&[
        "response.code",
        "response.code",
        "request.size",
        "0",
        "1",
        "200",
        "400",
        "404",
        "500",
        "-1",
        "9223372036854775807",
    ]);
    let sign = words(&["+", "-", "*", "/", "%"]);
    let computed = (plain.clone(), sign, plain.clone()).prop_map(|(a, sign, b)| format!("({a} {sign} {b})"));
    prop_oneof![4 => plain, 1 => computed].boxed()
}

fn condition() -> impl Strategy<Value = String> {
    let text = words(&[
        "request.method",
        "request.method",
        "'GET'",
        "'POST'",
        "'a'",
        "request.none",
    ]);
    let span = words(&[
        "request.duration",
        "request.duration",
        "duration('0s')",
        "duration('500ms')",
        "duration('5s')",
    ]);
    let any = prop_oneof![
        text.clone(),
        number(),
        span.clone(),
        words(&["connection.mtls", "true", "[1]"])
    ];
    let sign = words(&["==", "!=", "<", "<=", ">", ">="]);
    let compare = |one: BoxedStrategy<String>| {
        (one.clone(), sign.clone(), one).prop_map(|(a, sign, b)| format!("{a} {sign} {b}"))
    };
    let list = |one: BoxedStrategy<String>| {
        (one.clone(), proptest::collection::vec(one, 0..4)).prop_map(|(a, all)| format!("{a} in [{}]", all.join(", ")))
    };
    let leaf = prop_oneof![
        4 => compare(text.clone()),
        5 => compare(number()),
        2 => compare(span),
        1 => compare(any.boxed()),
        2 => list(text.clone()),
        1 => list(number()),
        1 => (text.clone(), text.clone()).prop_map(|(a, b)| format!("{a}.startsWith({b})")),
        1 => text.prop_map(|a| format!("{a}.matches('^G')")),
        3 => words(&[
            "connection.mtls", "has(request.method)", "has(response.code)", "has(request.none)", "true", "false", "1",
        ]),
    ];
    leaf.prop_recursive(4, 24, 3, |part| {
        let pair = (part.clone(), words(&["&&", "&&", "||", "||", "=="]), part.clone());
        prop_oneof![
            5 => pair.prop_map(|(a, sign, b)| format!("({a}) {sign} ({b})")),
            1 => part.clone().prop_map(|a| format!("!({a})")),
            1 => (part.clone(), part.clone(), part).prop_map(|(a, b, c)| format!("(({a}) ? ({b}) : ({c}))")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_an_expression_comes_to_is_among_what_it_can_come_to(
        expression in condition(), requests in proptest::collection::vec(request(), 24),
    ) {
        let version = EnvoyVersion::NEWEST_KNOWN;
        let Ok(parsed) = cel::parse(&expression) else { return Ok(()) };
        if !parsed.is_faithful() {
            return Ok(());
        }
        let can = World::new(Protocol::Http, version).outcomes(parsed.expression());
        let ours = judge_foreign(&expression, Traffic::Http, version);
        for request in requests {
            let came = request.value(parsed.expression());
            let is_said = match came {
                Bool(true) => can.holds,
                Bool(false) => can.fails,
                _ => can.error,
            };
            prop_assert!(is_said, "{}: {:?} of {:?}, not in {:?}", expression, came, request, can);
            prop_assert!(came != Bool(true) || ours.error.is_none(), "{}: {:?}", expression, ours);
        }
    }
}
