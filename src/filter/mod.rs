//! The filters of access logs: what users write becomes CEL that every proxy takes and that can hold. Pure: no I/O, no
//! clock.
//!
//! [`from_match`] renders typed properties, [`check`] reads an expression. Istio only parses CEL; Envoy refuses the whole
//! listener for what it cannot build (`crate::cel`), and takes much that is never right: unknown attributes, comparisons
//! between types, results that are no condition. All of that is an error here.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `matching` | typed properties, and their CEL |
//! | `flags` | response flags and their bits |
//! | `types` | which expressions have a type, and which |
//! | `attributes` | the attributes, by type, version and protocol |
//! | `outcomes`, `values` | what can come out of an expression, on HTTP and on TCP |
//! | `verdict` | what is to be said of a filter that somebody wrote, also where Envoy takes it |
//! | `testdata/envoy-verdicts.tsv` | what Envoy 1.36.4 to 1.40.0 said to some hundred expressions; a test compares |
//!
//! What a filter did in real proxies (1.36.4 and 1.40.0, an HTTP connection manager and a TCP proxy):
//!
//! - An expression that is an error logs nothing. A missing attribute or header is one; `error || true` is true, and
//!   `error && false` false.
//! - `request.duration`, `request.time`, `request.size` and `response.flags` are there on TCP: a connection open for 0.8 s
//!   was logged by `request.duration >= duration('0.5s')`, one to a closed port by the bits of UF and URX.
//! - A request that Envoy could not read (DPE) has no `request.method`: it counts as TCP. It has `request.protocol` and
//!   `response.code`.
//! - A client that went away (DC) leaves a request without `response.code`.
//!
//! What [`from_match`] logged of 53 requests and connections there, the same in both versions:
//!
//! | match | HTTP | TCP |
//! | --- | --- | --- |
//! | `min_status` 500 | 503 and 504 of the upstream or of Envoy; not 404, not DC | none |
//! | the same, `include_tcp` | the same, and the request that could not be read (DPE, 400) | every connection |
//! | `min_duration` 0.5 s | the request of 1.2 s; not those of 0.3 s | none |
//! | the same, `include_tcp` | the same | the connection of 0.8 s; not those of 0.3 s |
//! | `min_status` 200, `min_duration` 0.5 s, `include_tcp` | the request of 1.2 s | the connection of 0.8 s |
//! | `methods` POST, PUT | the POST | none |
//! | `hosts` shop.example.com | also `Shop.Example.COM`, `:8443`, `shop.example.com.`; no other | none |
//! | `hosts` *.example.com | `shop.example.com`, `a.b.example.com:80`; not `example.com`, `badexample.com` | none |
//! | `hosts` \[::1\] | `[::1]:80` | none |
//! | `path_prefixes` /api | `/api`, `/api/x`, `/api?a=/x`; not `/apix`, `/api;v=1` | none |
//! | `path_prefixes` / | all but the one that could not be read | none |
//! | `response_flags` UF, UT | the refused connection, the timeout | none |
//! | the same, `include_tcp` | the same | the connection that the upstream refused |
//! | `path_prefixes` /uf, `response_flags` UF, UT, `include_tcp` | the refused connection | as above |

mod attributes;
mod error;
mod flags;
mod matching;
mod outcomes;
mod types;
mod values;
mod verdict;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

pub use error::{FilterError, Kind};
pub use matching::{Match, from_match};
pub use verdict::{Doubt, Verdict, Warning, judge, judge_foreign};

use kube_cel::cel::common::ast::IdedExpr;

use attributes::Protocol;
use outcomes::World;

use crate::cel;
use crate::format::EnvoyVersion;

/// Holds for HTTP requests.
pub const HTTP_ONLY: &str = "has(request.method)";
/// Holds for TCP connections, and for requests that Envoy could not read.
pub const TCP_ONLY: &str = "!has(request.method)";

/// The most characters of an expression.
pub const MAX_CHARACTERS: usize = 4096;

/// Checks an expression that a user wrote, for proxies from `oldest` on, and gives it back without the blanks around it.
///
/// # Errors
///
/// Why a proxy would refuse it, or why it could never be right: see [`Kind`]. An expression has 1 to
/// [`MAX_CHARACTERS`] characters.
pub fn check(expression: &str, oldest: EnvoyVersion) -> Result<String, FilterError> {
    let consequence = "Envoy would refuse the whole listener";
    checked(expression, consequence, |parsed| types::check(parsed, oldest))
}

/// Checks an expression whose value is written somewhere, as a metric's tag is: it may be of any type.
///
/// # Errors
///
/// As [`check`], but for the type.
pub fn check_value(expression: &str, oldest: EnvoyVersion) -> Result<String, FilterError> {
    let consequence = "the proxy would leave it out without a word";
    checked(expression, consequence, |parsed| types::check_value(parsed, oldest))
}

fn checked(
    expression: &str,
    consequence: &str,
    types: impl Fn(&IdedExpr) -> Result<(), types::Problem<'_>>,
) -> Result<String, FilterError> {
    let source = expression.trim();
    if source.is_empty() {
        return Err(FilterError::whole(
            Kind::Length,
            "the expression is empty; write a condition such as `response.code >= 400`",
        ));
    }
    if source.chars().count() > MAX_CHARACTERS {
        return Err(FilterError::whole(
            Kind::Length,
            &format!("the expression has more than {MAX_CHARACTERS} characters; shorten it"),
        ));
    }
    let parsed = cel::parse(source).map_err(|refusal| {
        let message = format!("{}; {consequence}", refusal.message);
        FilterError::at(Kind::Refused, source, refusal.place, &message)
    })?;
    // A conjunction with a protocol, and one more, are to be possible without going over Envoy's limit of nesting.
    if cel::parse(&both(HTTP_ONLY, &both(HTTP_ONLY, source))).is_err() {
        let message = "the expression is nested too deeply to be combined with other conditions; make it flatter";
        return Err(FilterError::whole(Kind::Length, message));
    }
    types(parsed.expression())
        .map_err(|problem| FilterError::at(problem.reason, source, parsed.place(problem.part), &problem.message))?;
    Ok(source.to_owned())
}

/// Both conditions: `both("a || b", "c")` is `(a || b) && (c)`. What [`check`] gave stays in Envoy's limit of nesting through
/// two of them.
pub fn both(a: &str, b: &str) -> String {
    format!("{} && {}", enclosed(a), enclosed(b))
}

/// One of the conditions: `either("a && b", "c")` is `(a && b) || (c)`.
pub fn either(a: &str, b: &str) -> String {
    format!("{} || {}", enclosed(a), enclosed(b))
}

fn enclosed(one: &str) -> String {
    // A comment would hide the parenthesis behind it.
    if one.contains("//") {
        format!("({one}\n)")
    } else {
        format!("({one})")
    }
}

/// Whether an expression is never true on TCP although nothing in it says so: it comes to an error there, because it reads
/// what only HTTP has. `has(request.method) && response.code >= 400` is false and says so; `response.code >= 400` is an
/// error. Of what is no expression it is false.
pub fn needs_http(expression: &str) -> bool {
    let on_tcp = World::new(Protocol::Tcp, EnvoyVersion::NEWEST_KNOWN).complete();
    cel::parse(expression.trim()).is_ok_and(|parsed| {
        let outcomes = on_tcp.outcomes(parsed.expression());
        parsed.is_faithful() && outcomes.error && !outcomes.holds
    })
}
