//! The codes of what is wrong with formats, filters and the files around them: one table, from which the findings of
//! `sightline lint`, the messages of conditions, `--explain` and the docs are made. A code never changes its meaning; one that
//! goes out of use is not given again.
//!
//! SL001-SL049: formats that are refused. SL050-SL099: formats that nobody wants. SL100-SL199: filters. SL200-SL299: the files
//! around them. SL300-SL399 are for policies of a whole folder, SL400-SL499 for cost.

use std::fmt;

use serde::Serialize;

use crate::filter::{Doubt, FilterError, Kind as Filter};
use crate::format::{Diagnostic, FormatErrors, Kind as Format, others};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Accepted, and not what anybody wants.
    Warning,
    /// Refused by who reads it, or without any effect.
    Error,
}

impl Severity {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What is said of the files around formats and filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A string that should hold YAML or JSON does not, or a value has another shape.
    Unreadable,
}

/// What is said of objects as a whole, and of several together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// A filter that Istio drops.
    FilterWithoutProviders,
    /// A Telemetry that Istio ignores.
    IgnoredTelemetry,
    /// A provider that no MeshConfig has.
    UnknownProvider,
    /// A filter that a later entry replaces.
    OverwrittenFilter,
    /// A direction in which `accessLogFile` holds.
    FallsBack,
    /// An off switch that switches nothing off.
    OffWithoutEffect,
    /// A tracing entry that turns tracing off.
    TracingOff,
    /// Two Telemetries that certainly select the same pods.
    OverlappingSelectors,
    /// Two Telemetries that may select the same pods.
    MayOverlap,
    /// A selector in the root namespace.
    RootSelector,
    /// A selector of a waypoint.
    WaypointSelector,
    /// A Telemetry for a GatewayClass.
    GatewayClassTarget,
    /// A second provider of a tracing entry.
    ExtraProvider,
    /// A tag of a metric with an expression that no proxy can build.
    TagExpression,
    /// A sampling in MeshConfig that does not mean what it says.
    UnreadSampling,
    /// A label of an OTLP log that is no text.
    LabelNotText,
    /// Two providers with one name.
    DuplicateProvider,
    /// A field of Istio's that does nothing.
    FieldWithoutEffect,
    /// A misspelt key of MeshConfig.
    UnknownKey,
    /// A provider that does not say what it is.
    ProviderWithoutKind,
    /// A provider's service under a short name.
    ShortService,
    /// A provider's service that may stand in several namespaces.
    ServiceWithoutNamespace,
    /// OTLP over HTTP without a timeout.
    MissingTimeout,
    /// A secret in MeshConfig.
    InlineSecret,
    /// A secret in istiod's environment.
    SecretByEnvironment,
    /// A provider of a shared MeshConfig that istiod's own has too.
    ShadowedProvider,
    /// `to` beside `rules`.
    ToWithRules,
    /// What Kuma 3.0 does not have.
    GoneInKuma3,
    /// A reference to no MeshOpenTelemetryBackend.
    UnknownBackendRef,
    /// A MeshTrace that samples everything.
    SamplesAll,
    /// Two MeshAccessLogs for the same traffic.
    ReplacedBackends,
    /// What the API server refuses.
    Refused,
    /// A mesh or a backend that is not among the files.
    UnknownReference,
    /// A misspelt key of `grpc-logging`.
    SolarMeshKey,
    /// A ratio that is none.
    SamplerRatio,
    /// Resource attributes that cannot be read.
    ResourceAttributes,
    /// A variable that InterLink reads in another way.
    InterLinkEnvironment,
}

/// What a code is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum About {
    /// A format.
    Format(Format),
    /// A filter that cannot work.
    Filter(Filter),
    /// A filter that Envoy takes.
    Doubt(Doubt),
    /// What stands around them.
    Place(Place),
    /// Objects as a whole.
    Policy(Policy),
}

/// A line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// `SL001`.
    pub id: &'static str,
    /// A name for people, unique too.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it means, a sentence.
    pub meaning: &'static str,
    /// What to do, a sentence.
    pub remedy: &'static str,
}

impl Code {
    /// The code of that name or number, in any case.
    pub fn find(id: &str) -> Option<&'static Self> {
        TABLE
            .iter()
            .find(|code| code.id.eq_ignore_ascii_case(id) || code.name.eq_ignore_ascii_case(id))
    }
}

/// What the compilers say, as a message quotes it: the code, then place, problem and remedy.
#[derive(Clone, Copy, Debug)]
pub struct Coded<'a, T>(pub &'a T);

impl fmt::Display for Coded<'_, Diagnostic> {
    /// `SL007 at text, character 5, "%REQQ%": there is no operator …; write …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", code(About::Format(self.0.kind)).id, self.0)
    }
}

impl fmt::Display for Coded<'_, FormatErrors> {
    /// The first, and how many more there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut errors = self.0.iter();
        if let Some(first) = errors.next() {
            Coded(first).fmt(f)?;
        }
        f.write_str(&others(errors.count()))
    }
}

impl fmt::Display for Coded<'_, FilterError> {
    /// `SL102 at character 5, "request.methd": Envoy has no attribute …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FilterError {
            kind,
            character,
            excerpt,
            message,
            ..
        } = self.0;
        f.write_str(code(About::Filter(*kind)).id)?;
        if let Some(character) = character {
            write!(f, " at character {character}, `{excerpt}`")?;
        }
        write!(f, ": {message}")
    }
}

/// Makes the table, and the way from a kind to its code: a kind without a code does not compile, nor does one with two.
macro_rules! codes {
    ($($id:literal $group:ident::$kind:ident $name:literal $severity:ident $meaning:literal $remedy:literal;)*) => {
        /// All codes, by number.
        pub const TABLE: &[Code] = &[$(Code {
            id: $id, name: $name, severity: Severity::$severity, meaning: $meaning, remedy: $remedy,
        }),*];

        /// The code of a kind.
        #[deny(unreachable_patterns)]
        pub const fn code(about: About) -> &'static Code {
            match about {
                $(About::$group($group::$kind) => &Code {
                    id: $id, name: $name, severity: Severity::$severity, meaning: $meaning, remedy: $remedy,
                }),*
            }
        }
    };
}

codes! {
    "SL001" Format::StrayPercent "stray-percent" Error
        "A `%` starts no operator; Envoy refuses the whole listener."
        "Write `%%` for a percent sign.";
    "SL002" Format::UnclosedPercent "unclosed-operator" Error
        "An operator has no closing `%`."
        "End it with `%`.";
    "SL003" Format::UnclosedParenthesis "unclosed-parenthesis" Error
        "A `(` has no `)` on the same line."
        "Close it, before the `%` or the `:LENGTH%`.";
    "SL004" Format::MisplacedParenthesis "misplaced-parenthesis" Error
        "A `)` is not followed by `%` or `:LENGTH%`."
        "End the operator right behind its `)`.";
    "SL005" Format::LowerCase "lower-case-operator" Error
        "Names of operators are upper case."
        "Write the name in capitals.";
    "SL006" Format::InvalidLength "invalid-length" Error
        "A length is no number, or does not fit 64 bits."
        "Write digits behind the colon, such as `%REQ(X-TENANT):64%`.";
    "SL007" Format::UnknownOperator "unknown-operator" Error
        "Envoy has no operator of this name."
        "Look the name up in docs/format.md; the message names one that is near.";
    "SL008" Format::NotAvailable "operator-not-available" Error
        "Envoy has the operator, but not here: it belongs to another mesh, or needs an extension that is not configured."
        "Use an operator that this place has; the message names one where there is any.";
    "SL009" Format::TooNew "operator-too-new" Error
        "The operator, its arguments or its length came with a later Envoy than the oldest one checked for."
        "Upgrade the proxies, or use an older operator; --envoy-version says which Envoy to check for.";
    "SL010" Format::ArgumentsRequired "arguments-required" Error
        "The operator does not work without arguments."
        "Write them in parentheses.";
    "SL011" Format::ArgumentsForbidden "arguments-forbidden" Error
        "The operator takes no arguments."
        "Leave the parentheses out.";
    "SL012" Format::LengthForbidden "length-forbidden" Error
        "The operator takes no length."
        "Leave the `:LENGTH` out.";
    "SL013" Format::InvalidArgument "invalid-argument" Error
        "The arguments are not of the form that the operator reads."
        "Write them as the message says.";
    "SL014" Format::InvalidField "invalid-field" Error
        "The name of a field is empty, given twice, or not possible in text."
        "Give each field a name of its own.";
    "SL015" Format::UnknownField "unknown-field" Error
        "`omit` names a field that the preset does not have."
        "Use one of the preset's names.";
    "SL016" Format::Conflict "conflicting-members" Error
        "Members of the format cannot be used together."
        "Leave one of them out.";
    "SL017" Format::Empty "empty-format" Error
        "Nothing would be printed."
        "Write a text, or keep at least one field.";
    "SL050" Format::AlwaysEmpty "always-empty" Warning
        "Envoy takes the operator and always prints `-`."
        "Leave it out, or write what the message says.";
    "SL051" Format::NoEffect "no-effect" Warning
        "Envoy takes it and does not do what it looks like."
        "Write what the message says.";
    "SL052" Format::KnownDefect "known-defect" Warning
        "Some Envoys from the oldest one on have a known bug here."
        "Avoid the operator until no proxy has the bug.";
    "SL053" Format::Unbounded "unbounded-value" Warning
        "A client decides how long the value is."
        "Give it a length.";
    "SL054" Format::MissingNewline "missing-newline" Warning
        "Nothing ends the line, so entries stand on one."
        "End the text with a newline.";
    "SL055" Format::Secret "secret" Warning
        "A header, a query string or a variable usually carries a secret."
        "Leave it out, or log the path without its query.";
    "SL056" Format::TextLikeJson "text-like-json" Warning
        "Text that looks like JSON: a client can break it, or write members of its own."
        "Use a JSON format, whose values Envoy escapes.";
    "SL057" Format::Overwrites "overwritten-field" Warning
        "A field takes the place of the preset's."
        "Give it another name, unless that is what you want.";
    "SL058" Format::NotExpressible "not-expressible" Warning
        "The mesh cannot say a field of the preset."
        "Omit the field, or use another preset.";
    "SL100" Filter::Length "filter-length" Error
        "The expression is empty, too long or too deeply nested."
        "Shorten it, or make it flatter.";
    "SL101" Filter::Refused "filter-refused" Error
        "Envoy would refuse the whole listener: this is no CEL that it can build."
        "Correct the expression at the place named.";
    "SL102" Filter::UnknownAttribute "unknown-attribute" Error
        "Envoy has no such attribute: the expression is an error for every request, and nothing is logged."
        "Use an attribute of Envoy's; the message names one that is near.";
    "SL103" Filter::TooNew "attribute-too-new" Error
        "The attribute came with a later Envoy than the oldest one checked for."
        "Upgrade the proxies, or use an older attribute.";
    "SL104" Filter::Type "filter-type-mismatch" Error
        "An operator or a function stands between types that it does not take: an error for every request."
        "Convert one side, or compare with a value of the same type.";
    "SL105" Filter::NotBool "filter-not-boolean" Error
        "The value is neither true nor false, so nothing is logged."
        "Compare it with something.";
    "SL106" Filter::Empty "empty-match" Error
        "A match has no property."
        "Name one, or leave the filter out to log everything.";
    "SL107" Filter::Property "impossible-property" Error
        "A property of a match has a value that no request can have."
        "Correct the value.";
    "SL108" Filter::AlwaysError "always-an-error" Error
        "The expression is an error for every request and connection, such as a division by zero: nothing is logged."
        "Correct the part that is named.";
    "SL150" Doubt::NeverOnTcp "never-true-on-tcp" Warning
        "The filter reads what only HTTP has: on TCP connections it is an error, and none of them is logged."
        "Say so with `has(request.method) && …`, or add what is to hold on TCP: `… || !has(request.method)`.";
    "SL151" Doubt::Unchecked "unchecked-filter" Warning
        "The expression has something that is not checked here, and that some Envoy may take."
        "Write it as the message says, or try it in the proxy that reads it.";
    "SL152" Doubt::NeverTrue "never-true" Warning
        "The expression is false, or an error, for every request and connection: its conditions exclude each other, or ask for values that no proxy has."
        "Correct the values, write `||` where one of several is meant, or switch logging off.";
    "SL153" Doubt::AlwaysTrue "always-true" Warning
        "The expression is true for every request and connection, so it filters nothing."
        "Leave the filter out, or correct it: `a != 1 || a != 2` is meant as `!(a in [1, 2])`.";
    "SL154" Doubt::PartInVain "part-in-vain" Warning
        "A part of the expression is an error, or compares values of different types; Envoy takes it, and the rest can be true."
        "Correct the part that is named, or leave it out.";
    "SL200" Place::Unreadable "unreadable-text" Error
        "A value cannot be read: a string that holds no YAML or JSON, or a format or match of another shape. All of it is ignored or refused."
        "Correct the text at the place named.";
    "SL300" Policy::FilterWithoutProviders "filter-without-providers" Error
        "Istio applies the filter of an access log only where the same entry names providers. This one is dropped, and everything is logged."
        "Name the providers in the same entry: `providers: [{name: …}]`.";
    "SL301" Policy::IgnoredTelemetry "ignored-telemetry" Error
        "Of the Telemetries of a namespace that have neither selector nor targetRefs, Istio reads the oldest and ignores the others as a whole."
        "Merge them into one Telemetry.";
    "SL302" Policy::UnknownProvider "unknown-provider" Error
        "No MeshConfig among the files has a provider of this name. Istio sends nothing to it, reports nothing, and does not fall back to inherited providers."
        "Correct the name, or add the provider to extensionProviders of MeshConfig.";
    "SL303" Policy::OverwrittenFilter "overwritten-filter" Error
        "A later entry names the same provider for the same traffic, and only the filter of the last one counts."
        "Merge the entries into one, with `||` between the conditions.";
    "SL304" Policy::FallsBack "falls-back-to-access-log-file" Warning
        "A Telemetry sets up logs for one direction only. In the other, proxies still log to MeshConfig's accessLogFile."
        "Add an entry for the other mode: the same providers, or `disabled: true` with `providers: [{name: envoy}]`.";
    "SL305" Policy::OffWithoutEffect "off-without-effect" Error
        "`disabled: true` without providers turns off inherited providers only. None is inherited here, so proxies still log to MeshConfig's accessLogFile."
        "Name the provider beside `disabled: true`: `providers: [{name: envoy}]`.";
    "SL306" Policy::TracingOff "tracing-without-provider" Warning
        "Where neither this Telemetry nor one above it names a provider, a tracing entry turns tracing off, even that of defaultConfig.tracing."
        "Name a provider, or set defaultProviders.tracing in MeshConfig.";
    "SL307" Policy::OverlappingSelectors "overlapping-selectors" Warning
        "Two Telemetries of a namespace select the same pods. The newer one wins field by field, and Istio may apply the result also to pods that only one of them selects."
        "Give each pod one Telemetry only, with selectors that exclude each other.";
    "SL308" Policy::MayOverlap "selectors-may-overlap" Info
        "Two Telemetries of a namespace both select a pod that has the labels of both. Which one wins there depends on their age, and Istio may apply the result to other pods too."
        "Make sure that no pod has the labels of both, or make the selectors exclude each other.";
    "SL309" Policy::RootSelector "selector-in-root-namespace" Warning
        "A Telemetry with a selector in Istio's root namespace reaches only pods of that namespace."
        "Move it to the namespace of the pods, or remove the selector to reach the whole mesh.";
    "SL310" Policy::WaypointSelector "waypoint-selector" Error
        "Waypoints ignore selectors."
        "Use targetRefs that name the Gateway, or a Service or ServiceEntry behind it.";
    "SL311" Policy::GatewayClassTarget "gateway-class-target" Warning
        "Istio looks for a Telemetry whose target is a GatewayClass only in the proxy's own namespace, so it misses the waypoints of other namespaces."
        "Write a Telemetry in each namespace that has a waypoint, with targetRefs that name the Gateway.";
    "SL312" Policy::ExtraProvider "extra-tracing-provider" Warning
        "Istio uses only the first provider of a tracing entry, even if that one is unknown."
        "Name one provider; a collector can pass spans on to several places.";
    "SL313" Policy::TagExpression "bad-tag-expression" Error
        "A tag of a metric has no expression that a proxy can build: each proxy leaves the tag out, and says so at level info only."
        "Correct the expression at the place named.";
    "SL320" Policy::UnreadSampling "sampling-not-read" Error
        "In MeshConfig a sampling of 0 counts as not set, and one above 100 is ignored: both give 1 %."
        "Write a number up to 100; for 0, use `randomSamplingPercentage` in a Telemetry.";
    "SL321" Policy::LabelNotText "label-not-text" Error
        "The labels of envoyOtelAls have to be strings: any other value becomes an empty string."
        "Put the value in quotes, and make each nested value a label of its own.";
    "SL322" Policy::DuplicateProvider "duplicate-provider" Error
        "Two providers have the same name, and Istio uses only one of them."
        "Give each its own name; upper and lower case make no difference.";
    "SL323" Policy::FieldWithoutEffect "field-without-effect" Error
        "Istio accepts the field and does nothing with it."
        "Remove it, and use what the message says.";
    "SL324" Policy::UnknownKey "unknown-key" Error
        "MeshConfig has no such key, and Istio ignores it without a word."
        "Correct the key; the message names the one that is meant.";
    "SL325" Policy::ProviderWithoutKind "provider-without-kind" Error
        "A provider does not say of what kind it is, so Istio sends nothing to it."
        "Add the kind, with the settings below it: `opentelemetry: {service: …, port: …}`.";
    "SL326" Policy::ShortService "short-service-name" Error
        "Istio looks up the service of a provider by its full name. It does not find a short one, and drops the provider."
        "Write `NAMESPACE/NAME.NAMESPACE.svc.cluster.local`.";
    "SL327" Policy::ServiceWithoutNamespace "service-without-namespace" Info
        "Istio finds a host that exists in several namespaces only if the namespace is named too. Without it, it drops the provider."
        "Write `NAMESPACE/HOST`, with the namespace of the ServiceEntry.";
    "SL328" Policy::MissingTimeout "otlp-http-without-timeout" Error
        "Istio accepts OTLP over HTTP without a timeout, but Envoy then refuses the listeners."
        "Set `http.timeout`, for example to 5s.";
    "SL329" Policy::InlineSecret "secret-in-mesh-config" Warning
        "A header that usually carries a secret has its value in MeshConfig, which many people can read and which goes to every proxy."
        "Send to a collector in the cluster, and let the collector hold the secret.";
    "SL330" Policy::SecretByEnvironment "secret-by-environment" Info
        "istiod reads the variable of `envName` from its own environment when it starts, and the value then stands in the configuration of every proxy."
        "Send to a collector in the cluster, and let the collector hold the secret.";
    "SL331" Policy::ShadowedProvider "shadowed-provider" Error
        "istiod's own MeshConfig wins over a shared one: of two providers with the same name, istiod uses the one in its own map."
        "Give the provider of the shared map a name of its own.";
    "SL340" Policy::ToWithRules "to-with-rules" Error
        "Kuma refuses a MeshAccessLog that has `to` or `from` beside `rules`."
        "Split it into two policies: one with `to`, one with `rules`.";
    "SL341" Policy::GoneInKuma3 "gone-in-kuma-3" Warning
        "Kuma 3.0 no longer has this: it refuses it, or drops it without a word."
        "Use what the message names.";
    "SL342" Policy::UnknownBackendRef "unknown-backend-ref" Warning
        "No MeshOpenTelemetryBackend among the files has the labels of a backendRef, so nothing is sent."
        "Correct the labels, or add the MeshOpenTelemetryBackend.";
    "SL343" Policy::SamplesAll "samples-everything" Warning
        "Without `sampling` Kuma traces every request."
        "Set a percentage: `sampling: {overall: …}`.";
    "SL344" Policy::ReplacedBackends "replaced-backends" Warning
        "Two MeshAccessLogs are for the same traffic. Kuma does not merge their lists of backends: only the first policy by name counts."
        "Merge them into one policy with all backends.";
    "SL360" Policy::Refused "refused-by-api-server" Error
        "The API server refuses the object."
        "Correct what the message says.";
    "SL361" Policy::UnknownReference "unknown-reference" Error
        "A policy names a mesh or a backend that no ObservabilityMesh among the files has, so it has no effect."
        "Correct the name, or add what it names.";
    "SL370" Policy::SolarMeshKey "unknown-solarmesh-key" Warning
        "SolarMesh does not document this key, but it documents one that looks like it."
        "Write the key as the message spells it.";
    "SL380" Policy::SamplerRatio "sampler-ratio" Error
        "The argument of a ratio sampler is a number from 0 to 1. Any other is ignored, and everything is sampled."
        "Divide the percentage by 100: 5 % is `0.05`.";
    "SL381" Policy::ResourceAttributes "resource-attributes" Warning
        "An SDK that cannot read one entry of OTEL_RESOURCE_ATTRIBUTES discards them all."
        "Write `key=value` with commas between entries, and `%2C`, `%3D` and `%25` for `,`, `=` and `%` in values.";
    "SL382" Policy::InterLinkEnvironment "interlink-environment" Error
        "InterLink does not take this value as it looks: tracing stays off, or the virtual node stops."
        "Change the value, or add what is missing, as the message says.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::filter;
    use crate::format::EnvoyVersion;

    #[test]
    fn each_code_stands_once_and_in_order() {
        let ids: Vec<&str> = TABLE.iter().map(|code| code.id).collect();
        let names: BTreeSet<&str> = TABLE.iter().map(|code| code.name).collect();
        assert!(ids.is_sorted(), "{ids:?}");
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), TABLE.len());
        assert_eq!(names.len(), TABLE.len());
        for code in TABLE {
            assert!(code.id.len() == 5 && code.id.starts_with("SL"), "{}", code.id);
            assert!(code.meaning.ends_with('.') && code.remedy.ends_with('.'), "{}", code.id);
        }
    }

    #[test]
    fn a_kind_leads_to_its_line_of_the_table() {
        assert_eq!(code(About::Format(Format::UnknownOperator)).id, "SL007");
        assert_eq!(Code::find("sl007"), Some(code(About::Format(Format::UnknownOperator))));
        assert_eq!(Code::find("unknown-operator"), Code::find("SL007"));
        assert_eq!(Code::find("SL999"), None);
    }

    #[test]
    fn what_a_message_quotes_begins_with_its_code() {
        let text = |text: &str| crate::format::check_text(text, EnvoyVersion::OLDEST_SUPPORTED).unwrap_err();
        let one = Coded(&text("a %NOPE%")).to_string();
        assert!(
            one.starts_with("SL007 at text, character 4, `NOPE`: there is no "),
            "{one}"
        );
        let three = Coded(&text("%NOPE% %NOPE% %PROTOCOL(x)%")).to_string();
        assert!(
            three.starts_with("SL007 at ") && three.ends_with(" (and 2 more errors)"),
            "{three}"
        );
        let filter = |text: &str| filter::check(text, EnvoyVersion::OLDEST_SUPPORTED).unwrap_err();
        let part = Coded(&filter("connection.idd == 1u")).to_string();
        assert!(part.starts_with("SL102 at character 1, `connection.idd`: "), "{part}");
        let whole = Coded(&filter(" ")).to_string();
        assert!(whole.starts_with("SL100: the expression is empty; "), "{whole}");
    }
}
