//! Is every operator of a format string known, old enough, and written as Envoy takes it?
//!
//! The rules are those of Envoy 1.36 to 1.40 as seen by asking them (`testdata/envoy-verdicts.tsv`), not those of its
//! documentation. The order of the checks is Envoy's own: name, then arguments and length, then what they say.

use std::ops::Range;

use serde_json::Value;

use super::diagnostic::{Diagnostic, Kind, nearest};
use super::kuma;
use super::parser::{self, OperatorUse, Part};
use super::steps;
use super::table::{self, Availability, Grammar, Operator, Presence};
use super::version::{EnvoyVersion, KumaVersion};
use crate::cel;

/// What was found in all strings of a format.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub errors: Vec<Diagnostic>,
    pub warnings: Vec<Diagnostic>,
}

/// Who reads a string, and with what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader {
    /// The oldest proxy.
    pub oldest: EnvoyVersion,
    /// Whether the mesh adds the formatter extension where it finds an operator that needs it.
    pub extensions: bool,
    /// The Kuma that replaces its own operators before the proxy reads the string.
    pub kuma: Option<KumaVersion>,
}

/// The most errors of a string that are reported, and the most warnings. Nobody reads more, and each costs a look at the
/// text before it and at all names of operators.
pub(super) const MOST_REPORTED: usize = 64;

/// Checks one format string that stands at `path`.
pub(super) fn check(source: &str, path: &str, reader: Reader, findings: &mut Findings) {
    let (mut errors, mut warnings) = (0, 0);
    for part in parser::parts(source) {
        let written = match part {
            Ok(Part::Operator(written)) if errors < MOST_REPORTED => written,
            Ok(_) => continue,
            Err(error) => {
                let (message, help) = (&error.message, &error.help);
                let error = Diagnostic::at(error.kind, path, source, error.span, message, help);
                findings.errors.push(error);
                continue;
            }
        };
        match check_operator(&Written::of(&written), reader) {
            Ok(None) => {}
            Ok(Some(warning)) => {
                warnings += 1;
                if warnings <= MOST_REPORTED {
                    findings.warnings.push(warning.place(&written, path, source));
                }
            }
            Err(problem) => {
                errors += 1;
                findings.errors.push(problem.place(&written, path, source));
            }
        }
    }
}

/// Checks the format strings of a value of a JSON format.
pub(super) fn check_value(value: &Value, path: &str, reader: Reader, findings: &mut Findings) {
    match value {
        Value::String(text) => check(text, path, reader, findings),
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                check_value(value, &format!("{path}[{index}]"), reader, findings);
            }
        }
        Value::Object(members) => {
            for (key, value) in members {
                check_value(value, &format!("{path}.{key}"), reader, findings);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether a mesh that finds the text as (part of) a format adds the formatter extensions: it looks for these words.
pub(super) fn needs_extension(text: &str) -> bool {
    text.contains("%REQ_WITHOUT_QUERY")
}

/// An operator without its place: as it stands in a format string, or inside `COALESCE`.
pub(super) struct Written<'a> {
    pub name: &'a str,
    /// Empty for none: Envoy makes no difference.
    pub arguments: &'a str,
    pub has_length: bool,
}

impl<'a> Written<'a> {
    pub(super) fn of(operator: &OperatorUse<'a>) -> Self {
        Self {
            name: operator.name,
            arguments: operator.arguments.unwrap_or_default(),
            has_length: operator.length.is_some(),
        }
    }
}

/// What part of the operator a problem is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Operator,
    Name,
    Arguments,
    /// Bytes of the arguments.
    Within(Range<usize>),
    Length,
}

/// A diagnostic that has no place yet.
#[derive(Debug)]
struct Problem {
    kind: Kind,
    place: Place,
    message: String,
    help: String,
}

impl Problem {
    fn new(kind: Kind, place: Place, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            kind,
            place,
            message: message.into(),
            help: help.into(),
        }
    }

    fn place(self, written: &OperatorUse<'_>, path: &str, source: &str) -> Diagnostic {
        let arguments = written.arguments_span();
        let span = match self.place {
            Place::Operator => None,
            Place::Name => Some(written.name_span()),
            Place::Arguments => arguments,
            Place::Within(inner) => arguments.map(|outer| outer.start + inner.start..outer.start + inner.end),
            Place::Length => written.length_span(),
        };
        let span = span.filter(|span| !span.is_empty()).unwrap_or_else(|| written.span());
        Diagnostic::at(self.kind, path, source, span, &self.message, &self.help)
    }
}

/// An error, or a warning, or nothing to say.
type Verdict = Result<Option<Problem>, Problem>;

fn check_operator(written: &Written<'_>, reader: Reader) -> Verdict {
    let operator = table::operator(written.name).ok_or_else(|| unknown(written.name, reader))?;
    available(operator, reader)?;
    check_arguments_allowed(operator, written, reader.oldest)?;
    check_length_allowed(operator, written, reader.oldest)?;
    if written.arguments.is_empty() {
        return Ok(match operator.name {
            "REQ_WITHOUT_QUERY" => Some(always_empty(operator.name)),
            _ => None,
        });
    }
    check_grammar(operator, written.arguments, reader)
}

fn unknown(name: &str, reader: Reader) -> Problem {
    let usable = |name: &&str| table::operator(name).is_some_and(|operator| available(operator, reader).is_ok());
    let help = nearest(name, table::operator_names().filter(usable)).map_or_else(
        || "see Envoy's list of access log operators, or write `%%` for a percent sign".to_owned(),
        |near| format!("did you mean `{near}`?"),
    );
    Problem::new(
        Kind::UnknownOperator,
        Place::Name,
        format!("there is no operator `{name}`"),
        help,
    )
}

fn available(operator: &Operator, reader: Reader) -> Result<(), Problem> {
    let name = operator.name;
    let refused = |message: String, help: &str| Err(Problem::new(Kind::NotAvailable, Place::Name, message, help));
    match operator.availability {
        Availability::Since(version) if version > reader.oldest => {
            Err(too_new(Place::Name, name, version, reader.oldest))
        }
        Availability::AddedExtension(extension) if !reader.extensions => refused(
            format!(
                "`{name}` needs the Envoy extension `{extension}`, which the mesh does not configure for this place"
            ),
            "use `PATH` with `NQ` for the path without its query",
        ),
        Availability::Since(_) | Availability::AddedExtension(_) => Ok(()),
        Availability::NeedsExtension(extension) => refused(
            format!("`{name}` needs the Envoy extension `{extension}`, which the mesh does not configure"),
            "leave it out",
        ),
        Availability::GenericProxy => refused(
            format!("`{name}` works only in the access log of Envoy's generic proxy"),
            "leave it out",
        ),
        Availability::Kuma(since) => match reader.kuma {
            Some(kuma) if kuma >= since => Ok(()),
            Some(kuma) => Err(Problem::new(
                Kind::TooNew,
                Place::Name,
                format!("`{name}` needs Kuma ≥ {since}, but the mesh's is {kuma}"),
                "leave it out until Kuma is upgraded",
            )),
            None => refused(
                format!("only Kuma replaces `{name}`, and only outside other operators; Envoy itself refuses it"),
                &kuma::instead_of(name),
            ),
        },
    }
}

fn too_new(place: Place, what: &str, since: EnvoyVersion, oldest: EnvoyVersion) -> Problem {
    Problem::new(
        Kind::TooNew,
        place,
        format!("`{what}` needs Envoy ≥ {since}, but the oldest proxy is {oldest}"),
        "leave it out until all proxies are upgraded",
    )
}

fn check_arguments_allowed(operator: &Operator, written: &Written<'_>, oldest: EnvoyVersion) -> Result<(), Problem> {
    let name = operator.name;
    let given = !written.arguments.is_empty();
    match operator.params {
        Presence::Required if !given => Err(Problem::new(
            Kind::ArgumentsRequired,
            Place::Operator,
            format!("`{name}` requires arguments"),
            format!("write `{}`", operator.syntax),
        )),
        Presence::Forbidden if given => Err(Problem::new(
            Kind::ArgumentsForbidden,
            Place::Arguments,
            format!("`{name}` takes no arguments"),
            format!("write `%{name}%`"),
        )),
        Presence::OptionalSince(since) if given && since > oldest => {
            Err(too_new(Place::Arguments, &format!("{name}(...)"), since, oldest))
        }
        _ => Ok(()),
    }
}

fn check_length_allowed(operator: &Operator, written: &Written<'_>, oldest: EnvoyVersion) -> Result<(), Problem> {
    let name = operator.name;
    match operator.length {
        Presence::Forbidden if written.has_length => {
            let arguments = if written.arguments.is_empty() { "" } else { "(...)" };
            Err(Problem::new(
                Kind::LengthForbidden,
                Place::Length,
                format!("`{name}` takes no length"),
                format!("write `%{name}{arguments}%`"),
            ))
        }
        Presence::OptionalSince(since) if written.has_length && since > oldest => {
            Err(too_new(Place::Length, &format!("{name}(...):N"), since, oldest))
        }
        _ => Ok(()),
    }
}

fn check_grammar(operator: &Operator, arguments: &str, reader: Reader) -> Verdict {
    // Each grammar reads them a few times, from left to right.
    steps::count(arguments.len());
    let name = operator.name;
    let oldest = reader.oldest;
    let no_effect = |message: &str, help: &str| Ok(Some(Problem::new(Kind::NoEffect, Place::Arguments, message, help)));
    match operator.grammar {
        Grammar::AllowWhitespaces if arguments != "ALLOW_WHITESPACES" => no_effect(
            "Envoy ignores this argument",
            "write `ALLOW_WHITESPACES` or no argument",
        ),
        Grammar::MaskPrefixLength if !arguments.parse::<u8>().is_ok_and(|bits| bits <= 128) => no_effect(
            "Envoy takes this mask, but it is no prefix length",
            "write a number from 0 to 32 for IPv4, or to 128 for IPv6",
        ),
        Grammar::CelExpression => match cel::parse(arguments) {
            Ok(_) => Ok(None),
            Err(refusal) => Err(invalid(
                Place::Arguments,
                refusal.message,
                "write an expression such as `request.path`",
            )),
        },
        // Envoy takes any name, namespace or path.
        Grammar::None | Grammar::Name | Grammar::Namespace | Grammar::AllowWhitespaces | Grammar::MaskPrefixLength => {
            Ok(None)
        }
        Grammar::Coalesce => coalesce(arguments, reader),
        Grammar::CommonDuration => common_duration(arguments),
        Grammar::FilterState => filter_state(arguments),
        Grammar::GrpcStatus => one_of(name, arguments, &["CAMEL_STRING", "SNAKE_STRING", "NUMBER"]),
        Grammar::QueryParams => one_of(name, arguments, &["ORIG", "DECODED"]),
        Grammar::XfccKey => one_of(
            name,
            &arguments.to_ascii_lowercase(),
            &["by", "hash", "cert", "chain", "subject", "uri", "dns"],
        ),
        Grammar::Header => header(name, arguments),
        Grammar::Metadata => metadata(arguments, oldest),
        Grammar::Path => two_options(name, arguments, &["WQ", "NQ"], &["ORIG", "PATH", "ORIG_OR_PATH"]),
        Grammar::ServerName => {
            let first = ["SNI_ONLY", "SNI_FIRST", "HOST_FIRST"];
            two_options(name, arguments, &first, &["ORIG", "HOST", "ORIG_OR_HOST"])
        }
        Grammar::TimeFormat => time_format(arguments),
    }
}

fn invalid(place: Place, message: impl Into<String>, help: impl Into<String>) -> Problem {
    Problem::new(Kind::InvalidArgument, place, message, help)
}

fn always_empty(name: &str) -> Problem {
    Problem::new(
        Kind::AlwaysEmpty,
        Place::Operator,
        format!("`{name}` without a header name always prints `-`"),
        format!("write the name of a header: `%{name}(X-NAME)%`"),
    )
}

fn one_of(name: &str, argument: &str, allowed: &[&str]) -> Verdict {
    if allowed.contains(&argument) {
        return Ok(None);
    }
    Err(invalid(
        Place::Arguments,
        format!("`{name}` does not take this argument"),
        one_of_help(argument, allowed),
    ))
}

fn one_of_help(wrong: &str, allowed: &[&str]) -> String {
    match nearest(&wrong.trim().to_ascii_uppercase(), allowed.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write one of `{}`", allowed.join("`, `")),
    }
}

/// `A[:B]` of two lists. Either may be empty, and what follows a second colon is not read.
fn two_options(name: &str, arguments: &str, first: &[&str], second: &[&str]) -> Verdict {
    let mut at = 0;
    for (option, allowed) in arguments.split(':').zip([first, second]) {
        if !option.is_empty() && !allowed.contains(&option) {
            let place = Place::Within(at..at + option.len());
            return Err(invalid(
                place,
                format!("`{name}` has no such option"),
                one_of_help(option, allowed),
            ));
        }
        at += option.len() + 1;
    }
    Ok(None)
}

/// `X[?Y]`, each a header name or, after a colon, a pseudo header.
fn header(name: &str, arguments: &str) -> Verdict {
    let mut at = 0;
    let mut parts = 0;
    for part in arguments.split('?') {
        parts += 1;
        if parts > 2 {
            let help = format!("write `%{name}(X?Y)%`: Y is printed where X is absent");
            return Err(invalid(
                Place::Within(at - 1..arguments.len()),
                "only one alternative header is possible",
                help,
            ));
        }
        if !is_header_name(part) {
            return Err(invalid(
                Place::Within(at..at + part.len()),
                format!("`{part}` is no header name"),
                "write letters, digits and `-`, with a colon in front for a pseudo header such as `:PATH`",
            ));
        }
        at += part.len() + 1;
    }
    Ok((arguments == "?").then(|| always_empty(name)))
}

fn is_header_name(text: &str) -> bool {
    let token = text.strip_prefix(':').unwrap_or(text);
    let starts_well = text.is_empty() || !token.is_empty();
    starts_well
        && token
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || is_header_mark(byte))
}

/// What else a header name may have: the `tchar` of RFC 9110.
const fn is_header_mark(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
    )
}

/// The points of `COMMON_DURATION` that Envoy or its TCP proxy set.
const TIME_POINTS: [&str; 14] = [
    "DS_CX_BEG",
    "DS_CX_END",
    "DS_RX_BEG",
    "DS_RX_END",
    "DS_TX_BEG",
    "DS_TX_END",
    "US_CX_BEG",
    "US_CX_END",
    "US_HS_END",
    "US_RX_BEG",
    "US_RX_BODY_BEG",
    "US_RX_END",
    "US_TX_BEG",
    "US_TX_END",
];

/// `START:END[:ms|us|ns]`. Envoy takes any text for a point, as filters may set their own.
fn common_duration(arguments: &str) -> Verdict {
    let parts: Vec<&str> = arguments.split(':').collect();
    let (start, end) = match *parts {
        [start, end] => (start, end),
        [start, end, unit] => {
            if !matches!(unit, "ms" | "us" | "ns") {
                let place = Place::Within(arguments.len() - unit.len()..arguments.len());
                return Err(invalid(
                    place,
                    format!("`{unit}` is no unit of time"),
                    "write `ms`, `us` or `ns`",
                ));
            }
            (start, end)
        }
        _ => {
            return Err(invalid(
                Place::Arguments,
                "two points in time are needed, and at most a unit after them",
                "write for example `%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%`",
            ));
        }
    };
    let mut at = 0;
    for point in [start, end] {
        if !TIME_POINTS.contains(&point) {
            let place = if point.is_empty() {
                Place::Arguments
            } else {
                Place::Within(at..at + point.len())
            };
            let help = nearest(&point.to_ascii_uppercase(), TIME_POINTS.into_iter()).map_or_else(
                || "write a point such as `DS_RX_BEG`, or ignore this if a filter sets it".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            let message = format!("Envoy itself sets no time point `{point}`, and prints `-` unless a filter does");
            return Ok(Some(Problem::new(Kind::AlwaysEmpty, place, message, help)));
        }
        at += point.len() + 1;
    }
    Ok(None)
}

/// `KEY[:PLAIN|TYPED|FIELD:NAME]`
fn filter_state(arguments: &str) -> Verdict {
    let help = "write `KEY`, `KEY:PLAIN`, `KEY:TYPED` or `KEY:FIELD:NAME`";
    let mut parts = arguments.splitn(3, ':');
    let key = parts.next().unwrap_or_default();
    let form = parts.next().unwrap_or_default();
    let field = parts.next().unwrap_or_default();
    let form_at = key.len() + 1..key.len() + 1 + form.len();
    if key.is_empty() {
        return Err(invalid(Place::Arguments, "the key is empty", help));
    }
    match (form, field.is_empty()) {
        ("" | "PLAIN" | "TYPED", true) | ("FIELD", false) => Ok(None),
        ("FIELD", true) => Err(invalid(
            Place::Within(form_at),
            "`FIELD` needs the name of a field",
            help,
        )),
        ("" | "PLAIN" | "TYPED", false) => Err(invalid(
            Place::Within(form_at.end..arguments.len()),
            "only `FIELD` takes the name of a field",
            help,
        )),
        _ => Err(invalid(
            Place::Within(form_at),
            format!("`{form}` is no form of a filter state"),
            help,
        )),
    }
}

/// `TYPE:NS[:KEY...]`; what follows the type is free.
fn metadata(arguments: &str, oldest: EnvoyVersion) -> Verdict {
    const SINCE_1_37: &str = "LISTENER_FILTER_CHAIN";
    let types = [
        "DYNAMIC",
        "CLUSTER",
        "ROUTE",
        "UPSTREAM_HOST",
        "LISTENER",
        "VIRTUAL_HOST",
        SINCE_1_37,
    ];
    let written = arguments.split(':').next().unwrap_or_default();
    let place = if written.is_empty() {
        Place::Arguments
    } else {
        Place::Within(0..written.len())
    };
    let since = EnvoyVersion::new(1, 37);
    if written == SINCE_1_37 && oldest < since {
        return Err(too_new(place, &format!("METADATA({SINCE_1_37}:...)"), since, oldest));
    }
    if types.contains(&written) {
        return Ok(None);
    }
    Err(invalid(
        place,
        format!("`{written}` is no type of metadata"),
        one_of_help(written, &types),
    ))
}

/// `strftime` and more; Envoy refuses only what its pattern `%[-_0^#]*[1-9]*(E|O)?n` finds: line breaks.
fn time_format(arguments: &str) -> Verdict {
    for (start, _) in arguments.match_indices('%') {
        let after = arguments.get(start + 1..).unwrap_or_default();
        let rest = after
            .trim_start_matches(['-', '_', '0', '^', '#'])
            .trim_start_matches(|c| matches!(c, '1'..='9'));
        let rest = rest.strip_prefix(['E', 'O']).unwrap_or(rest);
        if rest.starts_with('n') {
            let place = Place::Within(start..arguments.len() - rest.len() + 1);
            return Err(invalid(place, "a time format cannot have a line break", "leave it out"));
        }
    }
    Ok(None)
}

/// `{"operators": ["NAME", {"command": "NAME", "param": "...", "max_length": 1}]}`; other keys are not read.
///
/// What is neither an object nor a list must never reach a proxy: `null`, numbers, booleans and strings make the process of
/// Envoy 1.37 to 1.40 end as it reads the configuration (seen; `crash` in `testdata/envoy-verdicts.tsv`).
fn coalesce(arguments: &str, reader: Reader) -> Verdict {
    let form = r#"write `{"operators":["PROTOCOL",{"command":"REQ","param":"X-NAME"}]}`"#;
    let whole = |message: String| invalid(Place::Arguments, message, form);
    let json = coalesce_json(arguments).map_err(|error| whole(format!("the arguments are no JSON ({error})")))?;
    let operators = coalesce_entries(&json)
        .filter(|operators| !operators.is_empty())
        .ok_or_else(|| whole("the arguments are no JSON object with a list `operators` that has entries".to_owned()))?;
    // Extensions of the mesh are not asked inside COALESCE, and Kuma replaces nothing without its percent signs.
    let reader = Reader {
        extensions: false,
        kuma: None,
        ..reader
    };
    let mut warning = None;
    for (index, entry) in operators.iter().enumerate() {
        let written = coalesce_entry(entry).map_err(|message| whole(format!("entry {index}: {message}")))?;
        let within = |problem: Problem| Problem {
            place: Place::Arguments,
            message: format!("entry {index}: {}", problem.message),
            ..problem
        };
        let found = check_operator(&written, reader).map_err(within)?;
        warning = warning.or(found.map(within));
    }
    Ok(warning)
}

/// The arguments of `COALESCE`. Envoy's reader of JSON skips a byte order mark.
pub(super) fn coalesce_json(arguments: &str) -> serde_json::Result<Value> {
    serde_json::from_str(arguments.strip_prefix('\u{feff}').unwrap_or(arguments))
}

/// The entries of `COALESCE`, where its arguments have the form of such.
pub(super) fn coalesce_entries(arguments: &Value) -> Option<&Vec<Value>> {
    arguments.as_object()?.get("operators")?.as_array()
}

/// An operator of `COALESCE`, or what is wrong with the entry.
pub(super) fn coalesce_entry(entry: &Value) -> Result<Written<'_>, &'static str> {
    if let Some(name) = entry.as_str() {
        return Ok(Written {
            name,
            arguments: "",
            has_length: false,
        });
    }
    let object = entry.as_object().ok_or("it is neither a name nor an object")?;
    let name = object
        .get("command")
        .and_then(Value::as_str)
        .ok_or("`command` must be the name of an operator")?;
    let arguments = match object.get("param") {
        None => "",
        Some(param) => param.as_str().ok_or("`param` must be a string")?,
    };
    let has_length = match object.get("max_length") {
        None => false,
        Some(length) => {
            let positive = length.as_i64().is_some_and(|length| length > 0);
            positive
                .then_some(true)
                .ok_or("`max_length` must be a positive number")?
        }
    };
    Ok(Written {
        name,
        arguments,
        has_length,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str, oldest: EnvoyVersion) -> Findings {
        let mut findings = Findings::default();
        let reader = Reader {
            oldest,
            extensions: true,
            kuma: None,
        };
        check(source, "text", reader, &mut findings);
        findings
    }

    fn only_error(source: &str) -> Diagnostic {
        let mut errors = found(source, EnvoyVersion::OLDEST_SUPPORTED).errors;
        assert_eq!(errors.len(), 1, "{source}: {errors:?}");
        errors.remove(0)
    }

    #[test]
    fn errors_say_what_is_wrong_where_and_what_to_write() {
        for (source, sentence) in [
            (
                "%REQQ(X)%",
                "text, character 2, `REQQ`: there is no operator `REQQ`; did you mean `REQ`?",
            ),
            (
                "%REQ%",
                "text, character 1, `%REQ%`: `REQ` requires arguments; write `%REQ(X[?Y])[:Z]%`",
            ),
            (
                "%RESPONSE_CODE(x)%",
                "text, character 16, `x`: `RESPONSE_CODE` takes no arguments; write `%RESPONSE_CODE%`",
            ),
            (
                "%PROTOCOL:5%",
                "text, character 11, `5`: `PROTOCOL` takes no length; write `%PROTOCOL%`",
            ),
            (
                "%SPAN_ID%",
                "text, character 2, `SPAN_ID`: `SPAN_ID` needs Envoy ≥ 1.38, but the oldest proxy is 1.36; leave it \
                 out until all proxies are upgraded",
            ),
            (
                "100% ok",
                "text, character 4, `%`: a single `%` starts an operator, and no operator name follows; write `%%` \
                 for a percent sign",
            ),
            (
                "%req(x)%",
                "text, character 2, `req`: `req` is no operator name: names are in upper case; write `REQ`, or `%%` \
                 for a percent sign",
            ),
            (
                "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:s)%",
                "text, character 38, `s`: `s` is no unit of time; write `ms`, `us` or `ns`",
            ),
            (
                "%METADATA(dynamic:ns)%",
                "text, character 11, `dynamic`: `dynamic` is no type of metadata; did you mean `DYNAMIC`?",
            ),
        ] {
            assert_eq!(only_error(source).to_string(), sentence);
        }
    }

    #[test]
    fn every_operator_at_fault_is_reported_and_the_place_where_reading_stops() {
        let kinds: Vec<_> = found("%REQ% %NOPE_X% 100% ok", EnvoyVersion::OLDEST_SUPPORTED).errors;
        let kinds: Vec<_> = kinds.iter().map(|error| error.kind).collect();
        assert_eq!(
            kinds,
            [Kind::ArgumentsRequired, Kind::UnknownOperator, Kind::StrayPercent]
        );
    }

    #[test]
    fn only_operators_that_the_oldest_proxy_has_are_proposed() {
        let proposal = |oldest| found("%SPAN_IT%", oldest).errors.remove(0).help;
        assert_eq!(proposal(EnvoyVersion::NEWEST_KNOWN), "did you mean `SPAN_ID`?");
        assert!(!proposal(EnvoyVersion::OLDEST_SUPPORTED).contains("SPAN_ID"));
    }

    #[test]
    fn what_no_access_log_of_a_mesh_has_is_refused_with_the_reason() {
        for (source, reason) in [
            ("%SECRET(x)%", "envoy.formatter.generic_secret"),
            ("%REQUEST_PROPERTY(x)%", "generic proxy"),
            ("%KUMA_MESH%", "only Kuma"),
        ] {
            let error = only_error(source);
            assert_eq!(error.kind, Kind::NotAvailable);
            assert!(error.message.contains(reason), "{error}");
        }
    }

    #[test]
    fn what_envoy_takes_and_cannot_mean_is_a_warning() {
        let newest = EnvoyVersion::NEWEST_KNOWN;
        for (source, oldest, kind) in [
            ("%REQ(?)%", newest, Kind::AlwaysEmpty),
            ("%REQ_WITHOUT_QUERY%", newest, Kind::AlwaysEmpty),
            ("%COMMON_DURATION(DS_RX_BEG:DS_TX_EMD)%", newest, Kind::AlwaysEmpty),
            ("%RESPONSE_CODE_DETAILS(x)%", newest, Kind::NoEffect),
            ("%UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(129)%", newest, Kind::NoEffect),
        ] {
            let findings = found(source, oldest);
            assert_eq!(findings.errors, [], "{source}");
            assert_eq!(
                findings.warnings.iter().map(|w| w.kind).collect::<Vec<_>>(),
                [kind],
                "{source}"
            );
        }
    }

    #[test]
    fn arguments_that_crash_envoy_are_refused() {
        for arguments in ["null", "\"x\"", "5", "true", "[]", "{}", "x"] {
            let source = format!("%COALESCE({arguments})%");
            let errors = found(&source, EnvoyVersion::NEWEST_KNOWN).errors;
            assert_eq!(
                errors.iter().map(|e| e.kind).collect::<Vec<_>>(),
                [Kind::InvalidArgument],
                "{source}"
            );
        }
    }

    #[test]
    fn kumas_own_operators_are_for_a_kuma_that_has_them() {
        let in_kuma = |source: &str, version| {
            let mut findings = Findings::default();
            let reader = Reader {
                oldest: EnvoyVersion::OLDEST_SUPPORTED,
                extensions: false,
                kuma: Some(version),
            };
            check(source, "text", reader, &mut findings);
            findings.errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let old = KumaVersion::new(2, 13);
        assert_eq!(in_kuma("%KUMA_MESH% %PROTOCOL%", old), [""; 0]);
        assert_eq!(
            in_kuma("%KUMA_ZONE%", old),
            [
                "text, character 2, `KUMA_ZONE`: `KUMA_ZONE` needs Kuma ≥ 2.14, but the mesh's is 2.13; leave it out until \
              Kuma is upgraded"
            ]
        );
        assert_eq!(in_kuma("%KUMA_ZONE%", KumaVersion::new(2, 14)), [""; 0]);
        assert_eq!(
            in_kuma("%KUMA_MESSH%", old),
            ["text, character 2, `KUMA_MESSH`: there is no operator `KUMA_MESSH`; did you mean `KUMA_MESH`?"]
        );
        // Without percent signs of its own there is nothing that Kuma would replace.
        let inside = in_kuma(r#"%COALESCE({"operators":["KUMA_MESH"]})%"#, old);
        assert_eq!(inside.len(), 1, "{inside:?}");
    }
}
