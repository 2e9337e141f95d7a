//! The rules of the format language as a whole, through its only way in.

use proptest::prelude::*;

use super::*;

const OLDEST: EnvoyVersion = EnvoyVersion::OLDEST_SUPPORTED;

fn spec(encoding: Encoding, base: Base, fields: &[(&str, &str)], omit: &[&str]) -> FormatSpec {
    let fields = fields
        .iter()
        .map(|(name, value)| Field {
            name: (*name).into(),
            value: (*value).into(),
            nest: false,
        })
        .collect();
    FormatSpec {
        encoding,
        base,
        fields,
        omit: omit.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn text_spec(text: &str) -> FormatSpec {
    spec(Encoding::Text, Base::Text(text.to_owned()), &[], &[])
}

fn text(spec: &FormatSpec) -> String {
    match compile(spec, OLDEST).map(|compiled| compiled.format) {
        Ok(CompiledFormat::Text(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn json(spec: &FormatSpec) -> Map<String, Value> {
    match compile(spec, OLDEST).map(|compiled| compiled.format) {
        Ok(CompiledFormat::Json(map)) => map,
        other => panic!("{other:?}"),
    }
}

fn errors(spec: &FormatSpec) -> Vec<(Kind, String)> {
    let errors = compile(spec, OLDEST).expect_err("must not compile");
    errors.iter().map(|error| (error.kind, error.path.clone())).collect()
}

const ISTIO: Base = Base::Preset(Preset::Istio);
const ENVOY: Base = Base::Preset(Preset::Envoy);

const ALL_TRAFFIC: [Traffic; 3] = [Traffic::Both, Traffic::Http, Traffic::Tcp];

/// The encodings that a preset has.
fn encodings(preset: Preset) -> &'static [Encoding] {
    if preset.has_text() {
        &[Encoding::Text, Encoding::Json]
    } else {
        &[Encoding::Json]
    }
}

#[test]
fn presets_compile_for_every_supported_proxy_and_all_traffic_without_a_warning() {
    for preset in Preset::ALL {
        let dialect = match preset {
            Preset::Kuma => Dialect::Kuma(KumaVersion::OLDEST_SUPPORTED),
            _ => Dialect::Istio,
        };
        for encoding in encodings(preset) {
            for (minor, traffic) in (36..=40).flat_map(|minor| ALL_TRAFFIC.map(|traffic| (minor, traffic))) {
                let spec = spec(*encoding, Base::Preset(preset), &[], &[]);
                let setting = Setting::new(dialect, EnvoyVersion::new(1, minor)).with(traffic);
                let compiled = compile(&spec, setting).expect("a preset");
                assert_eq!(compiled.warnings, []);
            }
        }
    }
}

#[test]
fn a_form_for_tcp_has_no_operator_that_is_silent_there() {
    for preset in Preset::ALL.into_iter().filter(|preset| preset.has_tcp_form()) {
        let spec = spec(Encoding::Json, Base::Preset(preset), &[], &[]);
        let setting = Setting::from(OLDEST);
        let format = |traffic| compile(&spec, setting.with(traffic)).expect("a preset").format;
        assert_eq!(http_operators(&format(Traffic::Tcp)), [""; 0], "{preset:?}");
        assert_ne!(http_operators(&format(Traffic::Http)), [""; 0], "{preset:?}");
        assert_eq!(format(Traffic::Both), format(Traffic::Http), "{preset:?}");
    }
}

#[test]
fn presets_of_names_have_no_text_and_the_error_says_what_to_set() {
    for (preset, name) in [(Preset::Ecs, "ECS"), (Preset::OpenTelemetry, "OpenTelemetry")] {
        let error = compile(&spec(Encoding::Text, Base::Preset(preset), &[], &[]), OLDEST).expect_err("no text");
        assert_eq!(
            error.to_string(),
            format!("preset: the preset {name} has no text: it is names for values; set the encoding JSON")
        );
    }
}

#[test]
fn names_with_dots_are_the_names_of_attributes_and_a_nested_field_of_that_name_replaces_one() {
    let ecs = || Base::Preset(Preset::Ecs);
    let OtlpFormat::Attributes(attributes) = otlp_attributes(&CompiledFormat::Json(json(&spec(
        Encoding::Json,
        ecs(),
        &[],
        &["event.duration"],
    )))) else {
        unreachable!()
    };
    assert_eq!(attributes["http.request.method"], "%REQ(:METHOD)%");
    assert!(!attributes.contains_key("event.duration"));
    let map = json(&nested(ecs(), &[("url.path", "%PATH(NQ):9%"), ("url.query", "-")], &[]));
    assert!(!map.contains_key("url.path"));
    assert_eq!(map["url"], serde_json::json!({"path": "%PATH(NQ):9%", "query": "-"}));
}

#[test]
fn omit_may_name_a_field_of_the_presets_other_form() {
    let spec = spec(Encoding::Text, Base::Preset(Preset::Kuma), &[], &["user_agent"]);
    let kuma = Setting::new(Dialect::Kuma(KumaVersion::OLDEST_SUPPORTED), OLDEST);
    for traffic in ALL_TRAFFIC {
        assert!(compile(&spec, kuma.with(traffic)).is_ok(), "{traffic:?}");
    }
}

fn warnings(spec: &FormatSpec, setting: impl Into<Setting>) -> Vec<(Kind, String)> {
    let compiled = compile(spec, setting).expect("warnings only");
    let warnings = compiled.warnings.iter();
    warnings.map(|warning| (warning.kind, warning.path.clone())).collect()
}

#[test]
fn what_only_kuma_knows_keeps_its_place_in_a_text_of_another_mesh_and_is_left_out_of_json() {
    let kuma = |encoding, omit: &[&str]| spec(encoding, Base::Preset(Preset::Kuma), &[], omit);
    let line = text(&kuma(Encoding::Text, &[]));
    assert!(
        line.starts_with("[%START_TIME%] %ENVIRONMENT(ISTIO_META_MESH_ID)% \"%REQ(:METHOD)% "),
        "{line}"
    );
    assert!(
        line.ends_with(" \"-\" \"-\" \"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\" \"%UPSTREAM_HOST%\"\n"),
        "{line}"
    );
    let map = json(&kuma(Encoding::Json, &[]));
    assert!(!map.contains_key("source_service") && !map.contains_key("destination_service"));
    assert_eq!(map["mesh"], "%ENVIRONMENT(ISTIO_META_MESH_ID)%");
    let lost = ["preset[source_service]", "preset[destination_service]"];
    for encoding in [Encoding::Text, Encoding::Json] {
        let expected = lost.map(|path| (Kind::NotExpressible, path.to_owned()));
        assert_eq!(warnings(&kuma(encoding, &[]), OLDEST), expected);
        let without = kuma(encoding, &["source_service", "destination_service"]);
        assert_eq!(warnings(&without, OLDEST), []);
    }
    let compiled = compile(&kuma(Encoding::Text, &["destination_service"]), OLDEST).expect("warnings only");
    assert_eq!(
        compiled.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "preset[source_service]: only Kuma knows `%KUMA_SOURCE_SERVICE%`, and nothing means the same in this mesh: `-` \
          stands in its place; write `source_service` in `omit`"
        ]
    );
}

#[test]
fn kumas_operators_are_for_meshes_of_kuma_and_the_error_says_what_to_write_elsewhere() {
    let spec = text_spec("%KUMA_MESH% %KUMA_SOURCE_SERVICE%");
    let kuma = Setting::new(Dialect::Kuma(KumaVersion::new(2, 13)), OLDEST);
    assert_eq!(warnings(&spec, kuma), []);
    let error = compile(&spec, OLDEST).expect_err("a mesh of Istio");
    let helps: Vec<&str> = error.iter().map(|error| error.help.as_str()).collect();
    assert_eq!(
        helps,
        [
            "write `%ENVIRONMENT(ISTIO_META_MESH_ID)%`",
            "leave it out, or use it in a mesh of type Kuma"
        ]
    );
    let zone = compile(&text_spec("%KUMA_ZONE%"), kuma).expect_err("2.14 brought it");
    assert_eq!(zone.iter().map(|error| error.kind).collect::<Vec<_>>(), [Kind::TooNew]);
    assert!(!zone.is_unsupported(), "no newer Envoy helps");
    let stray = compile(&text_spec("%%KUMA_MESH%%"), kuma).expect_err("Kuma replaces it all the same");
    assert!(
        stray.to_string().starts_with("text, character 2, `%KUMA_MESH%`"),
        "{stray}"
    );
    assert!(compile(&text_spec("%%KUMA_MESH%%"), OLDEST).is_ok());
}

#[test]
fn an_operator_whose_extension_only_istiod_adds_is_refused_elsewhere() {
    let spec = text_spec("%REQ_WITHOUT_QUERY(:PATH):9%");
    for (dialect, accepted) in [
        (Dialect::Istio, true),
        (Dialect::Envoy, false),
        (Dialect::Kuma(KumaVersion::OLDEST_SUPPORTED), false),
    ] {
        let compiled = compile(&spec, Setting::new(dialect, OLDEST));
        assert_eq!(compiled.is_ok(), accepted, "{dialect:?}");
    }
}

#[test]
fn a_field_that_takes_the_place_of_the_presets_is_pointed_out_in_json() {
    let fields = [("path", "%PATH(NQ):9%"), ("paths", "x")];
    let overwritten = [(Kind::Overwrites, "fields[path].name".to_owned())];
    assert_eq!(
        warnings(&spec(Encoding::Json, ISTIO, &fields, &[]), OLDEST),
        overwritten
    );
    assert_eq!(
        warnings(&spec(Encoding::Text, ISTIO, &fields, &[]), OLDEST),
        [],
        "it is added"
    );
    assert_eq!(warnings(&spec(Encoding::Json, ISTIO, &fields[1..], &[]), OLDEST), []);
}

#[test]
fn what_a_user_wrote_is_judged_and_what_a_preset_holds_is_not_but_for_defects() {
    let fields = [("a", "%REQ(X-A)%"), ("b", "%REQ(COOKIE)%"), ("c", "%PROTOCOL%")];
    let setting = Setting::from(OLDEST).with(Traffic::Tcp);
    let always_empty = |field: &str| (Kind::AlwaysEmpty, format!("fields[{field}].value"));
    assert_eq!(
        warnings(&spec(Encoding::Json, ISTIO, &fields, &[]), setting),
        [
            always_empty("a"),
            (Kind::Unbounded, "fields[a].value".to_owned()),
            always_empty("b"),
            (Kind::Secret, "fields[b].value".to_owned()),
            always_empty("c"),
        ]
    );
    let old = warnings(
        &spec(Encoding::Json, ISTIO, &[], &["upstream_cluster"]),
        EnvoyVersion::new(1, 31),
    );
    assert_eq!(old, [(Kind::KnownDefect, "preset[requested_server_name]".to_owned())]);
    assert_eq!(
        warnings(&text_spec(r#"{"a": "%DURATION%"}"#), OLDEST),
        [(Kind::TextLikeJson, "text".to_owned())]
    );
}

#[test]
fn a_preset_with_an_operator_that_the_oldest_proxy_lacks_is_refused_and_names_it() {
    let spec = spec(Encoding::Text, ISTIO, &[], &[]);
    let error = compile(&spec, EnvoyVersion::new(1, 30)).expect_err("1.30 has no UPSTREAM_CLUSTER_RAW");
    assert!(error.to_string().starts_with("preset[upstream_cluster]"), "{error}");
    let without = FormatSpec {
        omit: vec!["upstream_cluster".to_owned()],
        ..spec
    };
    assert!(compile(&without, EnvoyVersion::new(1, 30)).is_ok());
}

#[test]
fn a_text_ends_with_a_newline_of_its_own_or_gets_one() {
    assert_eq!(text(&text_spec("%PROTOCOL%")), "%PROTOCOL%\n");
    assert_eq!(text(&text_spec("%PROTOCOL%\n")), "%PROTOCOL%\n");
    assert_eq!(text(&text_spec("%PROTOCOL%\n\n")), "%PROTOCOL%\n\n");
    assert!(text(&spec(Encoding::Text, ENVOY, &[], &[])).ends_with("\"%UPSTREAM_HOST%\"\n"));
}

#[test]
fn text_fields_stand_before_the_newline() {
    let fields = [("tenant", "%REQ(X-TENANT)%"), ("note", "100%%")];
    let compiled = text(&spec(Encoding::Text, ISTIO, &fields, &[]));
    assert!(
        compiled.ends_with(" %ROUTE_NAME% tenant=%REQ(X-TENANT)% note=100%%\n"),
        "{compiled}"
    );
}

#[test]
fn omit_takes_the_fields_of_a_preset_away_in_both_encodings() {
    let omit = ["user_agent", "method"];
    let line = text(&spec(Encoding::Text, ISTIO, &[], &omit));
    assert!(
        line.starts_with("[%START_TIME%] \"%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" "),
        "{line}"
    );
    assert!(
        line.contains("\"%REQ(X-FORWARDED-FOR)%\" \"%REQ(X-REQUEST-ID)%\""),
        "{line}"
    );
    let map = json(&spec(Encoding::Json, ISTIO, &[], &omit));
    assert_eq!(map.len(), 22);
    assert!(!map.contains_key("user_agent") && !map.contains_key("method"));
}

#[test]
fn a_json_field_with_the_name_of_the_presets_replaces_it_in_its_place() {
    let plain = json(&spec(Encoding::Json, ISTIO, &[], &[]));
    let fields = [("path", "%PATH(NQ)%"), ("tenant", "t-%REQ(X-TENANT)%")];
    let map = json(&spec(Encoding::Json, ISTIO, &fields, &[]));
    let keys: Vec<_> = plain.keys().map(String::as_str).chain(["tenant"]).collect();
    assert_eq!(map.keys().collect::<Vec<_>>(), keys);
    assert_eq!(
        (&map["path"], &map["tenant"]),
        (&Value::from("%PATH(NQ)%"), &Value::from("t-%REQ(X-TENANT)%"))
    );
}

#[test]
fn a_replaced_field_need_not_be_known_to_the_oldest_proxy() {
    let spec = spec(
        Encoding::Json,
        ISTIO,
        &[("upstream_cluster", "%UPSTREAM_CLUSTER%")],
        &[],
    );
    assert!(compile(&spec, EnvoyVersion::new(1, 30)).is_ok());
}

#[test]
fn fields_alone_are_a_json_format() {
    let map = json(&spec(Encoding::Json, Base::Empty, &[("a b.c=", "x")], &[]));
    assert_eq!(Value::Object(map), serde_json::json!({"a b.c=": "x"}));
}

#[test]
fn members_that_do_not_go_together_are_refused() {
    let own = || Base::Text("%PROTOCOL%".to_owned());
    for (spec, kind, path) in [
        (
            spec(Encoding::Text, own(), &[("a", "b")], &[]),
            Kind::Conflict,
            "fields",
        ),
        (spec(Encoding::Text, own(), &[], &["path"]), Kind::Conflict, "omit"),
        (spec(Encoding::Json, own(), &[], &[]), Kind::Conflict, "text"),
        (
            spec(Encoding::Text, Base::Empty, &[("a", "b")], &[]),
            Kind::Empty,
            "text",
        ),
        (
            spec(Encoding::Json, ISTIO, &[("path", "b")], &["path"]),
            Kind::Conflict,
            "omit[path]",
        ),
        (
            spec(Encoding::Json, Base::Empty, &[("a", "b")], &["path"]),
            Kind::UnknownField,
            "omit[path]",
        ),
    ] {
        assert_eq!(errors(&spec), [(kind, path.to_owned())], "{spec:?}");
    }
}

#[test]
fn a_format_that_prints_nothing_is_refused_because_istio_would_take_its_default() {
    assert_eq!(errors(&text_spec("")), [(Kind::Empty, "text".to_owned())]);
    assert_eq!(
        errors(&spec(Encoding::Json, Base::Empty, &[], &[])),
        [(Kind::Empty, "fields".to_owned())]
    );
    let all: Vec<&str> = Preset::Envoy.field_names().collect();
    for encoding in [Encoding::Text, Encoding::Json] {
        assert_eq!(
            errors(&spec(encoding, ENVOY, &[], &all)),
            [(Kind::Empty, "omit".to_owned())]
        );
    }
    assert_eq!(text(&spec(Encoding::Text, ENVOY, &[("a", "b")], &all)), "a=b\n");
}

#[test]
fn an_unknown_name_in_omit_is_refused_with_the_nearest() {
    let error = compile(&spec(Encoding::Text, ISTIO, &[], &["user_agnt"]), OLDEST).expect_err("no such field");
    assert_eq!(
        error.to_string(),
        "omit[user_agnt], character 1, `user_agnt`: the preset Istio has no field `user_agnt`; did you mean `user_agent`?"
    );
}

#[test]
fn field_names_are_not_empty_given_once_and_in_text_one_word() {
    let names = |encoding, fields: &[(&str, &str)]| errors(&spec(encoding, ENVOY, fields, &[]));
    for encoding in [Encoding::Text, Encoding::Json] {
        assert_eq!(
            names(encoding, &[("", "x")]),
            [(Kind::InvalidField, "fields[].name".to_owned())]
        );
        assert_eq!(
            names(encoding, &[("a", "x"), ("a", "y")]),
            [(Kind::InvalidField, "fields[a].name".to_owned())]
        );
    }
    for name in ["a b", "a=b", "a%b", "a\nb"] {
        assert_eq!(
            names(Encoding::Text, &[(name, "x")]),
            [(Kind::InvalidField, format!("fields[{name}].name"))]
        );
        assert_eq!(json(&spec(Encoding::Json, Base::Empty, &[(name, "x")], &[])).len(), 1);
    }
    assert_eq!(
        names(Encoding::Text, &[("a", "x\ny")]),
        [(Kind::InvalidField, "fields[a].value".to_owned())]
    );
}

#[test]
fn errors_and_warnings_carry_the_path_of_the_field() {
    let fields = [("tenant", "é%REQ%"), ("x", "%REQ(?)%")];
    let error = compile(&spec(Encoding::Json, Base::Empty, &fields, &[]), OLDEST).expect_err("REQ needs a header");
    let first = error.iter().next().expect("one");
    assert_eq!(
        (first.path.as_str(), first.span.clone(), first.character),
        ("fields[tenant].value", 2..7, 2)
    );
    let compiled = compile(&spec(Encoding::Json, Base::Empty, &fields[1..], &[]), OLDEST).expect("a warning only");
    assert_eq!(
        compiled.warnings.iter().map(|w| w.path.as_str()).collect::<Vec<_>>(),
        ["fields[x].value"]
    );
}

fn nested(base: Base, fields: &[(&str, &str)], omit: &[&str]) -> FormatSpec {
    let mut spec = spec(Encoding::Json, base, fields, omit);
    for field in &mut spec.fields {
        field.nest = true;
    }
    spec
}

#[test]
fn nested_names_make_objects_and_other_names_keep_their_dots() {
    let mut spec = nested(
        Base::Empty,
        &[
            ("http.status", "%RESPONSE_CODE%"),
            ("k8s.pod", "%HOSTNAME%"),
            ("http.req.path", "%PATH%"),
            ("plain", "x"),
        ],
        &[],
    );
    spec.fields.push(Field {
        name: "http.flat".to_owned(),
        value: "y".to_owned(),
        nest: false,
    });
    let expected = serde_json::json!({
        "http": {"status": "%RESPONSE_CODE%", "req": {"path": "%PATH%"}},
        "k8s": {"pod": "%HOSTNAME%"},
        "plain": "x",
        "http.flat": "y",
    });
    assert_eq!(Value::Object(json(&spec)), expected);
}

#[test]
fn a_name_is_of_a_value_or_of_an_object_and_the_error_names_both() {
    for (fields, path) in [
        ([("a", "x"), ("a.b", "y")], "fields[a.b].name"),
        ([("a.b", "x"), ("a", "y")], "fields[a].name"),
        ([("a.b.c.d", "x"), ("a.b", "y")], "fields[a.b].name"),
    ] {
        let spec = nested(Base::Empty, &fields, &[]);
        assert_eq!(errors(&spec), [(Kind::Conflict, path.to_owned())]);
        let error = compile(&spec, OLDEST).expect_err("a conflict").to_string();
        assert!(
            fields.iter().all(|(name, _)| error.contains(&format!("`{name}`"))),
            "{error}"
        );
    }
    assert_eq!(
        errors(&nested(Base::Empty, &[("a.b", "x"), ("a.b", "y")], &[])),
        [(Kind::InvalidField, "fields[a.b].name".to_owned())]
    );
    assert!(
        compile(
            &nested(Base::Empty, &[("a.b", "x"), ("a.bc", "y"), ("ab", "z")], &[]),
            OLDEST
        )
        .is_ok()
    );
}

#[test]
fn a_nested_field_is_inside_a_field_of_the_preset_only_where_that_is_omitted() {
    let fields = [("path.raw", "%PATH%")];
    let error = compile(&nested(ISTIO, &fields, &[]), OLDEST).expect_err("a conflict");
    assert_eq!(
        error.to_string(),
        "fields[path.raw].name, character 1, `path.raw`: `path` is a field of the preset, so `path.raw` cannot be inside \
         it; rename the field, or write `path` in `omit`"
    );
    let map = json(&nested(ISTIO, &fields, &["path"]));
    assert_eq!(map["path"], serde_json::json!({"raw": "%PATH%"}));
}

#[test]
fn a_nested_field_is_omitted_by_its_whole_name_or_not_at_all() {
    let fields = [("a.b", "x")];
    assert_eq!(
        errors(&nested(ISTIO, &fields, &["a.b"])),
        [(Kind::Conflict, "omit[a.b]".to_owned())]
    );
    assert_eq!(
        errors(&nested(ISTIO, &fields, &["a"])),
        [(Kind::UnknownField, "omit[a]".to_owned())]
    );
}

#[test]
fn every_part_of_a_nested_name_is_named_and_their_number_is_bounded() {
    for (name, at) in [("a..b", 3), (".a", 1), ("a.", 2), (".", 1)] {
        let error = compile(&nested(Base::Empty, &[(name, "x")], &[]), OLDEST).expect_err("an empty part");
        let found: Vec<_> = error
            .iter()
            .map(|e| (e.kind, e.character, e.excerpt.as_str()))
            .collect();
        assert_eq!(found, [(Kind::InvalidField, at, ".")], "{name}");
    }
    let deep = |parts: usize| vec!["a"; parts].join(".");
    assert!(compile(&nested(Base::Empty, &[(&deep(16), "x")], &[]), OLDEST).is_ok());
    for parts in [17, 100_000] {
        let spec = nested(Base::Empty, &[(&deep(parts), "x")], &[]);
        let kinds: Vec<_> = errors(&spec).into_iter().map(|(kind, _)| kind).collect();
        assert!(kinds.contains(&Kind::InvalidField), "{parts}");
    }
}

#[test]
fn a_text_has_no_nested_fields() {
    let mut spec = nested(ISTIO, &[("a.b", "x")], &[]);
    spec.encoding = Encoding::Text;
    assert_eq!(errors(&spec), [(Kind::InvalidField, "fields[a.b].nest".to_owned())]);
}

#[test]
fn an_operator_whose_extension_istiod_adds_is_refused_where_istiod_does_not_look_for_it() {
    let fields = |name| [(name, "%REQ_WITHOUT_QUERY(:PATH)%")];
    assert_eq!(
        errors(&nested(Base::Empty, &fields("a.b"), &[])),
        [(Kind::NotAvailable, "fields[a.b].value".to_owned())]
    );
    assert!(compile(&nested(Base::Empty, &fields("a"), &[]), OLDEST).is_ok());
    assert!(compile(&spec(Encoding::Json, Base::Empty, &fields("a.b"), &[]), OLDEST).is_ok());
}

#[test]
fn errors_are_about_the_version_only_where_a_supported_envoy_takes_the_whole_format() {
    let needs = |text: &str, oldest| {
        let error = compile(&text_spec(text), oldest).expect_err("must not compile");
        assert_eq!(error.is_unsupported(), error.needs().is_some());
        error.needs().map(|version| version.to_string())
    };
    assert_eq!(needs("%SPAN_ID%", OLDEST).as_deref(), Some("1.38"));
    assert_eq!(
        needs("%REQUEST_HEADER(X)% %UPSTREAM_SERVER_NAME% %SPAN_ID%", OLDEST).as_deref(),
        Some("1.39"),
        "the newest of all"
    );
    assert_eq!(
        needs("%UPSTREAM_CLUSTER_RAW%", EnvoyVersion::new(1, 30)).as_deref(),
        Some("1.36"),
        "no version that is not supported"
    );
    for wrong in [
        "%SPAN_ID% %REQQ%",
        "%SPAN_ID% 100% ok",
        "%REQUEST_HEADER%",
        "%SPAN_ID(x)%",
        "%SECRET(x)%",
    ] {
        assert_eq!(needs(wrong, OLDEST), None, "{wrong}");
    }
    let fields = [("a", "%SPAN_ID%"), ("a.b", "x")];
    let error = compile(&nested(Base::Empty, &fields, &[]), OLDEST).expect_err("too new, and a conflict");
    assert!(!error.is_unsupported());
}

#[test]
fn the_text_of_a_tag_is_not_empty_and_gets_no_newline() {
    let error = check_text("", OLDEST).expect_err("Istio refuses it");
    assert_eq!(error.iter().map(|e| e.kind).collect::<Vec<_>>(), [Kind::Empty]);
    assert_eq!(check_text("%REQUESTED_SERVER_NAME% 100%%", OLDEST), Ok(()));
}

#[test]
fn the_text_of_a_tag_is_checked_for_the_proxies_that_get_it() {
    assert_eq!(
        check_text("%REQUEST_HEADER(X)%", OLDEST),
        Ok(()),
        "1.36 has no such tags"
    );
    let error = check_text("%SPAN_ID%", OLDEST).expect_err("1.37 lacks it");
    assert_eq!(error.needs(), Some(EnvoyVersion::new(1, 38)));
    assert!(error.to_string().contains("the oldest proxy is 1.37"), "{error}");
}

/// Envoy 1.37.0 and 1.40.0 said the same of tags, but for the operator of an extension that tags do not have.
#[test]
fn a_tag_takes_what_an_access_log_takes_but_for_the_operator_of_an_extension() {
    for (string, by_version) in verdicts() {
        if string.is_empty() {
            continue; // Envoy takes it for a tag; Istio does not.
        }
        for (version, verdict) in by_version {
            if version < TAG_TEXT_SINCE {
                continue;
            }
            let accepted = verdict == "ok" && !string.replace("%%", "").contains("%REQ_WITHOUT_QUERY");
            let ours = check_text(&string, version);
            assert_eq!(ours.is_ok(), accepted, "{string:?} on {version}: {ours:?}");
        }
    }
}

/// The strings of `testdata/envoy-verdicts.tsv`, with what each Envoy version said as the format of a file access log:
/// `ok`, `no`, or `crash` (the process died on reading the configuration). `tests/format` makes the record.
fn verdicts() -> Vec<(String, Vec<(EnvoyVersion, &'static str)>)> {
    let mut lines = include_str!("testdata/envoy-verdicts.tsv").lines();
    let header = lines.next().expect("a header");
    let versions = EnvoyVersion::of_verdicts(header);
    lines
        .map(|line| {
            let mut cells = line.split('\t');
            let escaped = cells.next().expect("a string");
            let mut string = String::new();
            let mut chars = escaped.chars();
            while let Some(c) = chars.next() {
                string.push(match (c, c == '\\') {
                    (_, true) => match chars.next() {
                        Some('n') => '\n',
                        Some('r') => '\r',
                        Some('t') => '\t',
                        Some('\\') => '\\',
                        other => panic!("{line}: {other:?}"),
                    },
                    (c, false) => c,
                });
            }
            let verdicts: Vec<_> = versions.iter().copied().zip(cells).collect();
            assert_eq!(verdicts.len(), versions.len(), "{line}");
            (string, verdicts)
        })
        .collect()
}

#[test]
fn a_line_of_envoys_own_configuration_is_judged_as_that_envoy_judges_it() {
    for (string, by_version) in verdicts() {
        for (version, verdict) in by_version {
            let judged = judge(&string, Form::Line, Setting::new(Dialect::Envoy, version), true);
            assert_eq!(
                judged.errors.is_empty(),
                verdict == "ok",
                "{string:?} on {version}: {judged:?}"
            );
        }
    }
}

#[test]
fn of_thousands_of_errors_some_are_reported_and_none_is_hidden_by_warnings() {
    let errors = compile(&text_spec(&"%NOPE%".repeat(1000)), OLDEST).expect_err("no such operator");
    assert_eq!(errors.iter().count(), 64);
    let warnings_first = "%REQ(?)%".repeat(1000) + "%NOPE%";
    let errors = compile(&text_spec(&warnings_first), OLDEST).expect_err("no such operator");
    assert_eq!(
        errors.iter().map(|error| error.kind).collect::<Vec<_>>(),
        [Kind::UnknownOperator]
    );
}

#[test]
fn a_json_format_is_checked_at_any_depth_and_its_errors_lead_to_the_value() {
    let check = |value: Value| match value {
        Value::Object(fields) => {
            check_json(&fields, OLDEST).map_err(|e| e.iter().map(|e| e.path.clone()).collect::<Vec<_>>())
        }
        other => panic!("{other}"),
    };
    let taken = serde_json::json!({"a": {"b": ["%PROTOCOL%", 1, true, null, "%%"]}, "%NOPE%": 1});
    assert_eq!(check(taken), Ok(Vec::new()));
    let wrong = serde_json::json!({"a": "%NOPE%", "b": {"c": [1, ["100% x"]]}});
    assert_eq!(check(wrong), Err(vec!["a".to_owned(), "b.c[1][0]".to_owned()]));
}

#[test]
fn an_extension_that_one_of_the_outermost_strings_asks_for_is_there_for_all() {
    let nested = serde_json::json!({"a": ["%REQ_WITHOUT_QUERY(X)%"], "b": ""});
    let Value::Object(mut fields) = nested else {
        unreachable!()
    };
    assert!(check_json(&fields, OLDEST).is_err());
    fields.insert("b".to_owned(), "%REQ_WITHOUT_QUERY(X)%".into());
    assert_eq!(check_json(&fields, OLDEST), Ok(Vec::new()));
}

#[test]
fn the_position_at_which_envoy_stops_is_that_of_the_operators_percent_sign() {
    for (text, position) in [
        ("100% ok", Some(3)),
        ("é%REQ(X)Y%", Some(2)),
        ("%NOPE% %PROTOCOL", Some(7)),
        ("%NOPE%", None),
        ("100%%", None),
    ] {
        assert_eq!(unreadable_at(text), position, "{text}");
    }
}

#[test]
fn every_string_is_accepted_exactly_where_the_real_envoy_accepts_it() {
    let mut compared = 0;
    let mut wrong = Vec::new();
    for (string, by_version) in verdicts() {
        for (version, verdict) in by_version {
            let accepted = match verdict {
                "ok" => true,
                "no" | "crash" => false,
                other => panic!("{string}: {other}"),
            };
            compared += 1;
            let ours = compile(&text_spec(&string), version);
            if ours.is_ok() != accepted {
                wrong.push(format!(
                    "{string:?} on {version}: Envoy says {verdict}, we say {:?}",
                    ours.map(|_| "ok")
                ));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "{} of {compared}", wrong.len());
    assert!(compared > 25_000, "only {compared} verdicts were compared");
}

proptest! {
    #[test]
    fn any_text_compiles_or_is_refused_with_places_inside_it(
        source in "\\PC{0,40}|([%():0-9A-Z_a?\n{}\"]|%%|%REQ\\(|%COALESCE\\(|%START_TIME\\(|%FILTER_STATE\\(|é|\\)%|:5%){0,24}",
        minor in 30_u16..42,
    ) {
        match compile(&text_spec(&source), EnvoyVersion::new(1, minor)) {
            Ok(compiled) => prop_assert!(matches!(compiled.format, CompiledFormat::Text(text) if text.starts_with(&source))),
            Err(errors) => for error in errors.iter() {
                prop_assert!(source.get(error.span.clone()).is_some(), "{:?}", error);
                prop_assert!(!error.to_string().contains('\n'), "{}", error);
            },
        }
    }

    /// Some hundred operators, so that what is bounded (how many errors are reported) is the same in both.
    #[test]
    fn a_text_of_twice_the_length_is_at_most_twice_the_work(
        piece in "([ a\n]|%%|%REQ\\(X\\)%|%RQE\\(X\\)%|%START_TIME\\(%%0n\\)%|%COALESCE\\([{}]\\)%|%REQ%|%COMMON_DURATION\\(a:b\\)%){1,4}",
        times in 200_usize..400,
    ) {
        let work = |times: usize| {
            let spec = text_spec(&piece.repeat(times));
            steps::of(|| drop(compile(&spec, OLDEST)))
        };
        let (once, twice) = (work(times), work(2 * times));
        prop_assert!(twice <= 2 * once + 100, "{} and {} steps", once, twice);
    }

    #[test]
    fn of_nested_fields_that_compile_each_is_one_attribute_under_its_whole_name(
        names in proptest::collection::vec("[ab](\\.[ab]){0,2}|\\.?a\\.?", 1..5),
    ) {
        let fields: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
        if let Ok(compiled) = compile(&nested(Base::Empty, &fields, &[]), OLDEST) {
            let attributes = names.iter().map(|name| (name.clone(), name.clone())).collect();
            prop_assert_eq!(otlp_attributes(&compiled.format), OtlpFormat::Attributes(attributes));
        }
    }

    #[test]
    fn a_text_that_compiles_has_fields_that_compile_with_the_same_operators(
        parts in proptest::collection::vec("[a-z]{0,3}[=: ]?\"?%(PROTOCOL|REQ\\([A-Z?:]{1,4}\\)|DURATION|CEL\\(1\\))(:5)?%", 1..6),
    ) {
        let text = parts.concat();
        if compile(&text_spec(&text), OLDEST).is_ok() {
            let fields = text_to_fields(&text).expect("readable").value;
            let spec = FormatSpec { fields, ..spec(Encoding::Json, Base::Empty, &[], &[]) };
            let map = compile(&spec, OLDEST).map(|compiled| compiled.format);
            prop_assert!(matches!(&map, Ok(CompiledFormat::Json(map)) if map.len() == parts.len()), "{:?}", map);
            for (field, part) in spec.fields.iter().zip(&parts) {
                prop_assert!(part.ends_with(&field.value), "{:?} of {}", field, part);
            }
        }
    }

    #[test]
    fn compiling_twice_gives_the_same(name in "[a-z ]{0,6}", value in "[%A-Z()]{0,8}", omit in "[a-z_]{0,8}") {
        for encoding in [Encoding::Text, Encoding::Json] {
            let spec = spec(encoding, ISTIO, &[(&name, &value)], &[&omit]);
            prop_assert_eq!(compile(&spec, OLDEST), compile(&spec, OLDEST));
        }
    }
}
