use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::snapshot::mesh_config;

fn provider(name: &str) -> (String, Value) {
    let name = format!("sightline-{name}");
    let entry =
        json!({"name": name, "envoyFileAccessLog": {"path": "/dev/stdout", "logFormat": {"text": "%DURATION%\n"}}});
    (name, entry)
}

fn providers(names: &[&str]) -> BTreeMap<String, Value> {
    names.iter().map(|name| provider(name)).collect()
}

/// The entry of [`provider`], indented, without its last newline.
fn entry(name: &str, column: usize) -> String {
    let lines = [
        format!("- name: sightline-{name}"),
        "  envoyFileAccessLog:".to_owned(),
        "    path: /dev/stdout".to_owned(),
        "    logFormat:".to_owned(),
        "      text: \"%DURATION%\\n\"".to_owned(),
    ];
    lines.map(|line| format!("{:column$}{line}", "")).join("\n")
}

fn flow_entry(name: &str) -> String {
    provider(name).1.to_string()
}

/// Puts `a` and `b` in, sees that exactly this is the result, and takes them out again.
#[track_caller]
fn there_and_back(text: &str, expected: &str) {
    let wanted = providers(&["a", "b"]);
    let with = splice(text, &wanted).unwrap();
    assert_eq!(with, expected, "\n{with}");
    assert_eq!(splice(&with, &wanted).unwrap(), with, "once more is no change");
    let read = mesh_config::read(&json!({"data": {"mesh": with}})).unwrap().unwrap();
    let ours = read.providers.into_iter().filter(|(name, _)| name.starts_with(PREFIX));
    assert_eq!(ours.collect::<BTreeMap<_, _>>(), wanted);
    let one = splice(&with, &providers(&["b"])).unwrap();
    assert_eq!(
        one,
        splice(text, &providers(&["b"])).unwrap(),
        "what is left does not tell how it came about"
    );
    assert_eq!(splice(&one, &BTreeMap::new()).unwrap(), text);
    assert_eq!(splice(&with, &BTreeMap::new()).unwrap(), text);
}

/// As [`there_and_back`]; `{}` stands for our entries, indented by `column`.
#[track_caller]
fn block(text: &str, expected: &str, column: usize) {
    let ours = format!("{}\n{}", entry("a", column), entry("b", column));
    there_and_back(text, &expected.replace("{}", &ours));
}

#[test]
fn the_key_is_made_where_it_is_missing_and_goes_with_the_last_entry() {
    // What Helm makes of the istiod chart: `mesh: |-`, so there is no newline at the end.
    let helm = "defaultConfig:\n  discoveryAddress: istiod.istio-system.svc:15012\ndefaultProviders:\n  metrics:\n  - prometheus\nenablePrometheusMerge: true\nrootNamespace: istio-system\ntrustDomain: cluster.local";
    block(
        helm,
        &format!("{helm}\nextensionProviders: # added by sightline\n{{}}"),
        0,
    );
    block("a: b\n", "a: b\nextensionProviders: # added by sightline\n{}\n", 0);
    block("", "extensionProviders: # added by sightline\n{}\n", 0);
    block("# one\n", "# one\nextensionProviders: # added by sightline\n{}\n", 0);
    block("# one", "# one\nextensionProviders: # added by sightline\n{}", 0);
    block("---\n", "---\nextensionProviders: # added by sightline\n{}\n", 0);
    block(
        "a: b\n\n# end\n\n",
        "a: b\n\n# end\n\nextensionProviders: # added by sightline\n{}\n",
        0,
    );
    block(
        "  a: b\n  c:\n",
        "  a: b\n  c:\n  extensionProviders: # added by sightline\n{}\n",
        2,
    );
    block(
        "%YAML 1.1\n---\na: b\n...\n# after\n",
        "%YAML 1.1\n---\na: b\nextensionProviders: # added by sightline\n{}\n...\n# after\n",
        0,
    );
    block(
        "a: |+\n  x\n\n",
        "a: |+\n  x\n\nextensionProviders: # added by sightline\n{}\n",
        0,
    );
}

#[test]
fn entries_follow_those_of_others_in_their_indentation() {
    block(
        "extensionProviders:\n- name: x\n  zipkin: {port: 1}\ntrustDomain: y\n",
        "extensionProviders:\n- name: x\n  zipkin: {port: 1}\n{}\ntrustDomain: y\n",
        0,
    );
    block(
        "\"extensionProviders\":   # those\n\n    # x\n    -   name: 'x' # is x\n        zipkin: {port: 1}\n\n# y\ntrustDomain: y",
        "\"extensionProviders\":   # those\n\n    # x\n    -   name: 'x' # is x\n        zipkin: {port: 1}\n{}\n\n# y\ntrustDomain: y",
        4,
    );
    block(
        "extensionProviders:\n- name: x",
        "extensionProviders:\n- name: x\n{}",
        0,
    );
    block(
        "a: &x one\nextensionProviders: &e\n- name: *x\n- &y {name: w}\nz: *y\n",
        "a: &x one\nextensionProviders: &e\n- name: *x\n- &y {name: w}\n{}\nz: *y\n",
        0,
    );
}

#[test]
fn comments_that_are_indented_below_the_list_stay_with_what_they_speak_of() {
    block(
        "extensionProviders:\n  - name: x\n    # port: 1\n  # - name: y\n# trust\ntrustDomain: y\n",
        "extensionProviders:\n  - name: x\n    # port: 1\n  # - name: y\n{}\n# trust\ntrustDomain: y\n",
        2,
    );
}

#[test]
fn block_texts_of_others_keep_the_empty_lines_that_are_theirs() {
    block(
        "extensionProviders:\n- name: x\n  t: |\n    x\n\ny: z\n",
        "extensionProviders:\n- name: x\n  t: |\n    x\n{}\n\ny: z\n",
        0,
    );
    block(
        "extensionProviders:\n- name: x\n  t: |+\n    x\n\ny: z\n",
        "extensionProviders:\n- name: x\n  t: |+\n    x\n\n{}\ny: z\n",
        0,
    );
    block(
        "extensionProviders:\n- name: x\n  t: |+\n\ny: z\n",
        "extensionProviders:\n- name: x\n  t: |+\n\n{}\ny: z\n",
        0,
    );
    block(
        "extensionProviders:\n- name: x\n  t: |-\n    - name: sightline-a\n    # no comment\n  # one\ny: z\n",
        "extensionProviders:\n- name: x\n  t: |-\n    - name: sightline-a\n    # no comment\n  # one\n{}\ny: z\n",
        0,
    );
    block(
        "extensionProviders:\n- name: x\n  t: |-\n    x",
        "extensionProviders:\n- name: x\n  t: |-\n    x\n{}",
        0,
    );
}

#[test]
fn a_key_without_a_value_stays_one() {
    block("extensionProviders:\n", "extensionProviders:\n{}\n", 0);
    block("extensionProviders:", "extensionProviders:\n{}", 0);
    block(
        "'extensionProviders': # none\n  # - name: x\n# y\ny: z\n",
        "'extensionProviders': # none\n  # - name: x\n{}\n# y\ny: z\n",
        0,
    );
    block(
        "extensionProviders: null # none\ny: z\n",
        "extensionProviders: # replaced by sightline: null # none\n{}\ny: z\n",
        0,
    );
    block(
        "extensionProviders: ~",
        "extensionProviders: # replaced by sightline: ~\n{}",
        0,
    );
}

#[test]
fn a_list_in_brackets_stays_one() {
    let (a, b) = (flow_entry("a"), flow_entry("b"));
    there_and_back(
        "extensionProviders: []\ny: z\n",
        &format!("extensionProviders: [\n  {a},\n  {b}]\ny: z\n"),
    );
    there_and_back(
        "extensionProviders: [{name: x}, {name: w}, ] # two",
        &format!("extensionProviders: [{{name: x}}, {{name: w}},\n  {a},\n  {b}, ] # two"),
    );
    there_and_back(
        "  extensionProviders: [ # none, so far\n  ]\n",
        &format!("  extensionProviders: [\n    {a},\n    {b} # none, so far\n  ]\n"),
    );
    there_and_back(
        "{\"a\": {\"b\": 1}, \"extensionProviders\": []}",
        &format!("{{\"a\": {{\"b\": 1}}, \"extensionProviders\": [\n  {a},\n  {b}]}}"),
    );
}

#[test]
fn entries_in_brackets_go_wherever_others_have_put_theirs() {
    let (a, b) = (flow_entry("a"), flow_entry("b"));
    let none = BTreeMap::new();
    for (with, without) in [
        (
            format!("extensionProviders: [{a}, {{name: x}}]\n"),
            "extensionProviders: [ {name: x}]\n",
        ),
        (format!("extensionProviders: [{a}, {b}]\n"), "extensionProviders: []\n"),
        (
            format!("extensionProviders: [{a}, # one, two\n  {b}]\n"),
            "extensionProviders: [ # one, two\n  ]\n",
        ),
        (
            format!("extensionProviders: [{{name: x}}, # one\n  {a}, {{name: w}}]\n"),
            "extensionProviders: [{name: x} # one\n  , {name: w}]\n",
        ),
    ] {
        assert_eq!(splice(&with, &none).unwrap(), without);
    }
}

#[test]
fn lines_end_as_those_of_the_text() {
    let ours = format!("{}\n{}\n", entry("a", 0), entry("b", 0));
    there_and_back(
        "a: b\r\nextensionProviders:\r\n- name: x\r\n# c\r\ny: z\r\n",
        &format!("a: b\nextensionProviders:\n- name: x\n{ours}# c\ny: z\n").replace('\n', "\r\n"),
    );
    there_and_back(
        "a: b\r\nc: d",
        &format!(
            "a: b\nc: d\nextensionProviders: # added by sightline\n{}",
            ours.trim_end()
        )
        .replace('\n', "\r\n"),
    );
}

#[test]
fn entries_of_ours_are_replaced_removed_and_sorted_wherever_they_stand() {
    let text = format!(
        "extensionProviders:\n# first\n{}\n# second\n- name: x\n{}\n# third\n{}\n# fourth\ny: z\n",
        entry("z", 0),
        entry("b", 0).replace("stdout", "stderr"),
        entry("b", 0),
    );
    assert_eq!(
        splice(&text, &providers(&["a", "b"])).unwrap(),
        format!(
            "extensionProviders:\n# first\n# second\n- name: x\n{}\n{}\n# third\n# fourth\ny: z\n",
            entry("a", 0),
            entry("b", 0)
        )
    );
}

#[test]
fn a_text_that_is_right_is_left_as_somebody_wrote_it() {
    let text = "extensionProviders:\n- envoyFileAccessLog: {logFormat: {text: \"%DURATION%\\n\"}, path: '/dev/stdout'}\n  name: \"sightline-a\" # moved\n- name: x\n";
    assert_eq!(splice(text, &providers(&["a"])).unwrap(), text);
}

#[test]
fn a_key_that_was_made_stays_while_others_use_it() {
    let with = splice("a: b\n", &providers(&["a"])).unwrap();
    let used = format!("{with}- name: x\n");
    assert_eq!(
        splice(&used, &BTreeMap::new()).unwrap(),
        "a: b\nextensionProviders: # added by sightline\n- name: x\n"
    );
}

#[test]
fn a_key_without_our_mark_stays_when_our_entries_were_the_last() {
    let text = format!("extensionProviders:\n{}\n", entry("a", 0));
    assert_eq!(splice(&text, &BTreeMap::new()).unwrap(), "extensionProviders:\n");
}

#[test]
fn the_newline_of_a_block_text_before_ours_is_not_lost_with_ours() {
    // Someone took the final newline away, which was one of ours.
    let text = format!("extensionProviders:\n- name: x\n  t: |\n    x\n{}", entry("a", 0));
    assert_eq!(
        splice(&text, &BTreeMap::new()).unwrap(),
        "extensionProviders:\n- name: x\n  t: |\n    x\n"
    );
}

#[test]
fn of_another_key_that_stands_twice_nothing_changes() {
    block(
        "a: b\na: c\n",
        "a: b\na: c\nextensionProviders: # added by sightline\n{}\n",
        0,
    );
}

#[test]
fn what_cannot_be_spliced_is_refused_with_the_line() {
    let wanted = providers(&["a"]);
    for (text, message) in [
        ("a: b: c\n", "MeshConfig is not valid YAML"),
        ("a: b\n---\nc: d\n", "second YAML document at line 2"),
        ("- a\n", "no mapping (line 1)"),
        ("a\n", "no mapping (line 1)"),
        (
            "extensionProviders: []\na: b\nextensionProviders: []\n",
            "at line 1 and again at line 3",
        ),
        ("a: b\nextension_providers: []\n", "`extension_providers` at line 2"),
        (
            "extensionProviders: []\nextension_providers: []\n",
            "`extension_providers` at line 2",
        ),
        ("a: b\nextensionProviders: c\n", "at line 2 of MeshConfig is no list"),
        ("extensionProviders: {a: b}\n", "at line 1 of MeshConfig is no list"),
        (
            "a: &x []\nextensionProviders: *x\n",
            "shared by an alias or a merge key (line 2)",
        ),
        (
            "extensionProviders: &x []\na: *x\n",
            "shared by an alias or a merge key (line 1)",
        ),
        (
            "<<: {extensionProviders: []}\na: b\n",
            "shared by an alias or a merge key (line 1)",
        ),
        (
            "extensionProviders: []\n<<: {extensionProviders: []}\n",
            "shared by an alias or a merge key (line 2)",
        ),
        (
            "extensionProviders:\n  &x\n  - name: x\n",
            "cannot be added to (line 2)",
        ),
        ("? extensionProviders\n: - name: x\n", "cannot be added to (line 2)"),
        ("{a: b}", "written in braces (line 1)"),
        ("{}", "written in braces (line 1)"),
        ("{extensionProviders: null, a: b}", "written in braces (line 1)"),
        ("{extensionProviders: , a: b}", "written in braces (line 1)"),
        ("a: b\nc: |\n  d", "block text that begins at line 3"),
        (
            "extensionProviders:\n- name: x\n  t: |\n    d",
            "block text that begins at line 4",
        ),
    ] {
        let error = splice(text, &wanted).unwrap_err().to_string();
        assert!(error.contains(message), "{text:?}: {error}");
    }
}

#[test]
fn what_does_not_read_back_is_not_given_out() {
    let foreign = BTreeMap::from([("x".to_owned(), json!({"name": "x"}))]);
    let anchored = "extensionProviders: [&x {name: sightline-b}]\na: b\n";
    // A lone CR would be taken out with our newline.
    let cr = "a: b\r";
    let used = "extensionProviders:\n- &x {name: sightline-b}\na: *x\n";
    for (text, wanted, message) in [
        ("a: b\n", &foreign, "our entries read back as others"),
        (cr, &providers(&["a"]), "could not be taken out again"),
        (anchored, &BTreeMap::new(), "not ours would change"),
        (used, &BTreeMap::new(), "would not read back"),
    ] {
        let error = splice(text, wanted).unwrap_err().to_string();
        assert!(error.contains(message), "{text:?}: {error}");
    }
}

#[test]
fn texts_that_yaml_reads_in_its_own_way_arrive_as_they_are() {
    let entry = json!({"name": "sightline-a", "envoyFileAccessLog": {"logFormat": {"labels": {
        "y": "no", "n": "0755", "sep": "\u{85}\u{2028}\u{7f}\u{feff}\r\n\t\u{1}", "long": "%A% ".repeat(60), "e": "",
        "lines": "a\n\nb\n\n", "lead": " a\n  b", "hash": "a # b", "colon": "a: b", "star": "*a",
    }}}});
    let wanted = BTreeMap::from([("sightline-a".to_owned(), entry)]);
    for text in [
        "a: b",
        "extensionProviders: []\n",
        "  extensionProviders:\n     - name: x\n",
    ] {
        let with = splice(text, &wanted).unwrap();
        assert_eq!(splice(&with, &BTreeMap::new()).unwrap(), text);
    }
}

/// A comment, an empty line or nothing.
fn noise() -> impl Strategy<Value = String> {
    let lines = [
        "",
        "",
        "",
        "\n",
        "# c\n",
        "  # - name: sightline-a\n",
        "      # deep, [x]: {\n",
        "\n\n# é\n",
        "   \n",
    ];
    proptest::sample::select(lines.to_vec()).prop_map(str::to_owned)
}

/// Other keys of MeshConfig, as people write them.
fn other_keys() -> impl Strategy<Value = String> {
    let keys = [
        "trustDomain: cluster.local\n",
        "defaultConfig:\n  discoveryAddress: istiod.istio-system.svc:15012 # here\n",
        "defaultProviders:\n  metrics:\n  - prometheus\n",
        "accessLogFormat: |\n  extensionProviders:\n  - name: sightline-a\n\n",
        "accessLogFormat: >+\n  a\n\n",
        "accessLogFormat: 'it''s\n\n  long'\n",
        "accessLogFormat: plain\n  text # c\n",
        "caCertificates: &cas [{pem: \"x # y\"}]\n",
        "\"serviceSettings\":\n    -   settings: {clusterLocal: true,\n          x: [1, 2]}\n",
        "empty:\n",
    ];
    let unique = |keys: Vec<&str>| {
        let mut seen = std::collections::BTreeSet::new();
        let named = |key: &&str| seen.insert(key.split(':').next().unwrap_or_default().to_owned());
        keys.into_iter().filter(named).map(str::to_owned).collect::<Vec<_>>()
    };
    let chosen = proptest::collection::vec(proptest::sample::select(keys.to_vec()), 0..4).prop_map(unique);
    (chosen, proptest::collection::vec(noise(), 4)).prop_map(|(keys, noise)| {
        let pairs = keys.into_iter().zip(noise).map(|(key, noise)| format!("{noise}{key}"));
        pairs.collect::<String>()
    })
}

/// Entries of others.
fn other_entries(indent: usize) -> impl Strategy<Value = String> {
    let entries = [
        "- name: x\n  zipkin: {service: a, port: 9411} # z\n",
        "- zipkin:\n    service: \"a\"\n  name: 'y'\n",
        "-   name: z\n    envoyFileAccessLog:\n        path: /dev/stdout\n        logFormat:\n          text: |\n            - name: sightline-a\n\n",
        "-\n  # its name\n  name: v\n",
        "- {name: u, # u\n   prometheus: {}}\n",
        "- name: t\n  text: |+\n    # a\n\n",
        "- name: s\n  text: >-\n    a\n    b\n",
        "- not-sightline\n",
        "- \n",
    ];
    let indented = move |entry: &str| -> String {
        let line = |line: &str| {
            if line.trim().is_empty() {
                line.to_owned()
            } else {
                format!("{:indent$}{line}", "")
            }
        };
        entry.split_inclusive('\n').map(line).collect()
    };
    let entry = (noise(), proptest::sample::select(entries.to_vec()));
    proptest::collection::vec(entry, 0..4).prop_map(move |entries| {
        entries
            .into_iter()
            .map(|(noise, entry)| noise + &indented(entry))
            .collect()
    })
}

/// The key with its list, or none.
fn list() -> impl Strategy<Value = String> {
    let after_key = proptest::sample::select(vec!["", " ", " # those", " &list", " &list # those"]);
    let blocks = (0..5_usize, after_key).prop_flat_map(|(indent, after)| {
        other_entries(indent).prop_map(move |entries| {
            let after = if entries.contains('-') { after } else { "" };
            format!("extensionProviders:{after}\n{entries}")
        })
    });
    let others = [
        "",
        "extensionProviders: []\n",
        "extensionProviders:\n  [ ] # none\n",
        "extensionProviders: null\n",
        "extensionProviders:  ~ # none\n",
        "extensionProviders: [{name: x}, y,]\n",
        "extensionProviders: [ # a, b\n    {name: x}, # x, x\n    \"a,b\" # y\n  ]\n",
    ];
    prop_oneof![2 => blocks, 1 => proptest::sample::select(others.to_vec()).prop_map(str::to_owned)]
}

/// MeshConfig that has none of our entries.
fn document() -> impl Strategy<Value = String> {
    let start = proptest::sample::select(vec!["", "", "---\n", "--- # c\n", "%YAML 1.1\n---\n", "# c\n\n"]);
    let end = proptest::sample::select(vec!["", "", "...\n", "# end\n", "  # end\n\n"]);
    let around = (other_keys(), noise(), list(), noise(), any::<bool>(), any::<bool>());
    (start, around, end).prop_map(|(start, (keys, before, list, after, list_first, is_unix), end)| {
        let body = if list_first {
            list + &after + &keys
        } else {
            keys + &before + &list + &after
        };
        let mut text = format!("{start}{body}{end}");
        if text.len() % 3 == 0 && text.ends_with('\n') {
            text.pop();
        }
        if is_unix { text } else { text.replace('\n', "\r\n") }
    })
}

/// Some of our providers, in two contents each.
fn wanted() -> impl Strategy<Value = BTreeMap<String, Value>> {
    proptest::collection::btree_map(proptest::sample::select(vec!["a", "b", "c"]), any::<bool>(), 0..4).prop_map(
        |names| {
            let made = |(name, other): (&str, bool)| {
                let (name, mut entry) = provider(name);
                if other {
                    entry = json!({"name": entry["name"], "opentelemetry": {"service": "n/s: # x", "port": 4317}});
                }
                (name, entry)
            };
            names.into_iter().map(made).collect()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_sequence_of_changes_leaves_the_text_of_others_alone(text in document(), sets in proptest::collection::vec(wanted(), 1..5)) {
        let mut now = text.clone();
        for wanted in &sets {
            let next = match splice(&now, wanted) {
                Err(SpliceError::OpenText { .. }) => {
                    prop_assert!(!text.ends_with('\n'));
                    return Ok(());
                }
                next => next.map_err(|e| TestCaseError::fail(format!("{now}\n{e}")))?,
            };
            prop_assert_eq!(&splice(&next, wanted).unwrap(), &next, "once more is no change");
            prop_assert_eq!(&splice(&text, wanted).unwrap(), &next, "how it came about does not matter");
            let mesh = Mesh::read(&next).unwrap();
            prop_assert!(mesh.ours().eq(wanted.values()));
            prop_assert!(mesh.others().eq(Mesh::read(&text).unwrap().others()));
            prop_assert!(is_within(&text, &next), "a byte of others is missing:\n{}", next);
            now = next;
        }
        prop_assert_eq!(splice(&now, &BTreeMap::new()).unwrap(), text);
    }

    #[test]
    fn whatever_the_text_nothing_panics(text in "[-a:#\\[\\]{},&*|>'\" \n]{0,40}|(extensionProviders:[-a:#\\[\\]{},&*|>'\" \n]{0,40})") {
        if let Ok(with) = splice(&text, &providers(&["a"])) {
            prop_assert_eq!(splice(&with, &BTreeMap::new()).unwrap(), text);
        }
    }
}

/// Whether a text is left when one part of another is taken out, or when a second part, the comment sign before a `null`,
/// is too.
fn is_within(text: &str, with: &str) -> bool {
    let with = with.replace(REPLACED, "");
    let prefix = text.bytes().zip(with.bytes()).take_while(|(a, b)| a == b).count();
    let rest = text.len() - prefix;
    with.len() >= text.len() && with.as_bytes()[with.len() - rest..] == text.as_bytes()[prefix..]
}
