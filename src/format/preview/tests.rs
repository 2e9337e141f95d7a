//! The rules of the preview as a whole.

use std::collections::BTreeSet;

use super::operators::{Call, Proxied};
use super::*;
use crate::format::{Base, Encoding, FormatSpec, Preset, compile, table};

fn line_of(text: &str, sample: &Sample) -> String {
    let format = CompiledFormat::Text(text.to_owned());
    String::from_utf8(preview(&format, false, sample, EnvoyVersion::NEWEST_KNOWN).line).unwrap()
}

fn json_line(format: Json, omit: bool, sample: &Sample, version: EnvoyVersion) -> String {
    let Json::Object(fields) = format else { unreachable!() };
    String::from_utf8(preview(&CompiledFormat::Json(fields), omit, sample, version).line).unwrap()
}

#[test]
fn istios_default_line_of_the_built_in_sample() {
    let spec = FormatSpec {
        encoding: Encoding::Text,
        base: Base::Preset(Preset::Istio),
        fields: Vec::new(),
        omit: Vec::new(),
    };
    let format = compile(&spec, EnvoyVersion::OLDEST_SUPPORTED).unwrap().format;
    let preview = preview(&format, false, &Sample::default(), EnvoyVersion::OLDEST_SUPPORTED);
    assert_eq!(
        String::from_utf8(preview.line).unwrap(),
        "[2026-03-14T09:26:53.589Z] \"GET /reviews/7?lang=en HTTP/1.1\" 200 - via_upstream - \"-\" 0 358 12 11 \"-\" \
         \"curl/8.14.1\" \"84961386-6d84-929d-98bd-c5aee93b5c88\" \"reviews.shop:9080\" \"10.44.1.27:9080\" \
         inbound|9080|| 127.0.0.6:41854 10.44.1.27:9080 10.44.1.23:37652 \
         outbound_.9080_._.reviews.shop.svc.cluster.local default\n"
    );
    assert_eq!(preview.untold, []);
}

#[test]
fn every_operator_is_either_evaluated_or_in_the_table_of_those_that_cannot_be() {
    let untellable: BTreeSet<&str> = UNTELLABLE.into_iter().map(|(name, _)| name).collect();
    assert_eq!(untellable.len(), UNTELLABLE.len());
    let sample = Sample::default();
    let proxied = Proxied {
        sample: &sample,
        version: EnvoyVersion::NEWEST_KNOWN,
    };
    for name in table::operator_names() {
        let call = Call {
            name,
            // Of expressions, one that reads what no sample tells.
            arguments: if name.ends_with("CEL") { "xds.node.id" } else { "" },
            length: None,
        };
        let (value, untold) = proxied.value(call);
        let placeholder = format!("<{name}>").into_bytes();
        let is_untold = value.into_text() == Some(placeholder);
        assert_eq!(is_untold, untellable.contains(name), "{name}");
        assert_eq!(untold.len(), usize::from(is_untold), "{name}");
    }
    let known: BTreeSet<&str> = table::operator_names().collect();
    assert!(untellable.is_subset(&known));
}

#[test]
fn what_cannot_be_told_is_named_once_with_the_reason_and_a_placeholder_stands_for_it() {
    let format = CompiledFormat::Text("%UNIQUE_ID% %UNIQUE_ID%\n".into());
    let preview = preview(&format, false, &Sample::default(), EnvoyVersion::NEWEST_KNOWN);
    assert_eq!(preview.line, b"<UNIQUE_ID> <UNIQUE_ID>\n");
    assert_eq!(preview.untold.len(), 1);
}

#[test]
fn json_members_keep_their_type_and_what_is_absent_is_null_or_left_out() {
    let format = serde_json::json!({
        "b": {"y": "%REQ(X)%", "x": {"z": "%TRAILER(X)%"}}, "a": "%RESPONSE_CODE%", "d": "%BYTES_SENT%-%REQ(X)%",
        "c": "%METADATA(ROUTE:istio)%", "e": "%RESPONSE_FLAGS%", "f": "100%%",
    });
    let sample = Sample::default();
    let line = |omit, minor| json_line(format.clone(), omit, &sample, EnvoyVersion::new(1, minor));
    let config = r#""c":{"config":"/apis/networking.istio.io/v1/namespaces/shop/virtual-service/reviews"}"#;
    let whole = format!(
        "{{\"a\":200,\"b\":{{\"x\":{{\"z\":null}},\"y\":null}},{config},\"d\":\"358--\",\"e\":\"-\",\"f\":\"100%\"}}\n"
    );
    assert_eq!(line(false, 40), whole);
    assert_eq!(line(true, 39), whole.replace("358--", "358-"));
    assert_eq!(
        line(true, 40),
        format!("{{\"a\":200,{config},\"d\":\"358-\",\"e\":\"-\",\"f\":\"100%\"}}\n")
    );
}

#[test]
fn a_tcp_connection_has_no_request() {
    let text = "%REQ(:METHOD)% %PROTOCOL% %RESPONSE_CODE% %BYTES_SENT% %DURATION% %ACCESS_LOG_TYPE% \
                %COMMON_DURATION(DS_CX_BEG:DS_CX_END:us)% %REQUEST_HEADERS_BYTES%|%LOCAL_REPLY_BODY%|";
    assert_eq!(
        line_of(text, &Sample::tcp()),
        "- - 0 9880 5012 TcpConnectionEnd 5012907 0||"
    );
}

#[test]
fn lengths_count_bytes_and_cut_texts_only_in_json() {
    let mut sample = Sample::default();
    let request = sample.request.as_mut().unwrap();
    request
        .headers
        .insert("x-name".into(), HeaderValue::Many(vec!["aé\"b".into(), "no".into()]));
    let text = CompiledFormat::Text("%REQ(X-NAME):2%|%REQ(x-none?x-name):3%".into());
    assert_eq!(
        preview(&text, false, &sample, EnvoyVersion::NEWEST_KNOWN).line,
        b"a\xc3|a\xc3\xa9"
    );
    let format = serde_json::json!({"a": "%REQ(X-NAME):2%", "b": "p%REQ(X-NAME):2%é",
        "c": "%COALESCE({\"operators\":[\"RESPONSE_CODE\"]}):1%"});
    let line = json_line(format, false, &sample, EnvoyVersion::NEWEST_KNOWN);
    assert_eq!(line, "{\"a\":\"a\\u00c3\",\"b\":\"pa\\u00c3é\",\"c\":200}\n");
}

#[test]
fn coalesce_prints_the_first_value_and_since_1_40_an_empty_one_too() {
    let format = serde_json::json!({"a": r#"%COALESCE({"operators":[{"command":"REQ","param":"x"},"CUSTOM_FLAGS","PROTOCOL"]})%"#});
    let sample = Sample::default();
    for (minor, line) in [(39, "{\"a\":\"HTTP/1.1\"}\n"), (40, "{\"a\":\"\"}\n")] {
        assert_eq!(
            json_line(format.clone(), false, &sample, EnvoyVersion::new(1, minor)),
            line
        );
    }
}

#[test]
fn the_docs_list_all_that_differs_or_cannot_be_told() {
    let docs = include_str!("../../../docs/preview.md").replace('`', "");
    let differences = DIFFERENCES.iter().map(|difference| difference.what);
    for what in differences.chain(UNTELLABLE.into_iter().map(|(name, _)| name)) {
        assert!(docs.contains(what), "{what}");
    }
}

/// The requests of `tests/format/lines.rs` come without TLS: there, these print nothing.
#[test]
fn operators_of_tls_print_their_own_member_of_their_own_connection() {
    let members = [
        ("PEER_SUBJECT", "peer", "subject"),
        ("PEER_ISSUER", "peer", "issuer"),
        ("PEER_URI_SAN", "peer", "uriSans"),
        ("PEER_DNS_SAN", "peer", "dnsSans"),
        ("PEER_IP_SAN", "peer", "ipSans"),
        ("PEER_EMAIL_SAN", "peer", "emailSans"),
        ("PEER_OTHERNAME_SAN", "peer", "otherNameSans"),
        ("PEER_SERIAL", "peer", "serial"),
        ("PEER_FINGERPRINT_256", "peer", "fingerprint256"),
        ("PEER_FINGERPRINT_1", "peer", "fingerprint1"),
        ("PEER_CHAIN_FINGERPRINTS_256", "peer", "chainFingerprints256"),
        ("PEER_CHAIN_FINGERPRINTS_1", "peer", "chainFingerprints1"),
        ("PEER_CHAIN_SERIALS", "peer", "chainSerials"),
        ("PEER_ISSUER_FINGERPRINT_256", "peer", "issuerFingerprint256"),
        ("PEER_ISSUER_SERIAL", "peer", "issuerSerial"),
        ("PEER_CERT", "peer", "pem"),
        ("LOCAL_SUBJECT", "local", "subject"),
        ("LOCAL_URI_SAN", "local", "uriSans"),
        ("LOCAL_DNS_SAN", "local", "dnsSans"),
        ("LOCAL_IP_SAN", "local", "ipSans"),
        ("LOCAL_EMAIL_SAN", "local", "emailSans"),
        ("LOCAL_OTHERNAME_SAN", "local", "otherNameSans"),
    ];
    for (operator, of, member) in members {
        for (side, prefix) in [("connection", "DOWNSTREAM"), ("upstream", "UPSTREAM")] {
            let name = format!("{prefix}_{operator}");
            if table::operator(&name).is_none() {
                continue;
            }
            let listed = ["Sans", "chain"].iter().any(|list| member.contains(list));
            let value = if listed {
                serde_json::json!(["a", "b"])
            } else {
                "a,b".into()
            };
            let empty = serde_json::json!({"peer": Certificate::default(), "local": Certificate::default()});
            let mut given = serde_json::json!({"connection": {"tls": empty}, "upstream": {"tls": empty}});
            let line = |given: &Json| line_of(&format!("%{name}%"), &serde_json::from_value(given.clone()).unwrap());
            assert_eq!(line(&given), "-", "{name}");
            given[side]["tls"][of][member] = value;
            assert_eq!(line(&given), "a,b", "{name}");
        }
    }
    let dates = "%DOWNSTREAM_PEER_CERT_V_START% %DOWNSTREAM_PEER_CERT_V_END(%d.%m.)%";
    assert_eq!(line_of(dates, &Sample::default()), "2026-03-14T06:33:20.000Z 15.03.");
}
