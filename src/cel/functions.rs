//! The functions of CEL that Envoy's access logs have: how they are called, what they take and what they give.
//!
//! Recorded from Envoy 1.36 to 1.40, which do not differ: which calls they accept (number of arguments and style), and
//! which argument types then gave a value and no error. What stands outside of this table is refused, to be on the safe
//! side.

use kube_cel::cel::common::ast::{CallExpr, Expr, IdedExpr};

/// The type of a value, as far as functions tell types apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A 64-bit signed integer.
    Int,
    /// A 64-bit unsigned integer.
    Uint,
    /// A floating-point number.
    Double,
    /// Text.
    String,
    /// Bytes.
    Bytes,
    /// A point in time.
    Timestamp,
    /// A span of time.
    Duration,
    /// A list of anything.
    List,
    /// A map of anything.
    Map,
    /// The type of a value.
    Type,
    /// Anything, or not known before the request.
    Any,
}

/// How a function is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `f(x)`
    Global,
    /// `x.f()`
    Member,
    /// Both.
    Either,
    /// `re.f(x)`
    Re,
}

/// A function.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// How it is written.
    pub style: Style,
    /// What it takes, the receiver first: one list for each way to call it.
    pub overloads: &'static [&'static [Kind]],
    /// What it gives.
    pub result: Kind,
}

const fn function(name: &'static str, style: Style, overloads: &'static [&'static [Kind]], result: Kind) -> Function {
    Function {
        name,
        style,
        overloads,
        result,
    }
}

/// What `size` takes.
const SIZED: &[&[Kind]] = &[&[Kind::String], &[Kind::Bytes], &[Kind::List], &[Kind::Map]];
/// What a number is made of.
const NUMBER: &[&[Kind]] = &[&[Kind::Int], &[Kind::Uint], &[Kind::Double], &[Kind::String]];
/// The same for `int`, which takes more.
const INT: &[&[Kind]] = &[
    &[Kind::Int],
    &[Kind::Uint],
    &[Kind::Double],
    &[Kind::String],
    &[Kind::Bool],
    &[Kind::Timestamp],
];
/// Two texts.
const TEXTS: &[&[Kind]] = &[&[Kind::String, Kind::String]];
/// A date, in UTC or a named time zone.
const DATE: &[&[Kind]] = &[&[Kind::Timestamp], &[Kind::Timestamp, Kind::String]];
/// A time of day, or a part of a duration.
const TIME: &[&[Kind]] = &[&[Kind::Timestamp], &[Kind::Timestamp, Kind::String], &[Kind::Duration]];

/// All of them.
pub const FUNCTIONS: &[Function] = &[
    function("size", Style::Either, SIZED, Kind::Int),
    function("contains", Style::Either, TEXTS, Kind::Bool),
    function("startsWith", Style::Either, TEXTS, Kind::Bool),
    function("endsWith", Style::Either, TEXTS, Kind::Bool),
    function("matches", Style::Either, TEXTS, Kind::Bool),
    function("int", Style::Global, INT, Kind::Int),
    function("uint", Style::Global, NUMBER, Kind::Uint),
    function("double", Style::Global, NUMBER, Kind::Double),
    function("bool", Style::Global, &[&[Kind::String], &[Kind::Bool]], Kind::Bool),
    function("bytes", Style::Global, &[&[Kind::String], &[Kind::Bytes]], Kind::Bytes),
    function(
        "duration",
        Style::Global,
        &[&[Kind::String], &[Kind::Duration]],
        Kind::Duration,
    ),
    function(
        "timestamp",
        Style::Global,
        &[&[Kind::String], &[Kind::Int], &[Kind::Timestamp]],
        Kind::Timestamp,
    ),
    function("type", Style::Global, &[&[Kind::Any]], Kind::Type),
    function("dyn", Style::Global, &[&[Kind::Any]], Kind::Any),
    function("getFullYear", Style::Member, DATE, Kind::Int),
    function("getMonth", Style::Member, DATE, Kind::Int),
    function("getDate", Style::Member, DATE, Kind::Int),
    function("getDayOfMonth", Style::Member, DATE, Kind::Int),
    function("getDayOfWeek", Style::Member, DATE, Kind::Int),
    function("getDayOfYear", Style::Member, DATE, Kind::Int),
    function("getHours", Style::Member, TIME, Kind::Int),
    function("getMinutes", Style::Member, TIME, Kind::Int),
    function("getSeconds", Style::Member, TIME, Kind::Int),
    function("getMilliseconds", Style::Member, TIME, Kind::Int),
    function(
        "extract",
        Style::Re,
        &[&[Kind::String, Kind::String, Kind::String]],
        Kind::String,
    ),
    function("capture", Style::Re, TEXTS, Kind::String),
    function("captureN", Style::Re, TEXTS, Kind::Map),
];

/// The function that is called: by name, receiver and arguments, as the parser gives them. `None` where there is none
/// that can be called so.
pub fn called(call: &CallExpr) -> Option<&'static Function> {
    let receiver = call.target.as_deref();
    let of_re = receiver.is_some_and(is_re);
    let arguments = call.args.len() + usize::from(receiver.is_some() && !of_re);
    FUNCTIONS.iter().find(|function| {
        let styled = match function.style {
            Style::Re => of_re,
            Style::Either => !of_re,
            Style::Member => !of_re && receiver.is_some(),
            Style::Global => receiver.is_none(),
        };
        styled
            && function.name == call.func_name
            && function.overloads.iter().any(|overload| overload.len() == arguments)
    })
}

/// Whether the receiver of a call is the namespace `re` and no value.
pub fn is_re(receiver: &IdedExpr) -> bool {
    receiver.expr == Expr::Ident("re".to_owned())
}
