//! The flags of `sightline run` as the chart's values have them.

// Every test crate compiles this file and uses its own part of it.
#![allow(dead_code, reason = "each user takes only a part")]

use clap::{Arg, CommandFactory, Parser};
use serde_json::{Value, json};
use sightline::cli::Cli;
use sightline::crds::TimeSpan;

/// A flag that the chart's values set.
pub struct Flag {
    /// Without the dashes in front.
    pub long: String,
    /// Its name in the values.
    pub name: String,
    /// What it is for.
    pub help: String,
    /// What the binary takes where nothing is said.
    pub default: Value,
    /// What the binary accepts.
    pub schema: Value,
}

/// Numbers beyond this are not exact in JSON.
const EXACT: u64 = 1 << 53;

/// The flags that the values set: all but those for tests, and those that a pod knows of itself.
pub fn of_run() -> Vec<Flag> {
    visible()
        .iter()
        .filter(|arg| pod_env(arg).is_none())
        .map(flag)
        .collect()
}

/// The environment by which the Deployment says to the pod what only the pod knows, such as `POD_NAMESPACE`.
pub fn env_of_the_pod() -> Vec<String> {
    visible().iter().filter_map(pod_env).collect()
}

fn visible() -> Vec<Arg> {
    let command = Cli::command();
    let run = command.find_subcommand("run").unwrap();
    run.get_arguments().filter(|arg| !arg.is_hide_set()).cloned().collect()
}

fn pod_env(arg: &Arg) -> Option<String> {
    let env = arg.get_env()?.to_str()?;
    env.starts_with("POD_").then(|| env.to_owned())
}

fn flag(arg: &Arg) -> Flag {
    let long = arg.get_long().unwrap().to_owned();
    assert!(
        arg.get_action().takes_values(),
        "--{long} takes no value: the chart can only say --{long}=true or --{long}=false (ArgAction::Set)"
    );
    let [default] = arg.get_default_values() else {
        panic!("--{long} has no default: the chart has to give one")
    };
    let default = typed(default.to_str().unwrap());
    Flag {
        name: camel_case(&long),
        help: arg.get_help().unwrap().to_string(),
        schema: schema(arg, &long, &default),
        default,
        long,
    }
}

fn typed(text: &str) -> Value {
    match (text.parse::<u64>(), text.parse::<bool>()) {
        (Ok(number), _) => json!(number),
        (_, Ok(is)) => json!(is),
        _ => json!(text),
    }
}

fn schema(arg: &Arg, long: &str, default: &Value) -> Value {
    let names: Vec<String> = arg
        .get_possible_values()
        .iter()
        .map(|v| v.get_name().to_owned())
        .collect();
    match default {
        Value::Bool(_) => json!({"type": "boolean"}),
        Value::Number(default) => bounds(long, default.as_u64().unwrap()),
        _ if !names.is_empty() => json!({"enum": names}),
        Value::String(text) if text.parse::<std::net::SocketAddr>().is_ok() => {
            json!({"type": "string", "pattern": "^.+:[0-9]+$"})
        }
        Value::String(text) if TimeSpan(text.clone()).get().is_some() => {
            json!({"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"})
        }
        _ => json!({"type": "string"}),
    }
}

/// Whether the binary takes a flag with this value.
pub fn accepts(long: &str, value: &str) -> bool {
    Cli::try_parse_from(["sightline", "run", &format!("--{long}={value}")]).is_ok()
}

/// The numbers that the binary accepts, found by asking it.
fn bounds(long: &str, default: u64) -> Value {
    let accepts = |number: u64| accepts(long, &number.to_string());
    let mut schema = json!({"type": "integer", "minimum": first(0, default, accepts)});
    if !accepts(EXACT) {
        schema["maximum"] = json!(first(default, EXACT, |number| !accepts(number)) - 1);
    }
    schema
}

/// The first number of a range for which something holds that holds from there on.
fn first(mut low: u64, mut high: u64, holds: impl Fn(u64) -> bool) -> u64 {
    while low < high {
        let middle = low.midpoint(high);
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

fn camel_case(long: &str) -> String {
    let mut words = long.split('-');
    let mut name = words.next().unwrap().to_owned();
    for word in words {
        name.push_str(&word[..1].to_uppercase());
        name.push_str(&word[1..]);
    }
    name
}
