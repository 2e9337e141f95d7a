//! The default formats of Istio and Envoy, as named fields: the JSON form lists them, the text form lays them out.

use super::Preset;

/// A field of a preset: its name in JSON and the operator.
pub(super) struct PresetField {
    pub name: &'static str,
    pub value: &'static str,
}

/// A stretch of the text form: fields with one space between them, with `open` and `close` around all of them.
/// Between groups stands one space. A field that is taken away takes its space along; the last one its group.
struct Group {
    open: &'static str,
    fields: &'static [&'static str],
    close: &'static str,
}

/// A preset in both forms.
pub(super) struct Layout {
    /// In the order of the source; Envoy sorts the keys of JSON formats itself.
    pub fields: &'static [PresetField],
    text: &'static [Group],
}

const fn field(name: &'static str, value: &'static str) -> PresetField {
    PresetField { name, value }
}

const fn bare(fields: &'static [&'static str]) -> Group {
    Group {
        open: "",
        fields,
        close: "",
    }
}

const fn quoted(fields: &'static [&'static str]) -> Group {
    Group {
        open: "\"",
        fields,
        close: "\"",
    }
}

const TIME: Group = Group {
    open: "[",
    fields: &["start_time"],
    close: "]",
};

/// Istio 1.28 to 1.31, `reference/targets.md` §1.5.
static ISTIO: Layout = Layout {
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
    text: &[
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
    ],
};

/// Envoy's default format string. Envoy has no default in JSON: the names are those of Istio's. Since 1.37 Envoy
/// writes `REQUEST_HEADER` for `REQ` and `RESPONSE_HEADER` for `RESP`, which mean the same; 1.36 knows only the short
/// names.
static ENVOY: Layout = Layout {
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
    text: &[
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
    ],
};

impl Preset {
    pub(super) const fn layout(self) -> &'static Layout {
        match self {
            Self::Istio => &ISTIO,
            Self::Envoy => &ENVOY,
        }
    }
}

impl Layout {
    /// The text form without the fields that `omitted` holds for, without a newline.
    pub(super) fn text(&self, omitted: impl Fn(&str) -> bool) -> String {
        let groups = self.text.iter().filter_map(|group| {
            let kept: Vec<&str> = group
                .fields
                .iter()
                .filter(|name| !omitted(name))
                .filter_map(|name| self.fields.iter().find(|field| field.name == *name))
                .map(|field| field.value)
                .collect();
            (!kept.is_empty()).then(|| format!("{}{}{}", group.open, kept.join(" "), group.close))
        });
        groups.collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(preset: Preset) -> String {
        preset.layout().text(|_| false)
    }

    #[test]
    fn the_istio_preset_is_istios_default_text() {
        assert_eq!(
            full(Preset::Istio),
            r#"[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%"#
        );
        assert_eq!(ISTIO.fields.len(), 24);
    }

    #[test]
    fn the_envoy_preset_is_envoys_default_text() {
        assert_eq!(
            full(Preset::Envoy),
            r#"[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%""#
        );
    }

    #[test]
    fn text_and_json_of_a_preset_have_the_same_fields() {
        for preset in [Preset::Istio, Preset::Envoy] {
            let layout = preset.layout();
            let mut json: Vec<_> = layout.fields.iter().map(|field| field.name).collect();
            let mut text: Vec<_> = layout.text.iter().flat_map(|group| group.fields).copied().collect();
            json.sort_unstable();
            text.sort_unstable();
            assert_eq!(json, text, "{preset:?}");
        }
    }

    #[test]
    fn a_field_goes_with_its_space_and_the_last_of_a_group_with_its_quotes() {
        let without = |names: &[&str]| ENVOY.text(|name| names.contains(&name));
        assert!(without(&["path"]).contains(r#"] "%REQ(:METHOD)% %PROTOCOL%" %RESP"#));
        assert!(without(&["method", "path", "protocol"]).starts_with("[%START_TIME%] %RESPONSE_CODE% "));
        assert!(without(&["start_time"]).starts_with("\"%REQ(:METHOD)% "));
        assert!(without(&["user_agent"]).contains(r#""%REQ(X-FORWARDED-FOR)%" "%REQ(X-REQUEST-ID)%""#));
    }
}
