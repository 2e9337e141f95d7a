//! Formats that are known by name, as named fields: JSON lists them, a text lays them out. Some have a form of their own
//! for TCP connections.

use std::borrow::Cow;

use super::Preset;
use super::setting::Traffic;

/// A field of a preset: its name in JSON and the operator.
pub(super) struct PresetField {
    pub name: &'static str,
    pub value: &'static str,
}

/// A stretch of the text: fields with one space between them, with `open` and `close` around all of them. Between groups
/// stands one space. A field that is taken away takes its space along; the last one its group.
struct Group {
    open: &'static str,
    fields: &'static [&'static str],
    close: &'static str,
    /// Whether it stands right behind the group before it, where that is there.
    joined: bool,
}

/// A preset for one kind of traffic.
pub(super) struct Form {
    /// In the order of the source; Envoy sorts the keys of JSON formats itself.
    pub fields: &'static [PresetField],
    /// `None` where it has no text.
    text: Option<&'static [Group]>,
}

/// A preset for all traffic.
struct Forms {
    http: Form,
    /// `None` where it is the same.
    tcp: Option<Form>,
}

const fn field(name: &'static str, value: &'static str) -> PresetField {
    PresetField { name, value }
}

const fn group(open: &'static str, fields: &'static [&'static str], close: &'static str) -> Group {
    Group {
        open,
        fields,
        close,
        joined: false,
    }
}

const fn bare(fields: &'static [&'static str]) -> Group {
    group("", fields, "")
}

const fn quoted(fields: &'static [&'static str]) -> Group {
    group("\"", fields, "\"")
}

const fn joined(open: &'static str, fields: &'static [&'static str], close: &'static str) -> Group {
    Group {
        joined: true,
        ..group(open, fields, close)
    }
}

const TIME: Group = group("[", &["start_time"], "]");

/// Istio 1.28 to 1.31, `reference/targets.md` §1.5.
static ISTIO: Forms = Forms {
    http: Form {
        fields: &[
            field("start_time", "%START_TIME%"),
            field("route_name", "%ROUTE_NAME%"),
            field("method", "%REQ(:METHOD)%"),
            field("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
            field("protocol", "%PROTOCOL%"),
            field("response_code", "%RESPONSE_CODE%"),
            field("response_flags", "%RESPONSE_FLAGS%"),
            field("response_code_details", "%RESPONSE_CODE_DETAILS%"),
            field("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
            field("bytes_received", "%BYTES_RECEIVED%"),
            field("bytes_sent", "%BYTES_SENT%"),
            field("duration", "%DURATION%"),
            field("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
            field("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
            field("user_agent", "%REQ(USER-AGENT)%"),
            field("request_id", "%REQ(X-REQUEST-ID)%"),
            field("authority", "%REQ(:AUTHORITY)%"),
            field("upstream_host", "%UPSTREAM_HOST%"),
            field("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
            field("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
            field("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
            field("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
            field("requested_server_name", "%REQUESTED_SERVER_NAME%"),
            field(
                "upstream_transport_failure_reason",
                "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
            ),
        ],
        text: Some(&[
            TIME,
            quoted(&["method", "path", "protocol"]),
            bare(&[
                "response_code",
                "response_flags",
                "response_code_details",
                "connection_termination_details",
            ]),
            quoted(&["upstream_transport_failure_reason"]),
            bare(&["bytes_received", "bytes_sent", "duration", "upstream_service_time"]),
            quoted(&["x_forwarded_for"]),
            quoted(&["user_agent"]),
            quoted(&["request_id"]),
            quoted(&["authority"]),
            quoted(&["upstream_host"]),
            bare(&[
                "upstream_cluster",
                "upstream_local_address",
                "downstream_local_address",
                "downstream_remote_address",
            ]),
            bare(&["requested_server_name", "route_name"]),
        ]),
    },
    tcp: None,
};

/// Envoy's default format string. Envoy has no default in JSON: the names are those of Istio's. Since 1.37 Envoy
/// writes `REQUEST_HEADER` for `REQ` and `RESPONSE_HEADER` for `RESP`, which mean the same; 1.36 knows only the short
/// names.
static ENVOY: Forms = Forms {
    http: Form {
        fields: &[
            field("start_time", "%START_TIME%"),
            field("method", "%REQ(:METHOD)%"),
            field("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
            field("protocol", "%PROTOCOL%"),
            field("response_code", "%RESPONSE_CODE%"),
            field("response_flags", "%RESPONSE_FLAGS%"),
            field("bytes_received", "%BYTES_RECEIVED%"),
            field("bytes_sent", "%BYTES_SENT%"),
            field("duration", "%DURATION%"),
            field("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
            field("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
            field("user_agent", "%REQ(USER-AGENT)%"),
            field("request_id", "%REQ(X-REQUEST-ID)%"),
            field("authority", "%REQ(:AUTHORITY)%"),
            field("upstream_host", "%UPSTREAM_HOST%"),
        ],
        text: Some(&[
            TIME,
            quoted(&["method", "path", "protocol"]),
            bare(&[
                "response_code",
                "response_flags",
                "bytes_received",
                "bytes_sent",
                "duration",
                "upstream_service_time",
            ]),
            quoted(&["x_forwarded_for"]),
            quoted(&["user_agent"]),
            quoted(&["request_id"]),
            quoted(&["authority"]),
            quoted(&["upstream_host"]),
        ]),
    },
    tcp: None,
};

/// Kuma's default formats of HTTP and TCP, the same from 2.9 to 2.14: `meshaccesslog/plugin/xds/configurer.go` of
/// kumahq/kuma. Kuma has no default in JSON: the names are those of Istio's where that has the field.
static KUMA: Forms = Forms {
    http: Form {
        fields: &[
            field("start_time", "%START_TIME%"),
            field("mesh", "%KUMA_MESH%"),
            field("method", "%REQ(:METHOD)%"),
            field("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
            field("protocol", "%PROTOCOL%"),
            field("response_code", "%RESPONSE_CODE%"),
            field("response_flags", "%RESPONSE_FLAGS%"),
            field("bytes_received", "%BYTES_RECEIVED%"),
            field("bytes_sent", "%BYTES_SENT%"),
            field("duration", "%DURATION%"),
            field("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
            field("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
            field("user_agent", "%REQ(USER-AGENT)%"),
            field("trace_id", "%REQ(X-B3-TRACEID?X-DATADOG-TRACEID)%"),
            field("request_id", "%REQ(X-REQUEST-ID)%"),
            field("authority", "%REQ(:AUTHORITY)%"),
            field("source_service", "%KUMA_SOURCE_SERVICE%"),
            field("destination_service", "%KUMA_DESTINATION_SERVICE%"),
            field("source_address", "%KUMA_SOURCE_ADDRESS_WITHOUT_PORT%"),
            field("upstream_host", "%UPSTREAM_HOST%"),
        ],
        text: Some(&[
            TIME,
            bare(&["mesh"]),
            quoted(&["method", "path", "protocol"]),
            bare(&[
                "response_code",
                "response_flags",
                "bytes_received",
                "bytes_sent",
                "duration",
                "upstream_service_time",
            ]),
            quoted(&["x_forwarded_for"]),
            quoted(&["user_agent"]),
            quoted(&["trace_id"]),
            quoted(&["request_id"]),
            quoted(&["authority"]),
            quoted(&["source_service"]),
            quoted(&["destination_service"]),
            quoted(&["source_address"]),
            quoted(&["upstream_host"]),
        ]),
    },
    tcp: Some(Form {
        fields: &[
            field("start_time", "%START_TIME%"),
            field("response_flags", "%RESPONSE_FLAGS%"),
            field("mesh", "%KUMA_MESH%"),
            field("source_address", "%KUMA_SOURCE_ADDRESS_WITHOUT_PORT%"),
            field("source_service", "%KUMA_SOURCE_SERVICE%"),
            field("upstream_host", "%UPSTREAM_HOST%"),
            field("destination_service", "%KUMA_DESTINATION_SERVICE%"),
            field("duration", "%DURATION%"),
            field("bytes_sent", "%BYTES_SENT%"),
            field("bytes_received", "%BYTES_RECEIVED%"),
        ],
        text: Some(&[
            TIME,
            bare(&["response_flags", "mesh", "source_address"]),
            joined("(", &["source_service"], ")"),
            joined("->", &["upstream_host"], ""),
            joined("(", &["destination_service"], ")"),
            group("took ", &["duration"], "ms,"),
            group("sent ", &["bytes_sent"], " bytes,"),
            group("received: ", &["bytes_received"], " bytes"),
        ]),
    }),
};

/// Elastic Common Schema 8.11, with dots in flat names, which Elasticsearch reads as objects. `event.duration` is in
/// nanoseconds there and `DURATION` in milliseconds, hence the zeros; Elasticsearch reads the text as a number. The path
/// is without its query. ECS wants `http.version` as `1.1` and Envoy says `HTTP/1.1`, so it is not here.
static ECS: Forms = Forms {
    http: Form {
        fields: &[
            field("@timestamp", "%START_TIME%"),
            field("ecs.version", "8.11.0"),
            field("event.duration", "%DURATION%000000"),
            field("network.protocol", "http"),
            field("http.request.method", "%REQ(:METHOD)%"),
            field("http.request.id", "%REQ(X-REQUEST-ID)%"),
            field("http.request.body.bytes", "%BYTES_RECEIVED%"),
            field("http.response.status_code", "%RESPONSE_CODE%"),
            field("http.response.body.bytes", "%BYTES_SENT%"),
            field("url.path", "%PATH(NQ)%"),
            field("url.domain", "%REQ(:AUTHORITY)%"),
            field("user_agent.original", "%REQ(USER-AGENT)%"),
            field("client.ip", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
            field("source.ip", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"),
            field("source.port", "%DOWNSTREAM_DIRECT_REMOTE_PORT%"),
            field("destination.ip", "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%"),
            field("destination.port", "%DOWNSTREAM_LOCAL_PORT%"),
            field("tls.client.server_name", "%REQUESTED_SERVER_NAME%"),
            field("trace.id", "%TRACE_ID%"),
            field("envoy.response_flags", "%RESPONSE_FLAGS%"),
            field("envoy.response_code_details", "%RESPONSE_CODE_DETAILS%"),
            field("envoy.upstream.cluster", "%UPSTREAM_CLUSTER_RAW%"),
            field("envoy.upstream.address", "%UPSTREAM_HOST%"),
        ],
        text: None,
    },
    tcp: Some(Form {
        fields: &[
            field("@timestamp", "%START_TIME%"),
            field("ecs.version", "8.11.0"),
            field("event.duration", "%DURATION%000000"),
            field("network.transport", "tcp"),
            field("client.ip", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
            field("source.ip", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"),
            field("source.port", "%DOWNSTREAM_DIRECT_REMOTE_PORT%"),
            field("source.bytes", "%BYTES_RECEIVED%"),
            field("destination.ip", "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%"),
            field("destination.port", "%DOWNSTREAM_LOCAL_PORT%"),
            field("destination.bytes", "%BYTES_SENT%"),
            field("tls.client.server_name", "%REQUESTED_SERVER_NAME%"),
            field("envoy.response_flags", "%RESPONSE_FLAGS%"),
            field(
                "envoy.connection_termination_details",
                "%CONNECTION_TERMINATION_DETAILS%",
            ),
            field("envoy.upstream.cluster", "%UPSTREAM_CLUSTER_RAW%"),
            field("envoy.upstream.address", "%UPSTREAM_HOST%"),
        ],
        text: None,
    }),
};

/// OpenTelemetry's semantic conventions of HTTP and of networks, as the constants of their Go package have them. What they
/// have no attribute for is below `envoy.`. The path is without its query. `network.protocol.version` is `1.1` there and
/// Envoy says `HTTP/1.1`, so it is not here. The server name of TLS is `server.address`: it took the place of
/// `tls.client.server_name`.
static OPEN_TELEMETRY: Forms = Forms {
    http: Form {
        fields: &[
            field("timestamp", "%START_TIME%"),
            field("http.request.method", "%REQ(:METHOD)%"),
            field("http.request.body.size", "%BYTES_RECEIVED%"),
            field("http.response.status_code", "%RESPONSE_CODE%"),
            field("http.response.body.size", "%BYTES_SENT%"),
            field("url.path", "%PATH(NQ)%"),
            field("url.scheme", "%REQ(:SCHEME)%"),
            field("user_agent.original", "%REQ(USER-AGENT)%"),
            field("server.address", "%REQ(:AUTHORITY)%"),
            field("client.address", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
            field("client.port", "%DOWNSTREAM_REMOTE_PORT%"),
            field("network.protocol.name", "http"),
            field(
                "network.peer.address",
                "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
            ),
            field("network.peer.port", "%DOWNSTREAM_DIRECT_REMOTE_PORT%"),
            field("network.local.address", "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%"),
            field("network.local.port", "%DOWNSTREAM_LOCAL_PORT%"),
            field("envoy.duration_ms", "%DURATION%"),
            field("envoy.request_id", "%REQ(X-REQUEST-ID)%"),
            field("envoy.response_flags", "%RESPONSE_FLAGS%"),
            field("envoy.response_code_details", "%RESPONSE_CODE_DETAILS%"),
            field("envoy.upstream.cluster", "%UPSTREAM_CLUSTER_RAW%"),
            field("envoy.upstream.address", "%UPSTREAM_HOST%"),
        ],
        text: None,
    },
    tcp: Some(Form {
        fields: &[
            field("timestamp", "%START_TIME%"),
            field("server.address", "%REQUESTED_SERVER_NAME%"),
            field("client.address", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
            field("client.port", "%DOWNSTREAM_REMOTE_PORT%"),
            field("network.transport", "tcp"),
            field(
                "network.peer.address",
                "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
            ),
            field("network.peer.port", "%DOWNSTREAM_DIRECT_REMOTE_PORT%"),
            field("network.local.address", "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%"),
            field("network.local.port", "%DOWNSTREAM_LOCAL_PORT%"),
            field("envoy.bytes_received", "%BYTES_RECEIVED%"),
            field("envoy.bytes_sent", "%BYTES_SENT%"),
            field("envoy.duration_ms", "%DURATION%"),
            field("envoy.response_flags", "%RESPONSE_FLAGS%"),
            field(
                "envoy.connection_termination_details",
                "%CONNECTION_TERMINATION_DETAILS%",
            ),
            field("envoy.upstream.cluster", "%UPSTREAM_CLUSTER_RAW%"),
            field("envoy.upstream.address", "%UPSTREAM_HOST%"),
        ],
        text: None,
    }),
};

impl Preset {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Istio, Self::Envoy, Self::Kuma, Self::Ecs, Self::OpenTelemetry];

    /// Its name as users write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Istio => "Istio",
            Self::Envoy => "Envoy",
            Self::Kuma => "Kuma",
            Self::Ecs => "ECS",
            Self::OpenTelemetry => "OpenTelemetry",
        }
    }

    /// Whether it has a form of its own for TCP connections.
    pub const fn has_tcp_form(self) -> bool {
        self.forms().tcp.is_some()
    }

    /// Whether it can be written as a line of text; else it is JSON only.
    pub const fn has_text(self) -> bool {
        self.forms().http.text.is_some()
    }

    const fn forms(self) -> &'static Forms {
        match self {
            Self::Istio => &ISTIO,
            Self::Envoy => &ENVOY,
            Self::Kuma => &KUMA,
            Self::Ecs => &ECS,
            Self::OpenTelemetry => &OPEN_TELEMETRY,
        }
    }

    pub(super) const fn form(self, traffic: Traffic) -> &'static Form {
        let forms = self.forms();
        match (traffic, &forms.tcp) {
            (Traffic::Tcp, Some(tcp)) => tcp,
            _ => &forms.http,
        }
    }

    /// The fields of all its forms, names and operators; one that is in two forms comes twice.
    pub fn fields(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let forms = self.forms();
        let tcp = forms.tcp.iter().flat_map(|form| form.fields);
        forms
            .http
            .fields
            .iter()
            .chain(tcp)
            .map(|field| (field.name, field.value))
    }

    /// The names of the fields of all its forms.
    pub(super) fn field_names(self) -> impl Iterator<Item = &'static str> {
        self.fields().map(|(name, _)| name)
    }
}

impl Form {
    /// The line without its newline; empty for what has no text. A field without a `value` is left out.
    pub(super) fn text(&self, value: impl Fn(&'static PresetField) -> Option<Cow<'static, str>>) -> String {
        let mut line = String::new();
        let mut after_group = false;
        for group in self.text.into_iter().flatten() {
            let fields = group.fields.iter();
            let fields = fields.filter_map(|name| self.fields.iter().find(|field| field.name == *name));
            let kept: Vec<Cow<'static, str>> = fields.filter_map(&value).collect();
            if !kept.is_empty() {
                let is_attached = group.joined && after_group;
                if !is_attached && !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(group.open);
                line.push_str(&kept.join(" "));
                line.push_str(group.close);
            }
            after_group = !kept.is_empty();
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(preset: Preset, traffic: Traffic) -> String {
        without(preset, traffic, &[])
    }

    fn without(preset: Preset, traffic: Traffic, names: &[&str]) -> String {
        let form = preset.form(traffic);
        form.text(|field| (!names.contains(&field.name)).then_some(Cow::Borrowed(field.value)))
    }

    #[test]
    fn the_istio_preset_is_istios_default_text_for_all_traffic() {
        for traffic in [Traffic::Both, Traffic::Http, Traffic::Tcp] {
            assert_eq!(
                full(Preset::Istio, traffic),
                r#"[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%"#
            );
        }
        assert_eq!(ISTIO.http.fields.len(), 24);
    }

    #[test]
    fn the_envoy_preset_is_envoys_default_text() {
        assert_eq!(
            full(Preset::Envoy, Traffic::Both),
            r#"[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%""#
        );
    }

    #[test]
    fn the_kuma_preset_is_kumas_default_text_of_http_and_of_tcp() {
        assert_eq!(
            full(Preset::Kuma, Traffic::Http),
            r#"[%START_TIME%] %KUMA_MESH% "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-B3-TRACEID?X-DATADOG-TRACEID)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%KUMA_SOURCE_SERVICE%" "%KUMA_DESTINATION_SERVICE%" "%KUMA_SOURCE_ADDRESS_WITHOUT_PORT%" "%UPSTREAM_HOST%""#
        );
        assert_eq!(
            full(Preset::Kuma, Traffic::Tcp),
            "[%START_TIME%] %RESPONSE_FLAGS% %KUMA_MESH% %KUMA_SOURCE_ADDRESS_WITHOUT_PORT%(%KUMA_SOURCE_SERVICE%)->%UPSTREAM_HOST%(%KUMA_DESTINATION_SERVICE%) took %DURATION%ms, sent %BYTES_SENT% bytes, received: %BYTES_RECEIVED% bytes"
        );
    }

    #[test]
    fn text_and_json_of_a_form_have_the_same_fields_each_once() {
        for preset in Preset::ALL {
            for traffic in [Traffic::Http, Traffic::Tcp] {
                let form = preset.form(traffic);
                let mut json: Vec<_> = form.fields.iter().map(|field| field.name).collect();
                json.sort_unstable();
                let names = json.len();
                json.dedup();
                assert_eq!(json.len(), names, "{preset:?}");
                let Some(text) = form.text else { continue };
                let mut text: Vec<_> = text.iter().flat_map(|group| group.fields).copied().collect();
                text.sort_unstable();
                assert_eq!(json, text, "{preset:?}");
            }
        }
    }

    #[test]
    fn a_field_goes_with_its_space_and_the_last_of_a_group_with_its_quotes() {
        let without = |names: &[&str]| without(Preset::Envoy, Traffic::Both, names);
        assert!(without(&["path"]).contains(r#"] "%REQ(:METHOD)% %PROTOCOL%" %RESP"#));
        assert!(without(&["method", "path", "protocol"]).starts_with("[%START_TIME%] %RESPONSE_CODE% "));
        assert!(without(&["start_time"]).starts_with("\"%REQ(:METHOD)% "));
        assert!(without(&["user_agent"]).contains(r#""%REQ(X-FORWARDED-FOR)%" "%REQ(X-REQUEST-ID)%""#));
    }

    #[test]
    fn a_joined_group_stands_alone_where_the_one_before_it_is_gone() {
        let without = |names: &[&str]| without(Preset::Kuma, Traffic::Tcp, names);
        assert!(without(&["source_service"]).contains("WITHOUT_PORT% ->%UPSTREAM_HOST%("));
        assert!(without(&["upstream_host"]).contains("(%KUMA_SOURCE_SERVICE%) (%KUMA_DESTINATION_SERVICE%) took"));
        let gone = ["response_flags", "mesh", "source_address", "start_time"];
        assert!(without(&gone).starts_with("(%KUMA_SOURCE_SERVICE%)->"));
    }
}
