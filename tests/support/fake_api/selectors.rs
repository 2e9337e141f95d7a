//! Which objects a list or a watch is about.

use serde_json::Value;

/// Labels and name that an object has to have.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    /// By name; the values one of which it has to have, or none: any will do.
    labels: Vec<(String, Option<Vec<String>>)>,
    name: Option<String>,
}

impl Selector {
    /// From the query: `a=b`, `a in (b,c)` and `a` of label selectors, `metadata.name=` of field selectors.
    ///
    /// # Errors
    /// What the operator does not ask for.
    pub fn parse(labels: Option<&str>, fields: Option<&str>) -> Result<Self, String> {
        let terms = |text: Option<&str>| -> Vec<String> {
            let mut depth = 0;
            let is_end = |c: char| {
                depth += i32::from(c == '(') - i32::from(c == ')');
                c == ',' && depth == 0
            };
            let terms = text.unwrap_or_default().split(is_end).map(str::to_owned);
            terms.filter(|term| !term.is_empty()).collect()
        };
        let label = |term: String| {
            if let Some((key, values)) = term.split_once(" in (") {
                let values = values.trim_end_matches(')').split(',').map(str::to_owned);
                return Ok((key.to_owned(), Some(values.collect())));
            }
            match term.split_once('=') {
                _ if term.contains(['!', '(', ' ']) => Err(format!("the fake knows no label selector such as {term}")),
                Some((key, value)) => Ok((key.to_owned(), Some(vec![value.trim_start_matches('=').to_owned()]))),
                None => Ok((term, None)),
            }
        };
        let name = |term: String| match term.split_once('=') {
            Some(("metadata.name", name)) => Ok(name.to_owned()),
            _ => Err(format!("the fake knows no field selector such as {term}")),
        };
        let labels = terms(labels).into_iter().map(label).collect::<Result<_, _>>()?;
        let names = terms(fields).into_iter().map(name).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            labels,
            name: names.into_iter().next(),
        })
    }

    /// Whether it selects whatever there is.
    pub fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.name.is_none()
    }

    /// Whether it selects an object.
    pub fn selects(&self, object: &Value) -> bool {
        let metadata = &object["metadata"];
        let has = |(key, values): &(String, Option<Vec<String>>)| match values {
            Some(values) => values.iter().any(|value| metadata["labels"][key] == value.as_str()),
            None => metadata["labels"].get(key).is_some(),
        };
        self.labels.iter().all(has) && self.name.as_ref().is_none_or(|name| metadata["name"] == name.as_str())
    }
}
