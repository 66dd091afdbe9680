//! Amounts of resources by name, and what a whole pod asks for.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::Object;
use crate::quantity::Quantity;

/// Amounts of resources by name.
pub type Amounts = BTreeMap<String, Quantity>;

/// Reads a map of quantities; what cannot be read counts as nothing.
pub fn amounts(quantities: Option<&Value>) -> Amounts {
    let entries = quantities.and_then(Value::as_object).into_iter().flatten();
    entries
        .map(|(name, value)| (name.clone(), Quantity::from_value(value).unwrap_or_default()))
        .collect()
}

/// Writes amounts as objects carry them.
pub fn to_value(amounts: &Amounts) -> Value {
    let entries = amounts
        .iter()
        .map(|(name, amount)| (name.clone(), amount.to_string().into()));
    Value::Object(entries.collect::<Map<_, _>>())
}

/// Adds amounts to others.
pub fn add(to: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = to.get(name).map_or(*amount, |present| *present + *amount);
        to.insert(name.clone(), sum);
    }
}

/// What a pod asks for (`requests`) or may use at most (`limits`): the larger of its containers together and its init
/// containers one after another, with sidecars beside both, and its overhead.
pub fn of_pod(pod: &Object, kind: &str) -> Amounts {
    let of = |container: &Value| {
        amounts(
            container
                .get("resources")
                .and_then(|resources| resources.get(kind)),
        )
    };
    let mut total = Amounts::new();
    for container in pod.list(&["spec", "containers"]) {
        add(&mut total, &of(container));
    }
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in pod.list(&["spec", "initContainers"]) {
        let mut now = of(container);
        if container
            .get("restartPolicy")
            .is_some_and(|policy| policy == "Always")
        {
            add(&mut total, &now);
            add(&mut sidecars, &now);
            now = sidecars.clone();
        } else {
            add(&mut now, &sidecars);
        }
        raise(&mut peak, &now);
    }
    raise(&mut total, &peak);
    if let Some(whole) = pod.at(&["spec", "resources", kind]) {
        // What is said of the pod as a whole counts instead of the sum.
        total.extend(amounts(Some(whole)));
    }
    let overhead = amounts(pod.at(&["spec", "overhead"]));
    if kind == "requests" {
        add(&mut total, &overhead);
    } else {
        for (name, amount) in &overhead {
            if let Some(limit) = total.get_mut(name) {
                *limit += *amount;
            }
        }
    }
    total
}

fn raise(to: &mut Amounts, least: &Amounts) {
    for (name, amount) in least {
        let present = to.entry(name.clone()).or_insert(*amount);
        if *present < *amount {
            *present = *amount;
        }
    }
}
