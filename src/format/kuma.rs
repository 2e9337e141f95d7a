//! Kuma's own operators (`%KUMA_…%`): Kuma's control plane replaces them, as text, before Envoy sees the format. So they
//! mean nothing to other meshes, and formats are converted from Kuma and to it.
//!
//! That it is a replacement of text was seen in Kuma 2.9 to 2.14 (`reference/kuma-kmesh-behaviour.md`): it also happens
//! where Envoy would not read an operator, such as behind `%%`, and then Envoy refuses what comes out.

use super::checker::Findings;
use super::diagnostic::{Diagnostic, Kind};
use super::express::{self, Expressed, Inexpressible};
use super::parser::{self, OperatorUse, Part};
use super::setting::Dialect;
use super::table::{self, Availability};
use super::version::KumaVersion;
use super::{Base, CompiledFormat, Encoding, Field, FormatSpec};

/// What means the same as an operator of Kuma's where there is no Kuma.
struct Counterpart {
    kuma: &'static str,
    /// In any Envoy.
    envoy: Option<&'static str>,
    /// In a proxy of Istio's, which carries these variables (Istio's templates for injection, gateways and waypoints).
    istio: Option<&'static str>,
}

const COUNTERPARTS: [Counterpart; 5] = [
    Counterpart {
        kuma: "KUMA_SOURCE_ADDRESS",
        envoy: Some("%DOWNSTREAM_REMOTE_ADDRESS%"),
        istio: None,
    },
    Counterpart {
        kuma: "KUMA_SOURCE_ADDRESS_WITHOUT_PORT",
        envoy: Some("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
        istio: None,
    },
    Counterpart {
        kuma: "KUMA_MESH",
        envoy: None,
        istio: Some("%ENVIRONMENT(ISTIO_META_MESH_ID)%"),
    },
    Counterpart {
        kuma: "KUMA_ZONE",
        envoy: None,
        istio: Some("%ENVIRONMENT(ISTIO_META_CLUSTER_ID)%"),
    },
    Counterpart {
        kuma: "KUMA_WORKLOAD",
        envoy: None,
        istio: Some("%ENVIRONMENT(ISTIO_META_WORKLOAD_NAME)%"),
    },
];

fn counterpart(name: &str, dialect: Dialect) -> Option<&'static str> {
    let found = COUNTERPARTS.iter().find(|counterpart| counterpart.kuma == name)?;
    let of_istio = found.istio.filter(|_| dialect == Dialect::Istio);
    of_istio.or(found.envoy)
}

/// What to write instead of an operator of Kuma's where there is no Kuma.
pub(super) fn instead_of(name: &str) -> String {
    match counterpart(name, Dialect::Istio) {
        Some(instead) => format!("write `{instead}`"),
        None => "leave it out, or use it in a mesh of type Kuma".to_owned(),
    }
}

fn is_kumas(operator: &OperatorUse<'_>) -> bool {
    let known = table::operator(operator.name);
    known.is_some_and(|operator| matches!(operator.availability, Availability::Kuma(_)))
}

/// A format string of Kuma's for another mesh: its own operators are replaced by what means the same. For Kuma itself
/// nothing changes. What cannot be read stays as it is; compiling it says why.
///
/// # Errors
///
/// The operators that nothing means the same as, each once.
pub fn from_kuma(source: &str, dialect: Dialect) -> Result<String, Vec<Inexpressible>> {
    if dialect.kuma().is_some() {
        return Ok(source.to_owned());
    }
    let mut text = String::with_capacity(source.len());
    let mut lost = Vec::new();
    let parsed = parser::parse(source);
    for part in &parsed.parts {
        match part {
            Part::Operator(operator) if is_kumas(operator) => match counterpart(operator.name, dialect) {
                Some(instead) => text.push_str(instead),
                None => lost.push(Inexpressible::KumaOperator(operator.name.to_owned())),
            },
            other => text.push_str(&other.to_string()),
        }
    }
    if let Some(error) = &parsed.error {
        text.push_str(source.get(error.span.start..).unwrap_or_default());
    }
    let lost = Expressed::new((), lost).lost;
    if lost.is_empty() { Ok(text) } else { Err(lost) }
}

/// A format as a MeshAccessLog of Kuma has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KumaFormat {
    /// `format: {type: Plain, plain: …}`, without the newline, which Kuma adds. Never empty.
    Plain(String),
    /// `format: {type: Json, json: [{key, value}]}`: keys and values as they stand there. Kuma puts them between quotes of
    /// JSON as they are, so quotes and backslashes in them are escaped here. No key and no value is empty.
    Json(Vec<(String, String)>),
}

/// A compiled format of Envoy's for Kuma. Objects become names with dots, as Kuma's list is flat.
///
/// # Errors
///
/// What Kuma cannot say at all, so that the format has to be changed.
pub fn to_kuma(format: &CompiledFormat) -> Result<Expressed<KumaFormat>, Vec<Inexpressible>> {
    match format {
        CompiledFormat::Text(text) => {
            let line = text.strip_suffix('\n').filter(|line| !line.is_empty()).unwrap_or(text);
            Ok(Expressed::new(KumaFormat::Plain(without_extensions(line)?), Vec::new()))
        }
        CompiledFormat::Json(fields) => {
            let (mut entries, mut lost, mut refused) = (Vec::new(), Vec::new(), Vec::new());
            express::walk(fields, &mut Vec::new(), &mut |path, value| {
                let name = path.join(".");
                if value.is_empty() {
                    lost.push(Inexpressible::EmptyValue(name));
                    return;
                }
                if path.len() > 1 {
                    lost.push(Inexpressible::Nesting(name.clone()));
                }
                match without_extensions(value) {
                    Ok(value) => entries.push((escaped(&name), escaped(&value))),
                    Err(extensions) => refused.extend(extensions),
                }
            });
            if refused.is_empty() {
                Ok(Expressed::new(KumaFormat::Json(entries), lost))
            } else {
                Err(Expressed::new((), refused).lost)
            }
        }
    }
}

impl KumaFormat {
    /// The same format as a user writes it for another mesh, or for Kuma itself. A key or value that Kuma would refuse for
    /// its quotes or backslashes is taken as it stands.
    ///
    /// # Errors
    ///
    /// The operators of Kuma's own that nothing means the same as, each once.
    pub fn to_spec(&self, dialect: Dialect) -> Result<FormatSpec, Vec<Inexpressible>> {
        let (encoding, base, fields) = match self {
            Self::Plain(text) => (Encoding::Text, Base::Text(from_kuma(text, dialect)?), Vec::new()),
            Self::Json(entries) => {
                let (mut fields, mut lost) = (Vec::new(), Vec::new());
                for (key, value) in entries {
                    match from_kuma(&unescaped(value), dialect) {
                        Ok(value) => fields.push(Field {
                            name: unescaped(key),
                            value,
                            nest: false,
                        }),
                        Err(operators) => lost.extend(operators),
                    }
                }
                if !lost.is_empty() {
                    return Err(Expressed::new((), lost).lost);
                }
                (Encoding::Json, Base::Empty, fields)
            }
        };
        Ok(FormatSpec {
            encoding,
            base,
            fields,
            omit: Vec::new(),
        })
    }
}

/// What stands between the quotes of a JSON string, read.
fn unescaped(text: &str) -> String {
    serde_json::from_str(&format!("\"{text}\"")).unwrap_or_else(|_| text.to_owned())
}

/// The text between the quotes of a JSON string.
fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or_default().to_owned()
}

/// The string without operators of extensions, which Kuma does not configure: the path without its query has an operator
/// that is built in.
fn without_extensions(source: &str) -> Result<String, Vec<Inexpressible>> {
    let mut text = String::with_capacity(source.len());
    let mut lost = Vec::new();
    for part in parser::parse(source).parts {
        match &part {
            Part::Operator(operator) if operator.name == "REQ_WITHOUT_QUERY" => {
                let headers = operator.arguments.unwrap_or_default();
                let length = operator.length.as_ref();
                let length = length.map(|length| format!(":{length}")).unwrap_or_default();
                let options = match headers.to_ascii_uppercase().as_str() {
                    "X-ENVOY-ORIGINAL-PATH?:PATH" => "NQ",
                    "X-ENVOY-ORIGINAL-PATH" => "NQ:ORIG",
                    ":PATH" => "NQ:PATH",
                    _ => {
                        lost.push(Inexpressible::Extension(operator.name.to_owned()));
                        continue;
                    }
                };
                text.extend(["%PATH(", options, ")", &length, "%"]);
            }
            other => text.push_str(&other.to_string()),
        }
    }
    if lost.is_empty() { Ok(text) } else { Err(lost) }
}

/// Finds where Kuma replaces text that is no operator by Envoy's rules: what it makes of it is refused or means another
/// thing.
pub(super) fn check_replacements(source: &str, path: &str, version: KumaVersion, findings: &mut Findings) {
    let parsed = parser::parse(source);
    let is_operator = |start: usize| {
        let at = |part: &Part<'_>| matches!(part, Part::Operator(operator) if operator.start == start);
        parsed.parts.iter().any(at)
    };
    let replaced = table::operator_names().filter(|name| is_replaced(name, version));
    for name in replaced {
        let placeholder = format!("%{name}%");
        for (start, _) in source
            .match_indices(&placeholder)
            .filter(|(start, _)| !is_operator(*start))
        {
            let span = start..start + placeholder.len();
            let message = format!("Kuma replaces `{placeholder}` here too, although it is no operator of its own");
            let help = "write it outside other operators, and with a blank behind a percent sign";
            let error = Diagnostic::at(Kind::StrayPercent, path, source, span, &message, help);
            findings.errors.push(error);
        }
    }
}

/// The Kuma that began to replace its operators in attributes of OpenTelemetry's log records. Those before it did so in
/// the body alone (`reference/kuma-kmesh-behaviour.md`).
const ATTRIBUTES_SINCE: KumaVersion = KumaVersion::new(2, 14);

/// The operators of Kuma's own that a Kuma from `oldest` on may leave as they are in the value of an OpenTelemetry
/// attribute, so that Envoy refuses the listener. Those that it does not know at all are left to [`super::judge`].
pub fn unreplaced_in_attribute(source: &str, oldest: KumaVersion) -> Vec<Diagnostic> {
    if oldest >= ATTRIBUTES_SINCE {
        return Vec::new();
    }
    let parts = parser::parse(source).parts.into_iter();
    parts
        .filter_map(|part| match part {
            Part::Operator(operator) if is_replaced(operator.name, oldest) => Some(operator),
            _ => None,
        })
        .map(|operator| {
            let name = operator.name;
            let message = format!(
                "Kuma {oldest} leaves `{name}` in an attribute as it is, and Envoy refuses it; Kuma ≥ {ATTRIBUTES_SINCE} replaces it"
            );
            let help = "leave it out until Kuma is upgraded, or write it into the body";
            Diagnostic::at(Kind::TooNew, "text", source, operator.span(), &message, help)
        })
        .collect()
}

fn is_replaced(name: &str, version: KumaVersion) -> bool {
    let availability = table::operator(name).map(|operator| operator.availability);
    matches!(availability, Some(Availability::Kuma(since)) if since <= version)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ISTIO: Dialect = Dialect::Istio;

    #[test]
    fn every_operator_of_kumas_is_known_and_converted_or_named() {
        let names: Vec<_> = table::operator_names()
            .filter(|name| name.starts_with("KUMA_"))
            .collect();
        assert_eq!(names.len(), 8);
        let mut lost: Vec<_> = names
            .into_iter()
            .filter(|name| from_kuma(&format!("%{name}%"), ISTIO).is_err())
            .collect();
        lost.sort_unstable();
        assert_eq!(
            lost,
            [
                "KUMA_DESTINATION_SERVICE",
                "KUMA_SOURCE_SERVICE",
                "KUMA_TRAFFIC_DIRECTION"
            ]
        );
    }

    #[test]
    fn a_format_of_kumas_is_written_with_what_istios_proxies_know() {
        assert_eq!(
            from_kuma(
                "[%START_TIME%] %KUMA_MESH% 100%% %KUMA_SOURCE_ADDRESS_WITHOUT_PORT%",
                ISTIO
            )
            .as_deref(),
            Ok("[%START_TIME%] %ENVIRONMENT(ISTIO_META_MESH_ID)% 100%% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")
        );
        let lost = from_kuma(
            "%KUMA_MESH% %KUMA_SOURCE_SERVICE% %KUMA_SOURCE_SERVICE%",
            Dialect::Envoy,
        )
        .unwrap_err();
        let said: Vec<String> = lost.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "only Kuma knows `KUMA_MESH`, and nothing means the same in this mesh",
                "only Kuma knows `KUMA_SOURCE_SERVICE`, and nothing means the same in this mesh",
            ]
        );
    }

    #[test]
    fn for_kuma_itself_and_for_what_cannot_be_read_nothing_changes() {
        let kuma = Dialect::Kuma(KumaVersion::OLDEST_SUPPORTED);
        assert_eq!(
            from_kuma("%KUMA_SOURCE_SERVICE%", kuma).as_deref(),
            Ok("%KUMA_SOURCE_SERVICE%")
        );
        assert_eq!(
            from_kuma("%PROTOCOL% 5% off", ISTIO).as_deref(),
            Ok("%PROTOCOL% 5% off")
        );
    }

    #[test]
    fn a_text_goes_to_kuma_without_its_newline() {
        let plain = |text: &str| to_kuma(&CompiledFormat::Text(text.to_owned())).map(|expressed| expressed.value);
        assert_eq!(
            plain("a %PROTOCOL%\n"),
            Ok(KumaFormat::Plain("a %PROTOCOL%".to_owned()))
        );
        assert_eq!(plain("\n"), Ok(KumaFormat::Plain("\n".to_owned())), "never empty");
        assert_eq!(
            plain("%REQ_WITHOUT_QUERY(X-ENVOY-ORIGINAL-PATH?:PATH):9%\n"),
            Ok(KumaFormat::Plain("%PATH(NQ):9%".to_owned()))
        );
        assert_eq!(
            plain("%REQ_WITHOUT_QUERY(REFERER)%\n"),
            Err(vec![Inexpressible::Extension("REQ_WITHOUT_QUERY".to_owned())])
        );
    }

    #[test]
    fn json_goes_to_kuma_flat_without_empty_values_and_with_quotes_escaped() {
        let Value::Object(map) = json!({"a": r#"x "y" \z"#, "b": {"c": "%PATH%", "d": ""}}) else {
            unreachable!()
        };
        let expressed = to_kuma(&CompiledFormat::Json(map)).unwrap();
        let field = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            expressed.value,
            KumaFormat::Json(vec![field("a", r#"x \"y\" \\z"#), field("b.c", "%PATH%")])
        );
        let nesting = Inexpressible::Nesting("b.c".to_owned());
        assert_eq!(expressed.lost, [nesting, Inexpressible::EmptyValue("b.d".to_owned())]);
    }

    #[test]
    fn a_format_of_a_mesh_access_log_comes_back_as_a_user_writes_it() {
        let kuma = Dialect::Kuma(KumaVersion::OLDEST_SUPPORTED);
        let Value::Object(map) = json!({"a": r#"x "y" \z %KUMA_SOURCE_SERVICE%"#, "b.c": "%PATH%"}) else {
            unreachable!()
        };
        let there = to_kuma(&CompiledFormat::Json(map.clone())).unwrap().value;
        let back = there.to_spec(kuma).unwrap();
        let fields = back
            .fields
            .into_iter()
            .map(|field| (field.name, Value::from(field.value)));
        assert_eq!(fields.collect::<serde_json::Map<_, _>>(), map);
        let lost = there.to_spec(ISTIO).unwrap_err();
        assert_eq!(lost, [Inexpressible::KumaOperator("KUMA_SOURCE_SERVICE".to_owned())]);
        let plain = KumaFormat::Plain("%KUMA_MESH%".to_owned()).to_spec(ISTIO).unwrap();
        assert_eq!(plain.base, Base::Text("%ENVIRONMENT(ISTIO_META_MESH_ID)%".to_owned()));
        let bare = KumaFormat::Json(vec![("a".to_owned(), "a \"b".to_owned())])
            .to_spec(kuma)
            .unwrap();
        assert_eq!(bare.fields.first().map(|field| field.value.as_str()), Some("a \"b"));
    }

    #[test]
    fn what_kuma_would_replace_inside_other_text_is_refused() {
        let errors = |source: &str| {
            let mut findings = Findings::default();
            check_replacements(source, "text", KumaVersion::new(2, 13), &mut findings);
            let places = findings.errors.iter().map(|error| (error.span.start, error.span.end));
            places.collect::<Vec<_>>()
        };
        assert_eq!(errors("%%KUMA_MESH%%"), [(1, 12)]);
        assert_eq!(errors("%CEL('%KUMA_MESH%')%"), [(6, 17)]);
        for fine in [
            "%KUMA_MESH%",
            "%%%KUMA_MESH%%%",
            "KUMA_MESH",
            "%%KUMA_ZONE%%",
            "%KUMA_MESH%%KUMA_MESH%",
        ] {
            assert!(errors(fine).is_empty(), "{fine}");
        }
    }
}
