//! What is to be said of a filter: why it can never work, or what its author will not have meant.

use std::ops::Range;

use kube_cel::cel::common::ast::IdedExpr;

use super::attributes::Protocol;
use super::error::{FilterError, Kind};
use super::outcomes::{Outcomes, World};
use super::{check, types};
use crate::cel::{self, Parsed};
use crate::format::{EnvoyVersion, Traffic};

/// What is doubtful about a filter that Envoy takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Doubt {
    /// It is an error on TCP connections, and does not say so.
    NeverOnTcp,
    /// It is not known whether Envoy takes it.
    Unchecked,
    /// It is false for all that can happen.
    NeverTrue,
    /// It is true for all that can happen.
    AlwaysTrue,
    /// A part of it can never have a value that makes sense, and it can be true all the same.
    PartInVain,
}

/// A doubt about a filter, or about a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What it is about.
    pub doubt: Doubt,
    /// The bytes of the trimmed expression that are meant; `None`: all of it.
    pub place: Option<Range<usize>>,
    /// What is the case, in lower case, without a full stop.
    pub message: String,
}

/// What is to be said of a filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Why it never works: Envoy refuses it, or it can only be an error, or it is never true since it asks for what is not
    /// there.
    pub error: Option<FilterError>,
    /// What its author will not have meant.
    pub warnings: Vec<Warning>,
}

impl Verdict {
    fn refused(error: FilterError) -> Self {
        Self {
            error: Some(error),
            ..Self::default()
        }
    }

    fn warned(doubt: Doubt, message: &str) -> Self {
        let warning = Warning {
            doubt,
            place: None,
            message: message.to_owned(),
        };
        Self {
            error: None,
            warnings: vec![warning],
        }
    }
}

/// Judges a filter of ours: what [`check`] refuses is an error.
pub fn judge(expression: &str, traffic: Traffic, oldest: EnvoyVersion) -> Verdict {
    match check(expression, oldest) {
        Err(error) => Verdict::refused(error),
        Ok(source) => cel::parse(&source).map_or_else(
            |_| Verdict::default(),
            |parsed| judge_parsed(&source, &parsed, traffic, oldest),
        ),
    }
}

/// Judges a filter in a configuration of somebody else, by what Envoy does with it: a filter that Envoy takes and that can
/// be true has no error, and one that Envoy refuses, or that can only be an error, has one.
pub fn judge_foreign(expression: &str, traffic: Traffic, oldest: EnvoyVersion) -> Verdict {
    let source = expression.trim();
    if source.is_empty() {
        return check(source, oldest).map_or_else(Verdict::refused, |_| Verdict::default());
    }
    match cel::parse(source) {
        Ok(parsed) => judge_parsed(source, &parsed, traffic, oldest),
        Err(refusal) if refusal.maybe_from.is_some_and(|from| from <= oldest) => {
            let mut verdict = Verdict::warned(Doubt::Unchecked, &refusal.message);
            for warning in &mut verdict.warnings {
                warning.place.clone_from(&refusal.place);
            }
            verdict
        }
        Err(refusal) => Verdict::refused(FilterError::at(
            Kind::Refused,
            source,
            refusal.place,
            &format!("{}; Envoy would refuse the whole listener", refusal.message),
        )),
    }
}

fn judge_parsed(source: &str, parsed: &Parsed<'_>, traffic: Traffic, version: EnvoyVersion) -> Verdict {
    let expression = parsed.expression();
    let is_faithful = parsed.is_faithful();
    let of = |world: World| {
        if is_faithful {
            world.outcomes(expression)
        } else {
            Outcomes::ANY
        }
    };
    let [on_http, on_tcp] = [Protocol::Http, Protocol::Tcp].map(|protocol| World::new(protocol, version));
    let (http, tcp) = (of(on_http), of(on_tcp));
    let asked: &[Outcomes] = match traffic {
        Traffic::Http => &[http],
        Traffic::Tcp => &[tcp],
        Traffic::Both => &[http, tcp],
    };
    let holds = asked.iter().any(|outcomes| outcomes.holds);
    let problem = types::check(expression, version).err();
    // What may be missing on TCP is not what HTTP has.
    let never_on_tcp = traffic != Traffic::Http && !tcp.holds && of(on_tcp.complete()).error;
    match problem {
        Some(problem) => {
            let place = parsed.place(problem.part);
            let error = FilterError::at(problem.reason, source, place.clone(), &problem.message);
            if !holds {
                return Verdict::refused(error);
            }
            let message = format!(
                "{}; Envoy takes it, and the rest of the filter can be true",
                error.message
            );
            let warning = Warning {
                doubt: Doubt::PartInVain,
                place,
                message,
            };
            Verdict {
                error: None,
                warnings: vec![warning],
            }
        }
        None if http.is_error() && tcp.is_error() => {
            Verdict::refused(only_an_error(source, parsed, on_http.always_an_error(expression)))
        }
        None if never_on_tcp && (traffic == Traffic::Tcp || http.holds) => Verdict::warned(
            Doubt::NeverOnTcp,
            "this is an error on TCP connections, and none of them is logged",
        ),
        None if !http.holds && !tcp.holds => Verdict::warned(
            Doubt::NeverTrue,
            "this is never true, whatever happens, and nothing is logged",
        ),
        None if asked.iter().all(|outcomes| outcomes.is_true()) => Verdict::warned(
            Doubt::AlwaysTrue,
            "this is always true, whatever happens, and everything is logged",
        ),
        None => Verdict::default(),
    }
}

fn only_an_error(source: &str, parsed: &Parsed<'_>, part: Option<&IdedExpr>) -> FilterError {
    let place = part.and_then(|part| parsed.place(part));
    let message = "this can only ever be an error, and nothing is logged; correct it or leave it out";
    FilterError::at(Kind::AlwaysError, source, place, message)
}
