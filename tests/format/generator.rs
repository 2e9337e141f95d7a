//! Format strings made by the grammar of the operator table, and mutants of them.
//!
//! All is drawn from one seed, so that a failure can be had again.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Map, Value};

const TABLE: &str = include_str!("../../src/format/operators.tsv");

/// Text around operators.
const LITERALS: &[&str] = &[
    " ",
    "a",
    "\"",
    "[",
    "]",
    "%%",
    "\n",
    "\t",
    "é",
    "日本",
    "\u{1F600}",
    "{}",
    "x=",
    "(",
    ")",
    ":",
    "\\",
    "\\n",
    "%%%%",
    "5",
    "\u{2028}",
];

/// What ends an operator, rightly or wrongly.
const LENGTHS: &[&str] = &[
    ":5",
    ":0",
    ":05",
    ":18446744073709551615",
    ":18446744073709551616",
    ":",
    ":x",
    ":-1",
    ": 5",
    ":5:5",
    ":5 ",
    "x",
    " ",
];

/// What mutation inserts.
const ALPHABET: &[&str] = &[
    "%",
    "%%",
    "(",
    ")",
    ":",
    "?",
    "\"",
    "'",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\\",
    " ",
    "\n",
    "\r",
    "\t",
    "a",
    "Z",
    "_",
    "-",
    "0",
    "9",
    "5",
    "é",
    "\u{0}",
    "\u{7f}",
    ".",
    "n",
    "E",
    "O",
    "#",
    "^",
    "!",
    "=",
    "|",
    "&",
    "/",
    "*",
    "+",
    "<",
    "null",
    ")%",
    "%REQ(",
    "%COALESCE(",
    "%CEL(",
];

/// Arguments that take part for every operator.
const ANY_ARGUMENTS: &[&str] = &[
    "", "x", "X", " ", "5", ":", "?", "a:b", "a:b:c", "é", "(", ")", "()", "a)b", "a%b", "a%", "%", "a\"b", "a'b",
    "\\", "a b", "a\nb", "a\rb", "a\tb", "NUMBER", "null", "{}", "[]", ",",
];

/// Arguments for a grammar of the table: right, nearly right, and wrong in the ways that its reader can tell.
#[allow(clippy::too_many_lines, reason = "a table")]
fn arguments(grammar: &str) -> &'static [&'static str] {
    match grammar {
        "EXPR" => &CEL,
        r#"{"operators":[...]}"# => COALESCE,
        "START:END[:ms|us|ns]" => &[
            "DS_RX_BEG:DS_TX_END",
            "DS_RX_BEG:DS_TX_END:ms",
            "DS_RX_BEG:DS_TX_END:us",
            "DS_RX_BEG:DS_TX_END:ns",
            "DS_RX_BEG:DS_TX_END:s",
            "DS_RX_BEG:DS_TX_END:",
            "DS_RX_BEG",
            "DS_RX_BEG:",
            ":DS_TX_END",
            "::ms",
            ":",
            "A:B",
            "ds_rx_beg:ds_tx_end",
            "A:B:us:x",
            "US_RX_BODY_BEG:US_RX_END",
            "DS_RX_BEG:DS_TX_END:MS",
            " A : B ",
            "A:B: ms",
        ],
        "KEY[:PLAIN|TYPED|FIELD[:FIELD_NAME]]" => &[
            "k",
            "k:PLAIN",
            "k:TYPED",
            "k:FIELD",
            "k:FIELD:f",
            "k:FIELD:",
            "k:FIELD:f:g",
            "k:plain",
            "k:",
            "k::",
            "k::f",
            ":PLAIN",
            "k:PLAIN:f",
            "k:PLAIN:",
            "k:TYPED:",
            "k:X",
            "a.b.c",
            "k :PLAIN",
            "k: PLAIN",
            "k:FIELD: ",
        ],
        "CAMEL_STRING|SNAKE_STRING|NUMBER" => &[
            "CAMEL_STRING",
            "SNAKE_STRING",
            "NUMBER",
            "number",
            "camel_string",
            "NUMBER ",
            "STRING",
        ],
        "X[?Y]" => &[
            "X-A",
            "x-a?y-b",
            ":PATH",
            ":METHOD?:AUTHORITY",
            "X?",
            "?Y",
            "?",
            "X?Y?Z",
            "??",
            ":",
            "::",
            "X:Y",
            "A_B",
            "a.b",
            "a/b",
            "a b",
            " X",
            "X ",
            "\"X\"",
            "X-é",
            "X,Y",
            "X;Y",
            "X=Y",
            "X@Y",
            "{X}",
            "[X]",
            "<X>",
            "X\\Y",
            "!#$&'*+-.^_`|~",
            "X%Y",
            "X?:",
            ":?X",
            "X\tY",
            "X\rY",
        ],
        "TYPE:NS[:KEY[:KEY]...]" => &[
            "DYNAMIC:ns",
            "DYNAMIC:ns:k:l",
            "CLUSTER:ns:k",
            "ROUTE:ns:k",
            "UPSTREAM_HOST:ns:k",
            "LISTENER:ns:k",
            "VIRTUAL_HOST:ns:k",
            "LISTENER_FILTER_CHAIN:ns:k",
            "DYNAMIC",
            "CLUSTER",
            "DYNAMIC:",
            "DYNAMIC::",
            ":ns:k",
            "dynamic:ns",
            "NOPE:ns",
            "ROUTE",
            "ROUTES:ns",
            " DYNAMIC:ns",
            "DYNAMIC :ns",
        ],
        "MASK_PREFIX_LEN" => &[
            "0",
            "24",
            "32",
            "33",
            "64",
            "128",
            "129",
            "-1",
            "+24",
            " 24",
            "24 ",
            "0x18",
            "024",
            "/24",
            "x",
            "24:24",
            "99999999999999999999",
        ],
        "NS[:KEY[:KEY]...]" => &["ns", "ns:k", "ns:k:l:m", "ns:", ":k", "::", "envoy.lb:a b", "a.b:c.d"],
        "NAME" | "X" | "PATH[:WATCHED_DIR]" => &["NAME", "a.b", "a b", "/x/y", "/x:/y", "HOSTNAME", "é"],
        "[WQ|NQ][:ORIG|PATH|ORIG_OR_PATH]" => &[
            "WQ",
            "NQ",
            "WQ:ORIG",
            "NQ:PATH",
            "WQ:ORIG_OR_PATH",
            ":ORIG",
            ":PATH",
            "WQ:",
            ":",
            "::",
            "wq",
            "NQ:orig",
            "NQ:X",
            "X:ORIG",
            "WQ:ORIG:x",
            "ORIG",
            "PATH",
            " WQ",
            "WQ:ORIG ",
            "WQ::ORIG",
        ],
        "ORIG|DECODED" => &["ORIG", "DECODED", "orig", "ORIG:", "DECODED:ORIG", " ORIG"],
        "SNI_ONLY|SNI_FIRST|HOST_FIRST[:ORIG|HOST|ORIG_OR_HOST]" => &[
            "SNI_ONLY",
            "SNI_FIRST",
            "HOST_FIRST",
            "SNI_FIRST:ORIG",
            "HOST_FIRST:HOST",
            "HOST_FIRST:ORIG_OR_HOST",
            ":ORIG",
            "SNI_ONLY:",
            ":",
            "sni_only",
            "SNI_FIRST:X",
            "X:ORIG",
            "ORIG",
            "SNI_FIRST:ORIG:x",
            "SNI_FIRST::x",
        ],
        "FORMAT" => &[
            "%Y-%m-%dT%H:%M:%S.%3fZ",
            "%s",
            "%f",
            "%3f",
            "%9f",
            "%0f",
            "%10f",
            "%E3S",
            "%E*S",
            "%E4Y",
            "%Ez",
            "%E*f",
            "%n",
            "%En",
            "%On",
            "%-n",
            "%_9n",
            "%0n",
            "%^#n",
            "%1On",
            "%EOn",
            "%%n",
            "%%%n",
            "%t",
            "%q",
            "%",
            "%%",
            "%Y%",
            "plain",
            "%s%3f%s",
            "%H:%M",
            "(%Y)",
            "%E",
            "%9",
            "n",
            "\u{e9}%Y",
            "%5E3S",
        ],
        "by|hash|cert|chain|subject|uri|dns" => &[
            "by", "hash", "cert", "chain", "subject", "uri", "dns", "URI", "Dns", "x", "uri ", "by,uri",
        ],
        "ALLOW_WHITESPACES" => &["ALLOW_WHITESPACES", "allow_whitespaces", "ALLOW", "x y"],
        _ => &[],
    }
}

const CEL: [&str; 44] = [
    "request.path",
    "request.headers['x-a']",
    "response.code >= 400",
    "1 + 2 * (3 - 4)",
    "size(request.path)",
    "request.path.size() > 1",
    "'a' == \"b\"",
    "request.path.startsWith('/')",
    "request.path.matches('^/a[0-9]+$')",
    "request.path.matches('(')",
    "has(request.headers)",
    "has(request)",
    "a ? b : c",
    "!a && -b < 1 || c in [1, 2]",
    "{'a': 1, 'b': [true, null]}",
    "[1, 2].exists(x, x > 1)",
    "x.y.z[0].w",
    "duration('1s')",
    "timestamp('2020-01-01T00:00:00Z').getFullYear()",
    "string(1)",
    "int('1')",
    "nope(1)",
    "lowerAscii('A')",
    "'a'.lowerAscii()",
    "1 +",
    "(1",
    "1)",
    "",
    " ",
    "a b",
    "'unclosed",
    "\"é\"",
    "b'\\xff'",
    "r'a\\b'",
    "'''a'''",
    "1e3",
    "0x1F",
    "1u",
    "Msg{a: 1}",
    "in",
    "a.in",
    "re.extract('a', 'b', 'c')",
    "// comment",
    "true",
];

const COALESCE: &[&str] = &[
    r#"{"operators":["PROTOCOL"]}"#,
    r#"{"operators":["PROTOCOL",{"command":"REQ","param":"X"}]}"#,
    r#"{"operators":[{"command":"REQ","param":"X","max_length":5}]}"#,
    r#"{"operators":[{"command":"REQ"}]}"#,
    r#"{"operators":[{"command":"PROTOCOL","param":""}]}"#,
    r#"{"operators":[{"command":"PROTOCOL","param":"x"}]}"#,
    r#"{"operators":[{"command":"PROTOCOL","param":null}]}"#,
    r#"{"operators":[{"command":"PROTOCOL","max_length":5}]}"#,
    r#"{"operators":[{"command":"REQ","param":"X","max_length":0}]}"#,
    r#"{"operators":[{"command":"REQ","param":"X","max_length":-1}]}"#,
    r#"{"operators":[{"command":"REQ","param":"X","max_length":1.5}]}"#,
    r#"{"operators":[{"command":"REQ","param":"X","max_length":5.0}]}"#,
    r#"{"operators":[{"command":"REQ","param":"X","max_length":1e2}]}"#,
    r#"{"operators":[{"command":"REQ","param":"X","max_length":"5"}]}"#,
    r#"{"operators":[{"command":"REQ","param":"X","max_length":null}]}"#,
    r#"{"operators":[{"command":"REQ","param":"X","max_length":9223372036854775808}]}"#,
    r#"{"operators":[{"command":"REQ","param":"X","max_length":9223372036854775807}]}"#,
    r#"{"operators":[{"command":"REQ","param":"X","max_length":18446744073709551616}]}"#,
    r#"{"operators":[{"command":"req","param":"X"}]}"#,
    r#"{"operators":[{"command":5}]}"#,
    r#"{"operators":[{"param":"X"}]}"#,
    r#"{"operators":[{"command":"REQ","param":5}]}"#,
    r#"{"operators":["REQ"]}"#,
    r#"{"operators":["%PROTOCOL%"]}"#,
    r#"{"operators":["REQ(X)"]}"#,
    r#"{"operators":[""]}"#,
    r#"{"operators":[null]}"#,
    r#"{"operators":[5]}"#,
    r#"{"operators":[["PROTOCOL"]]}"#,
    r#"{"operators":[]}"#,
    r#"{"operators":{}}"#,
    r#"{"operators":"PROTOCOL"}"#,
    r#"{"operators":null}"#,
    "{}",
    "[]",
    r#"{"operators":["PROTOCOL"],"x":1}"#,
    r#"{"operators":["NOPE"],"operators":["PROTOCOL"]}"#,
    r#"{"operators":["PROTOCOL"],"operators":["NOPE"]}"#,
    r#" {"operators" : [ "PROTOCOL" ] } "#,
    r#"{"operators":["PROTOCOL",]}"#,
    "{'operators':['PROTOCOL']}",
    r#"{operators:["PROTOCOL"]}"#,
    r#"{"operators":["PROTOCOL"]} x"#,
    r#"{"operators":["PROTOCOL"]"#,
    r#"{"operators":["PROTO\u0043OL"]}"#,
    r#"{"operators":["\ud800"]}"#,
    r#"{"operators":[{"command":"COALESCE","param":"{\"operators\":[\"PROTOCOL\"]}"}]}"#,
    r#"{"operators":[{"command":"CEL","param":"size(request.path)"}]}"#,
    r#"{"operators":[{"command":"CEL","param":"1 +"}]}"#,
    r#"{"operators":[{"command":"START_TIME","param":"%Y"}]}"#,
    r#"{"operators":[{"command":"START_TIME","param":"%n"}]}"#,
    r#"{"operators":[{"command":"REQ_WITHOUT_QUERY","param":":PATH"}]}"#,
    r#"{"operators":["PROTOCOL"] /* c */}"#,
    r#"{"operators":["PROTOCOL"], "y": 1e999}"#,
    r#"{"operators":["PROTOCOL"], "y": -0}"#,
    r#"{"operators":["PROTOCOL"], "y": 01}"#,
    r#"{"operators":["PROTOCOL"], "y": NaN}"#,
    "{\"operators\":[\"PROTOCOL\"], \"y\": \"\t\"}",
    r#"{"operators":["PROTOCOL"], "y": "\q"}"#,
    r#"{"operators":["PROTOCOL"], "": true}"#,
    r#"{"OPERATORS":["PROTOCOL"]}"#,
    "\u{feff}{\"operators\":[\"PROTOCOL\"]}",
];

/// A source of format strings.
pub struct Generator {
    rng: StdRng,
    /// Name and grammar of the operators.
    operators: Vec<(&'static str, &'static str)>,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        let rows = TABLE.lines().skip(1).map(|line| {
            let mut cells = line.split('\t');
            (cells.next().unwrap(), cells.next().unwrap())
        });
        Self {
            rng: StdRng::seed_from_u64(seed),
            operators: rows.collect(),
        }
    }

    /// Every operator alone, with each of the arguments of its grammar and each length.
    pub fn exhaustive() -> Vec<String> {
        let mut strings = Vec::new();
        for (name, grammar) in Self::new(0).operators {
            for arguments in arguments(grammar) {
                strings.push(format!("%{name}({arguments})%"));
            }
            // The grammar of a family is the same; one of it is enough for what does not depend on it.
            for length in LENGTHS {
                strings.push(format!("%{name}{length}%"));
                if let Some(first) = arguments(grammar).first() {
                    strings.push(format!("%{name}({first}){length}%"));
                }
            }
        }
        for arguments in ANY_ARGUMENTS {
            for name in [
                "REQ",
                "CEL",
                "START_TIME",
                "PROTOCOL",
                "ENVIRONMENT",
                "PATH",
                "DYNAMIC_METADATA",
            ] {
                strings.push(format!("%{name}({arguments})%"));
            }
        }
        strings
    }

    fn one_of(&mut self, choices: &'static [&'static str]) -> &'static str {
        choices.choose(&mut self.rng).unwrap()
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_ratio(percent, 100)
    }

    /// One operator: mostly right, so that longer strings are sometimes accepted.
    fn operator(&mut self) -> String {
        let (name, grammar) = *self.operators.choose(&mut self.rng).unwrap();
        let mut text = format!("%{name}");
        let own = arguments(grammar);
        if !own.is_empty() || self.chance(5) {
            let given = if own.is_empty() || self.chance(10) {
                self.one_of(ANY_ARGUMENTS)
            } else if self.chance(50) {
                own[0]
            } else {
                self.one_of(own)
            };
            text = format!("{text}({given})");
        }
        if self.chance(10) {
            text += self.one_of(LENGTHS);
        }
        text + "%"
    }

    /// A few operators and literals.
    pub fn text(&mut self) -> String {
        let pieces = self.rng.random_range(1..6);
        (0..pieces)
            .map(|_| {
                if self.chance(50) {
                    self.operator()
                } else {
                    self.one_of(LITERALS).to_owned()
                }
            })
            .collect()
    }

    /// The string with one to three small changes.
    pub fn mutant(&mut self, of: &str) -> String {
        let mut chars: Vec<char> = of.chars().collect();
        for _ in 0..self.rng.random_range(1..=3) {
            let at = self.rng.random_range(0..=chars.len());
            let last = at.min(chars.len().saturating_sub(1));
            match self.rng.random_range(0..7) {
                0 | 1 => drop(chars.splice(at..at, self.one_of(ALPHABET).chars())),
                2 if !chars.is_empty() => drop(chars.remove(last)),
                3 if !chars.is_empty() => drop(chars.splice(last..=last, self.one_of(ALPHABET).chars())),
                4 if !chars.is_empty() => chars.insert(last, chars[last]),
                5 if !chars.is_empty() => chars[last] = flipped(chars[last]),
                6 if chars.len() > 4 => chars.truncate(at),
                _ => {}
            }
        }
        chars.into_iter().collect()
    }

    /// A JSON format: objects, lists, numbers, booleans, null, and strings of which about one is wrong in a format.
    pub fn json(&mut self) -> Value {
        let members = self.rng.random_range(1..5);
        Value::Object(self.members(members, 0))
    }

    fn members(&mut self, count: usize, depth: u32) -> Map<String, Value> {
        (0..count)
            .map(|index| {
                let key = match self.rng.random_range(0..10) {
                    0 => "%PROTOCOL%".to_owned(),
                    1 => self.one_of(ANY_ARGUMENTS).to_owned(),
                    _ => format!("k{index}"),
                };
                (key, self.value(depth + 1))
            })
            .collect()
    }

    fn value(&mut self, depth: u32) -> Value {
        let count = self.rng.random_range(0..4);
        match self.rng.random_range(0..if depth < 6 { 12 } else { 10 }) {
            0 => Value::Null,
            1 => self.chance(50).into(),
            2 => self.rng.random_range(-1000..1000).into(),
            3 => self.rng.random_range(-1e30..1e30).into(),
            4 => self.text().into(),
            5 => self.one_of(LITERALS).into(),
            10 => Value::Object(self.members(count, depth)),
            11 => (0..count).map(|_| self.value(depth + 1)).collect(),
            _ => self.operator().into(),
        }
    }
}

fn flipped(c: char) -> char {
    if c.is_ascii_lowercase() {
        c.to_ascii_uppercase()
    } else {
        c.to_ascii_lowercase()
    }
}
