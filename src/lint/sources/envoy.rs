//! Envoy's own configuration: formats and filters of access logs, wherever they stand, by the type that is named beside
//! them.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::super::document::Node;
use super::super::findings::{Judge, Use};
use super::super::located::Located;
use crate::format::{CompiledFormat, Dialect, Form, Traffic};

/// Judges a document of Envoy's: a bootstrap, which has one of the parts that only Envoy's have, or a file of resources that
/// Envoy watches.
pub fn judge(document: &Located, judge: &mut Judge) {
    let parts = [
        ["static_resources", "staticResources"],
        ["dynamic_resources", "dynamicResources"],
    ];
    let is_bootstrap = parts.into_iter().any(|names| document.node().either(names).is_some());
    let resources = document.node().get("resources").map(Node::items).unwrap_or_default();
    if is_bootstrap || resources.iter().any(|resource| resource.get("@type").is_some()) {
        judge_typed(document, judge);
    }
}

/// Judges a text that may be such a document. Any other text, a template of one included, is nobody's concern here.
pub fn judge_text(text: &Located, judge: &mut Judge) {
    // All types of access loggers have this in their name. To look for it costs next to nothing; to parse does.
    let is_likely = text.as_string().is_some_and(|text| text.contains("access_loggers."));
    if is_likely && let Ok(Some(document)) = text.embedded() {
        self::judge(&document, judge);
    }
}

/// Judges all access loggers below a value.
pub fn judge_typed(value: &Located, judge: &mut Judge) {
    Walk {
        judge,
        seen: HashSet::new(),
    }
    .value(value, Traffic::Both);
}

struct Walk<'j> {
    judge: &'j mut Judge,
    /// Values that were judged, for what it was: an alias leads to the same value again, and could do so without end.
    seen: HashSet<(usize, Traffic)>,
}

impl Walk<'_> {
    fn value(&mut self, value: &Located, traffic: Traffic) {
        if !self.seen.insert((value.node().identity(), traffic)) {
            return;
        }
        let own = message(value.node().get("@type"));
        // It carries a message of another type.
        if own == "TypedStruct"
            && let Some(carried) = value.get("value")
        {
            let url = value.node().either(["type_url", "typeUrl"]);
            return self.message(message(url.map(|(_, url)| url)), &carried, traffic);
        }
        self.message(own, value, traffic);
    }

    fn message(&mut self, message: &str, value: &Located, traffic: Traffic) {
        let traffic = match message {
            "HttpConnectionManager" => Traffic::Http,
            "TcpProxy" => Traffic::Tcp,
            _ => traffic,
        };
        match message {
            "FileAccessLog" => self.file_log(value, traffic),
            "StdoutAccessLog" | "StderrAccessLog" => self.substitution(value, traffic),
            "OpenTelemetryAccessLogConfig" => self.otlp_log(value, traffic),
            "ExpressionFilter" => {
                if let Some(expression) = value.get("expression") {
                    self.judge.filter(&expression, traffic);
                }
            }
            _ => {
                for (_, member) in value.members() {
                    self.value(&member, traffic);
                }
                for item in value.items() {
                    self.value(&item, traffic);
                }
            }
        }
    }

    /// The log's own members are deprecated, and still read.
    fn file_log(&mut self, log: &Located, traffic: Traffic) {
        // In proto, an empty text is none.
        if let Some(line) = log.get("format").filter(|line| line.as_string() != Some("")) {
            self.judge.format(&line, used(Form::Line, traffic, false));
        }
        for names in [["json_format", "jsonFormat"], ["typed_json_format", "typedJsonFormat"]] {
            self.values(log.either(names).as_ref(), traffic, false);
        }
        self.substitution(log, traffic);
    }

    /// `log_format`, a SubstitutionFormatString.
    fn substitution(&mut self, log: &Located, traffic: Traffic) {
        let Some(format) = log.either(["log_format", "logFormat"]) else {
            return;
        };
        let has_extensions = has_extensions(&format);
        let source = format.either(["text_format_source", "textFormatSource"]);
        let inline = source.and_then(|source| source.either(["inline_string", "inlineString"]));
        let deprecated = format.either(["text_format", "textFormat"]);
        for line in inline.into_iter().chain(deprecated) {
            self.judge.format(&line, used(Form::Line, traffic, has_extensions));
        }
        let json = format.either(["json_format", "jsonFormat"]);
        self.values(json.as_ref(), traffic, has_extensions);
    }

    fn otlp_log(&mut self, log: &Located, traffic: Traffic) {
        let has_extensions = has_extensions(log);
        if let Some(attributes) = log.get("attributes") {
            let format = CompiledFormat::Json(attribute_values(&attributes));
            self.judge.keep(&attributes, traffic, false, format);
        }
        // Attributes of the resource are no formats: Envoy 1.36 to 1.40 took `%NOPE%` in one.
        for part in [log.get("body"), log.get("attributes")] {
            for text in part.iter().flat_map(any_values) {
                self.judge.format(&text, used(Form::Value, traffic, has_extensions));
            }
        }
    }

    fn values(&mut self, values: Option<&Located>, traffic: Traffic, has_extensions: bool) {
        if let Some(values) = values {
            self.judge.keep_members(values, traffic);
        }
        for text in values.map(Located::strings).unwrap_or_default() {
            self.judge.format(&text, used(Form::Value, traffic, has_extensions));
        }
    }
}

/// The name of a message, from its type's URL.
fn message(url: Option<&Node>) -> &str {
    let url = url.and_then(Node::as_str).unwrap_or_default();
    url.rsplit(['/', '.']).next().unwrap_or_default()
}

/// The strings of OpenTelemetry's AnyValue: keys of attributes are none.
pub fn any_values(value: &Located) -> Vec<Located> {
    let own = value.either(["string_value", "stringValue"]);
    let members = value.members().into_iter().map(|(_, member)| member);
    let below = members.chain(value.items()).flat_map(|value| any_values(&value));
    own.into_iter().chain(below).collect()
}

/// OpenTelemetry's KeyValueList as members; what is no string is none of a format.
fn attribute_values(list: &Located) -> Map<String, Value> {
    let entries = list.get("values").into_iter().flat_map(|values| values.items());
    let member = |entry: Located| {
        let key = entry.get("key")?.as_string()?.to_owned();
        let value = entry.get("value")?.either(["string_value", "stringValue"])?;
        Some((key, value.as_string()?.into()))
    };
    entries.filter_map(member).collect()
}

/// Whether a format names the extension that `REQ_WITHOUT_QUERY` needs.
fn has_extensions(format: &Located) -> bool {
    let formatters = format.get("formatters");
    formatters.iter().flat_map(Located::items).any(|formatter| {
        let url = formatter
            .either(["typed_config", "typedConfig"])
            .and_then(|config| config.get("@type"));
        url.is_some_and(|url| url.as_string().is_some_and(|url| url.ends_with(".ReqWithoutQuery")))
    })
}

const fn used(form: Form, traffic: Traffic, has_extensions: bool) -> Use {
    Use {
        form,
        dialect: Dialect::Envoy,
        traffic,
        has_extensions,
    }
}
