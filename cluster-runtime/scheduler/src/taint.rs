//! Taints of nodes and the tolerations of pods.

use serde_json::Value;

/// A mark on a node that keeps pods away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taint {
    key: String,
    value: String,
    pub(crate) effect: Effect,
}

/// What a taint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

/// A mark on a pod that lets it pass taints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toleration {
    /// Empty tolerates every key.
    key: String,
    /// `None` tolerates every value.
    value: Option<String>,
    /// `None` tolerates every effect.
    effect: Option<Effect>,
}

impl Effect {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "NoSchedule" => Some(Self::NoSchedule),
            "PreferNoSchedule" => Some(Self::PreferNoSchedule),
            "NoExecute" => Some(Self::NoExecute),
            _ => None,
        }
    }
}

impl Taint {
    /// Reads an entry of `spec.taints` of a node; an unknown effect does nothing.
    pub(crate) fn parse(value: &Value) -> Option<Self> {
        Some(Self {
            key: text(value, "key").to_owned(),
            value: text(value, "value").to_owned(),
            effect: Effect::parse(text(value, "effect"))?,
        })
    }

    /// The taint of a node that takes no new pods.
    pub(crate) fn unschedulable() -> Self {
        Self {
            key: "node.kubernetes.io/unschedulable".into(),
            value: String::new(),
            effect: Effect::NoSchedule,
        }
    }

    /// Whether pods that do not tolerate it must not be placed.
    pub(crate) fn refuses(&self) -> bool {
        self.effect != Effect::PreferNoSchedule
    }

    /// Whether any of the tolerations passes it.
    pub(crate) fn is_tolerated(&self, tolerations: &[Toleration]) -> bool {
        tolerations.iter().any(|toleration| {
            toleration.effect.is_none_or(|effect| effect == self.effect)
                && (toleration.key.is_empty() || toleration.key == self.key)
                && toleration.value.as_ref().is_none_or(|value| *value == self.value)
        })
    }
}

impl Toleration {
    /// Reads an entry of `spec.tolerations` of a pod.
    pub(crate) fn parse(value: &Value) -> Self {
        let exists = text(value, "operator") == "Exists";
        Self {
            key: text(value, "key").to_owned(),
            value: (!exists).then(|| text(value, "value").to_owned()),
            effect: Effect::parse(text(value, "effect")),
        }
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tolerations_pass_the_taints_that_they_name() {
        let taint = Taint::parse(&json!({"key": "dedicated", "value": "db", "effect": "NoSchedule"}))
            .expect("a taint");
        let cases = [
            (json!({"key": "dedicated", "value": "db"}), true),
            (json!({"key": "dedicated", "value": "web"}), false),
            (json!({"key": "dedicated", "operator": "Exists"}), true),
            (json!({"operator": "Exists"}), true),
            (json!({"key": "other", "operator": "Exists"}), false),
            (
                json!({"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}),
                false,
            ),
            (
                json!({"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}),
                true,
            ),
        ];
        for (toleration, expected) in cases {
            let tolerations = [Toleration::parse(&toleration)];
            assert_eq!(taint.is_tolerated(&tolerations), expected, "{toleration}");
        }
    }
}
