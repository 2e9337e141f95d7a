//! What Envoy takes and nobody wants: warnings. Only what a user wrote is judged here, not the fields of presets, but for
//! known defects, which come with the proxy.

use std::ops::Range;

use super::checker::{Findings, MOST_REPORTED, Written, coalesce_entries, coalesce_entry};
use super::connection;
use super::diagnostic::{Diagnostic, Kind};
use super::parser::{self, OperatorUse, Part};
use super::setting::{Dialect, Setting, Traffic};
use super::table::{self, Defect, Grammar};
use super::version::EnvoyVersion;

/// A warning that has no place yet.
struct Remark {
    kind: Kind,
    message: String,
    help: String,
}

impl Remark {
    fn new(kind: Kind, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            help: help.into(),
        }
    }
}

/// Warns of the operators of one string that a user wrote at `path`.
pub(super) fn check(source: &str, path: &str, setting: Setting, findings: &mut Findings) {
    each_operator(source, path, findings, &|written, remarks| {
        remarks.extend(defects(written, setting.oldest));
        remarks.extend(silent(written, setting.traffic));
        // The gravest of these is enough: what is left out has no length.
        let exposed = secret(written)
            .or_else(|| query(written))
            .or_else(|| unbounded(written));
        remarks.extend(exposed);
    });
}

/// Warns of known defects only: for a string that the user did not write.
pub(super) fn check_defects(source: &str, path: &str, oldest: EnvoyVersion, findings: &mut Findings) {
    each_operator(source, path, findings, &|written, remarks| {
        remarks.extend(defects(written, oldest));
    });
}

/// Warns of a whole line of text that a user wrote.
pub(super) fn check_line(text: &str, setting: Setting, findings: &mut Findings) {
    let whole = 0..text.trim_end().len();
    if looks_like_json(text) {
        let message = "this is text that looks like JSON: Envoy escapes nothing in a text, so a header with a quote in it \
                       breaks the object or writes members of its own (as in CVE-2025-25294)";
        let help = "set the encoding JSON and write `fields`, which Envoy escapes";
        let warning = Diagnostic::at(Kind::TextLikeJson, "text", text, whole.clone(), message, help);
        findings.warnings.push(warning);
    }
    if setting.dialect == Dialect::Envoy && !text.is_empty() && !text.ends_with('\n') {
        let message = "the text does not end with a newline, and Envoy adds none: entries stand on one line";
        let help = "end the text with a newline";
        let warning = Diagnostic::at(Kind::MissingNewline, "text", text, whole, message, help);
        findings.warnings.push(warning);
    }
}

/// Gives each operator of a string, those inside `COALESCE` too, to `judge`, and places what it remarks: of very many the
/// gravest, in the order of the string.
fn each_operator(source: &str, path: &str, findings: &mut Findings, judge: &dyn Fn(&Written<'_>, &mut Vec<Remark>)) {
    let mut placed: Vec<(Range<usize>, Remark)> = Vec::new();
    for part in parser::parse(source).parts {
        let Part::Operator(operator) = part else { continue };
        let mut remarks = Vec::new();
        let written = Written::of(&operator);
        judge(&written, &mut remarks);
        if is_coalesce(&operator)
            && let Ok(json) = serde_json::from_str(written.arguments)
        {
            let entries = coalesce_entries(&json).into_iter().flatten();
            for inner in entries.filter_map(|entry| coalesce_entry(entry).ok()) {
                judge(&inner, &mut remarks);
            }
        }
        placed.extend(remarks.into_iter().map(|remark| (operator.span(), remark)));
    }
    let mut gravest: Vec<_> = placed.into_iter().enumerate().collect();
    gravest.sort_by_key(|(_, (_, remark))| !remark.kind.is_grave());
    gravest.truncate(MOST_REPORTED);
    gravest.sort_by_key(|(place, _)| *place);
    findings.warnings.extend(
        gravest
            .into_iter()
            .map(|(_, (span, remark))| Diagnostic::at(remark.kind, path, source, span, &remark.message, &remark.help)),
    );
}

fn is_coalesce(operator: &OperatorUse<'_>) -> bool {
    table::operator(operator.name).is_some_and(|operator| operator.grammar == Grammar::Coalesce)
}

/// As a person reads it: `REQ(X-TENANT)`.
fn shown(written: &Written<'_>) -> String {
    if written.arguments.is_empty() {
        written.name.to_owned()
    } else {
        format!("{}({})", written.name, written.arguments)
    }
}

fn defects(written: &Written<'_>, oldest: EnvoyVersion) -> Vec<Remark> {
    let Some(operator) = table::operator(written.name) else {
        return Vec::new();
    };
    let hits = |defect: &&Defect| {
        let mut given = written.arguments.split(':');
        oldest <= defect.newest
            && (defect.options.is_empty() || given.any(|argument| defect.options.contains(&argument)))
    };
    let remark = |defect: &Defect| {
        let message = format!(
            "`{}` has a known defect ({}: {}) in Envoy {}, and the oldest proxy is {oldest}",
            shown(written),
            defect.id,
            defect.effect,
            defect.releases
        );
        let help = if defect.options.is_empty() {
            "leave it out until no proxy is one of these".to_owned()
        } else {
            format!("write `%{}%` until no proxy is one of these", written.name)
        };
        Remark::new(Kind::KnownDefect, message, help)
    };
    operator.defects.iter().filter(hits).map(remark).collect()
}

/// A format for all traffic may have operators of either.
fn silent(written: &Written<'_>, traffic: Traffic) -> Option<Remark> {
    let of = match traffic {
        Traffic::Both => return None,
        Traffic::Http => "HTTP requests",
        Traffic::Tcp => "TCP connections",
    };
    connection::is_silent_on(written, traffic).then(|| {
        let message = format!(
            "`{}` says nothing for {of} (it always prints `-` or `0`), and this format is for nothing else",
            shown(written)
        );
        Remark::new(Kind::AlwaysEmpty, message, "leave it out")
    })
}

/// Words in the name of a header, a parameter or a variable whose value is usually a secret.
const SECRET_WORDS: [&str; 17] = [
    "apikey",
    "assertion",
    "authorization",
    "cookie",
    "cookies",
    "credential",
    "credentials",
    "jwt",
    "passwd",
    "password",
    "pwd",
    "secret",
    "secrets",
    "sessionid",
    "token",
    "tokens",
    "signature",
];
/// Words that are one only with the word before them: `x-api-key`.
const SECRET_PAIRS: [(&str, &str); 6] = [
    ("access", "key"),
    ("api", "key"),
    ("auth", "key"),
    ("private", "key"),
    ("secret", "key"),
    ("session", "id"),
];
/// Parameters of a query string that are secret by themselves: OAuth's code, and the signatures of signed URLs.
const SECRET_PARAMETERS: [&str; 3] = ["code", "key", "sig"];

/// Whether what has this name usually is a secret.
pub(crate) fn is_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let pair = |pair: &[&str]| matches!(pair, [a, b] if SECRET_PAIRS.contains(&(*a, *b)));
    words.iter().any(|word| SECRET_WORDS.contains(word)) || words.windows(2).any(pair)
}

/// The headers that an operator reads: `X[?Y]`, or those that an expression names.
fn headers<'a>(written: &Written<'a>) -> Vec<&'a str> {
    match table::operator(written.name).map(|operator| operator.grammar) {
        Some(Grammar::Header) => written.arguments.split('?').filter(|name| !name.is_empty()).collect(),
        Some(Grammar::CelExpression) => headers_of_expression(written.arguments),
        _ => Vec::new(),
    }
}

/// The names in `headers['NAME']`, `headers["NAME"]` and `headers.NAME`.
fn headers_of_expression(expression: &str) -> Vec<&str> {
    let after = expression.match_indices("headers").map(|(at, found)| at + found.len());
    let name = |at: usize| {
        let rest = expression.get(at..)?;
        if let Some(member) = rest.strip_prefix('.') {
            return member.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next();
        }
        let index = rest.strip_prefix('[')?.trim_start();
        let quote = index.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        index.get(1..)?.split(quote).next()
    };
    after.filter_map(name).collect()
}

fn secret(written: &Written<'_>) -> Option<Remark> {
    let is_parameter = written.name == "QUERY_PARAM";
    let what = match written.name {
        "ENVIRONMENT" => "variable",
        "QUERY_PARAM" => "query parameter",
        _ => "header",
    };
    let own = Some(written.arguments).filter(|_| what != "header");
    let named = headers(written).into_iter().chain(own);
    let is_one = |name: &&str| {
        is_secret(name) || is_parameter && SECRET_PARAMETERS.contains(&name.to_ascii_lowercase().as_str())
    };
    let name = named.into_iter().find(is_one)?;
    let message = format!("the {what} `{name}` usually carries a secret, and who reads logs may not know it");
    Some(Remark::new(Kind::Secret, message, "leave it out"))
}

/// Headers that hold the path with its query string.
const PATH_HEADERS: [&str; 2] = [":PATH", "X-ENVOY-ORIGINAL-PATH"];
/// Others that hold a URL with its query string.
const URL_HEADERS: [&str; 3] = ["REFERER", "X-ORIGINAL-URI", "X-ORIGINAL-URL"];
/// Attributes of an expression that hold one: `request.url_path` does not.
const URL_ATTRIBUTES: [&str; 3] = ["request.path", "request.query", "request.referer"];

fn query(written: &Written<'_>) -> Option<Remark> {
    let grammar = table::operator(written.name)?.grammar;
    let strips = written.name == "REQ_WITHOUT_QUERY";
    let headers = headers(written);
    let reads = |known: &[&str]| headers.iter().any(|name| is_any(name, known));
    let prints = match grammar {
        Grammar::Path => written.arguments.split(':').next() != Some("NQ"),
        Grammar::QueryParams => true,
        Grammar::CelExpression => URL_ATTRIBUTES.iter().any(|name| written.arguments.contains(name)),
        Grammar::Header => !strips && (reads(&PATH_HEADERS) || reads(&URL_HEADERS)),
        _ => false,
    };
    let of_path = grammar == Grammar::Path || reads(&PATH_HEADERS);
    prints.then(|| {
        let message = format!(
            "`{}` prints query strings, in which tokens are often sent",
            shown(written)
        );
        let help = if of_path {
            "write `%PATH(NQ):256%`, the path without its query"
        } else {
            "leave it out, or log the parameters that you need with `%QUERY_PARAM(NAME):64%`"
        };
        Remark::new(Kind::Secret, message, help)
    })
}

/// Headers whose value is short by its nature.
const SHORT_HEADERS: [&str; 16] = [
    ":AUTHORITY",
    ":METHOD",
    ":SCHEME",
    ":STATUS",
    "CONTENT-LENGTH",
    "GRPC-STATUS",
    "HOST",
    "TRACEPARENT",
    "X-B3-PARENTSPANID",
    "X-B3-SAMPLED",
    "X-B3-SPANID",
    "X-B3-TRACEID",
    "X-DATADOG-TRACE-ID",
    "X-ENVOY-ATTEMPT-COUNT",
    "X-ENVOY-UPSTREAM-SERVICE-TIME",
    "X-REQUEST-ID",
];

fn is_any(name: &str, known: &[&str]) -> bool {
    known.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn unbounded(written: &Written<'_>) -> Option<Remark> {
    let operator = table::operator(written.name)?;
    let is_long = match operator.grammar {
        Grammar::Header => headers(written).iter().any(|name| !is_any(name, &SHORT_HEADERS)),
        Grammar::Path | Grammar::QueryParams => true,
        _ => written.name == "QUERY_PARAM",
    };
    (is_long && !written.has_length).then(|| {
        let shown = shown(written);
        let message = format!("`{shown}` prints as much as is sent, up to Envoy's bound of all headers (60 KiB)");
        Remark::new(
            Kind::Unbounded,
            message,
            format!("write `%{shown}:128%`, which prints the first 128 characters"),
        )
    })
}

/// An object in braces whose members have quoted names and values with operators.
fn looks_like_json(text: &str) -> bool {
    let trimmed = text.trim();
    let has_member = || {
        let mut after_quotes = trimmed.match_indices('"').filter_map(|(at, _)| trimmed.get(at + 1..));
        after_quotes.any(|rest| rest.trim_start().starts_with(':'))
    };
    let is_operator = |part: &Part<'_>| matches!(part, Part::Operator(_));
    trimmed.starts_with('{')
        && trimmed.ends_with('}')
        && has_member()
        && parser::parse(text).parts.iter().any(is_operator)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISTIO: Setting = Setting::new(Dialect::Istio, EnvoyVersion::NEWEST_KNOWN);

    fn kinds(source: &str, setting: Setting) -> Vec<Kind> {
        let mut findings = Findings::default();
        check(source, "text", setting, &mut findings);
        check_line(source, setting, &mut findings);
        assert_eq!(findings.errors, []);
        findings.warnings.iter().map(|warning| warning.kind).collect()
    }

    /// Each of `fires` gives this warning alone, each of `nearly` none.
    fn only(kind: Kind, setting: Setting, fires: &[&str], nearly: &[&str]) {
        for source in fires {
            assert_eq!(kinds(source, setting), [kind], "{source}");
        }
        for source in nearly {
            assert_eq!(kinds(source, setting), [], "{source}");
        }
    }

    fn sentence(source: &str, setting: Setting) -> String {
        let mut findings = Findings::default();
        check(source, "text", setting, &mut findings);
        check_line(source, setting, &mut findings);
        assert_eq!(findings.warnings.len(), 1, "{source}");
        findings.warnings.remove(0).to_string()
    }

    #[test]
    fn an_operator_of_http_is_pointed_out_where_only_tcp_is_logged_and_the_other_way_round() {
        only(
            Kind::AlwaysEmpty,
            ISTIO.with(Traffic::Tcp),
            &["%PROTOCOL%", "%REQ(:METHOD)%", "%METADATA(ROUTE:a)%"],
            &["%DURATION%", "%DOWNSTREAM_HANDSHAKE_DURATION%", "%METADATA(CLUSTER:a)%"],
        );
        only(
            Kind::AlwaysEmpty,
            ISTIO.with(Traffic::Http),
            &["%DOWNSTREAM_HANDSHAKE_DURATION%"],
            &["%PROTOCOL%", "%COMMON_DURATION(DS_RX_BEG:DS_TX_END)%"],
        );
        only(
            Kind::AlwaysEmpty,
            ISTIO,
            &[],
            &["%PROTOCOL% %DOWNSTREAM_HANDSHAKE_DURATION%"],
        );
        assert_eq!(
            sentence("%PROTOCOL%", ISTIO.with(Traffic::Tcp)),
            "text, character 1, `%PROTOCOL%`: `PROTOCOL` says nothing for TCP connections (it always prints `-` \
             or `0`), and this format is for nothing else; leave it out"
        );
    }

    #[test]
    fn a_header_without_a_length_is_pointed_out_unless_it_is_short_by_its_nature() {
        only(
            Kind::Unbounded,
            ISTIO,
            &[
                "%REQ(X-TENANT)%",
                "%RESP(SERVER)%",
                "%REQ(X-REQUEST-ID?X-OTHER)%",
                "%PATH(NQ)%",
                "%QUERY_PARAM(page)%",
                r#"%COALESCE({"operators":[{"command":"REQ","param":"X-TENANT"}]})%"#,
            ],
            &[
                "%REQ(X-TENANT):64%",
                "%REQ(:method)%",
                "%REQ(X-REQUEST-ID)%",
                "%PATH(NQ):9%",
                "%REQUESTED_SERVER_NAME%",
                r#"%COALESCE({"operators":[{"command":"REQ","param":"X-TENANT","max_length":64}]})%"#,
            ],
        );
        assert_eq!(
            sentence("%REQ(X-TENANT)%", ISTIO),
            "text, character 1, `%REQ(X-TENANT)%`: `REQ(X-TENANT)` prints as much as is sent, up to Envoy's bound of all \
             headers (60 KiB); write `%REQ(X-TENANT):128%`, which prints the first 128 characters"
        );
    }

    #[test]
    fn a_line_without_its_newline_is_pointed_out_where_nobody_adds_it() {
        let envoy = Setting::new(Dialect::Envoy, EnvoyVersion::NEWEST_KNOWN);
        only(
            Kind::MissingNewline,
            envoy,
            &["%PROTOCOL%", "%PROTOCOL%\n "],
            &["%PROTOCOL%\n"],
        );
        only(Kind::MissingNewline, ISTIO, &[], &["%PROTOCOL%"]);
    }

    #[test]
    fn a_header_a_parameter_or_a_variable_that_usually_is_a_secret_is_pointed_out() {
        only(
            Kind::Secret,
            ISTIO,
            &[
                "%REQ(Authorization):7%",
                "%REQ(X-USER?COOKIE)%",
                "%RESP(SET-COOKIE)%",
                "%REQ(X-API-KEY)%",
                "%TRAILER(X-AUTH-TOKEN)%",
                "%QUERY_PARAM(code):9%",
                "%QUERY_PARAM(access_token)%",
                "%ENVIRONMENT(DB_PASSWORD)%",
                "%CEL(request.headers['authorization'])%",
                "%TYPED_CEL(request.headers[ \"set-cookie\" ])%",
                "%CEL(has(request.headers.cookie))%",
                r#"%COALESCE({"operators":[{"command":"REQ","param":"COOKIE"}]})%"#,
            ],
            &[
                "%REQ(X-AUTHOR):9%",
                "%REQ(X-TOKENIZER):9%",
                "%REQ(X-KEY-ID):9%",
                "%QUERY_PARAM(codec):9%",
                "%ENVIRONMENT(HOSTNAME)%",
                "%CEL(request.headers['x-author'])%",
                "%CEL(request.headers_bytes)%",
            ],
        );
        assert_eq!(
            sentence("a %REQ(X-API-KEY)%", ISTIO),
            "text, character 3, `%REQ(X-API-KEY)%`: the header `X-API-KEY` usually carries a secret, and who reads logs \
             may not know it; leave it out"
        );
    }

    #[test]
    fn a_query_string_is_pointed_out_with_what_to_write_instead() {
        only(
            Kind::Secret,
            ISTIO,
            &[
                "%REQ(:PATH)%",
                "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH):99%",
                "%PATH%",
                "%PATH(WQ:ORIG)%",
                "%QUERY_PARAMS%",
                "%REQ(referer)%",
                "%CEL(request.path)%",
            ],
            &[
                "%PATH(NQ):99%",
                "%REQ_WITHOUT_QUERY(:PATH):99%",
                "%QUERY_PARAM(page):9%",
                "%CEL(request.url_path)%",
            ],
        );
        assert!(sentence("%REQ(:PATH)%", ISTIO).ends_with("write `%PATH(NQ):256%`, the path without its query"));
        assert!(sentence("%QUERY_PARAMS%", ISTIO).contains("%QUERY_PARAM(NAME):64%"));
        only(Kind::Secret, ISTIO, &[], &["%PATH(NQ):256% %QUERY_PARAM(NAME):64%"]);
    }

    #[test]
    fn text_that_looks_like_json_is_pointed_out() {
        only(
            Kind::TextLikeJson,
            ISTIO,
            &[
                r#"{"code": "%RESPONSE_CODE%"}"#,
                " {\n\"a\" : %DURATION%\n}\n",
                r#"{"a": "%PROTOCOL%", "b"}"#,
            ],
            &[
                "{%START_TIME%}",
                r#"{"code": 1}"#,
                r#"["a": %DURATION%]"#,
                r#"{"quoted" %DURATION%}"#,
                r#"x {"code": %DURATION%}"#,
            ],
        );
    }

    #[test]
    fn a_known_defect_is_pointed_out_where_a_proxy_from_the_oldest_on_may_have_it() {
        let from = |minor| Setting::new(Dialect::Istio, EnvoyVersion::new(1, minor));
        let (fires, nearly) = (
            [
                "%REQUESTED_SERVER_NAME(HOST_FIRST)%",
                "%REQUESTED_SERVER_NAME(SNI_FIRST:ORIG)%",
            ],
            ["%REQUESTED_SERVER_NAME(SNI_ONLY)%", "%REQUESTED_SERVER_NAME%"],
        );
        only(Kind::KnownDefect, from(37), &fires, &nearly);
        only(Kind::KnownDefect, from(38), &fires, &nearly);
        only(Kind::KnownDefect, from(39), &[], &fires);
        only(
            Kind::KnownDefect,
            from(31),
            &["%REQUESTED_SERVER_NAME%"],
            &["%HOSTNAME%"],
        );
        only(Kind::KnownDefect, from(32), &[], &["%REQUESTED_SERVER_NAME%"]);
        assert_eq!(
            sentence("%REQUESTED_SERVER_NAME(HOST_FIRST)%", from(38)),
            "text, character 1, `%REQUESTED_SERVER_NAME(HOST_FIRST)%`: `REQUESTED_SERVER_NAME(HOST_FIRST)` has a known \
             defect (CVE-2026-47220: crash) in Envoy 1.37.0-1.37.4, 1.38.0-1.38.2, and the oldest proxy is 1.38; write \
             `%REQUESTED_SERVER_NAME%` until no proxy is one of these"
        );
    }
}
