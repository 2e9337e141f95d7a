//! Environment of workloads: OpenTelemetry's variables, and those of InterLink. Both are read once, and what is wrong with
//! one is told in a log at most.

use super::super::codes::Policy;
use super::super::findings::Judge;
use super::super::located::Located;

/// Where a pod stands in an object: itself, a template, that of a CronJob.
const PODS: [&[&str]; 3] = [
    &["spec"],
    &["spec", "template", "spec"],
    &["spec", "jobTemplate", "spec", "template", "spec"],
];

/// Judges the environment of all containers.
pub fn note(object: &Located, judge: &mut Judge) {
    for pod in PODS.iter().filter_map(|way| object.at(way)) {
        for key in ["containers", "initContainers"] {
            for container in pod.get(key).map(|list| list.items()).unwrap_or_default() {
                judge_container(&container, judge);
            }
        }
    }
}

/// The variables that have their values in the file; of two with one name the last counts.
struct Environment(Vec<Located>);

impl Environment {
    /// The value of a variable, where it stands, and is not expanded from others.
    fn get(&self, name: &str) -> Option<Located> {
        let variable = self
            .0
            .iter()
            .rev()
            .find(|variable| variable.text_at(&["name"]) == name)?;
        let value = variable.get("value")?;
        let text = value.as_string()?;
        (!text.is_empty() && !text.contains("$(")).then_some(value)
    }

    /// Whether a variable is set at all.
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|variable| variable.text_at(&["name"]) == name)
    }
}

fn judge_container(container: &Located, judge: &mut Judge) {
    let Some(variables) = container.get("env") else { return };
    let environment = Environment(variables.items());
    judge_sampler(&environment, judge);
    judge_attributes(&environment, judge);
    if container.text_at(&["image"]).to_ascii_lowercase().contains("interlink") {
        judge_interlink(&environment, judge);
    }
}

fn judge_sampler(environment: &Environment, judge: &mut Judge) {
    let sampler = environment.get("OTEL_TRACES_SAMPLER");
    let name = sampler.as_ref().and_then(Located::as_string).unwrap_or_default();
    if !name.to_ascii_lowercase().ends_with("traceidratio") {
        return;
    }
    let Some(argument) = environment.get("OTEL_TRACES_SAMPLER_ARG") else {
        return;
    };
    let written = argument.as_string().unwrap_or_default();
    let ratio = written.trim().parse::<f64>();
    if !ratio.is_ok_and(|ratio| (0.0..=1.0).contains(&ratio)) {
        let message = format!("`{written}` is no ratio from 0 to 1");
        judge.policy(Policy::SamplerRatio, argument.mark(), message);
    }
}

fn judge_attributes(environment: &Environment, judge: &mut Judge) {
    let Some(attributes) = environment.get("OTEL_RESOURCE_ATTRIBUTES") else {
        return;
    };
    let mut entries = attributes.as_string().unwrap_or_default().split(',');
    let is_wrong = |entry: &&str| match entry.split_once('=') {
        Some((key, value)) => key.trim().is_empty() || !is_encoded(value),
        None => true,
    };
    if let Some(entry) = entries.find(is_wrong) {
        let message = format!("`{entry}` is no `key=value` that is percent-encoded, which costs all attributes");
        judge.policy(Policy::ResourceAttributes, attributes.mark(), message);
    }
}

/// Whether each `%` begins two hexadecimal digits.
fn is_encoded(value: &str) -> bool {
    value.split('%').skip(1).all(|rest| {
        let digits = rest.get(..2);
        digits.is_some_and(|digits| digits.chars().all(|c| c.is_ascii_hexdigit()))
    })
}

fn judge_interlink(environment: &Environment, judge: &mut Judge) {
    let wrong = |judge: &mut Judge, value: &Located, message: &str| {
        judge.policy(Policy::InterLinkEnvironment, value.mark(), message.to_owned());
    };
    if let Some(switch) = environment.get("ENABLE_TRACING") {
        let written = switch.as_string().unwrap_or_default();
        if ["true", "yes", "on"].iter().any(|on| on.eq_ignore_ascii_case(written)) {
            wrong(judge, &switch, "InterLink traces with exactly `1` only; write \"1\"");
        }
    }
    let endpoint = environment.get("TELEMETRY_ENDPOINT");
    let has_scheme = |endpoint: &Located| endpoint.as_string().is_some_and(|text| text.contains("://"));
    if let Some(endpoint) = endpoint.filter(has_scheme) {
        wrong(judge, &endpoint, "the endpoint is `HOST:PORT`; leave the scheme out");
    }
    let Some(authority) = environment.get("TELEMETRY_CA_CRT_FILEPATH") else {
        return;
    };
    let pair = ["TELEMETRY_CLIENT_KEY_FILEPATH", "TELEMETRY_CLIENT_CRT_FILEPATH"];
    if let Some(missing) = pair.into_iter().find(|name| !environment.has(name)) {
        let message = format!("with a CA InterLink stops at its start unless {missing} is set too");
        wrong(judge, &authority, &message);
    }
}
