//! How many replicas a target should have, from what its pods use.
//!
//! The algorithm is that of <https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/#algorithm-details>.

use std::collections::VecDeque;

use cluster_objects::Object;
use jiff::Timestamp;
use serde_json::Value;

use crate::deployment::resolve;

/// Changes of the use that are too small to matter, as a share of the wish.
const TOLERANCE: f64 = 0.1;
/// Seconds for which a higher wish is remembered before there are fewer replicas, where nothing else is said.
const SCALE_DOWN_WINDOW: i64 = 300;
/// Records that are kept of one autoscaler.
const HISTORY_MAX: usize = 1000;

/// One pod as a metric sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    /// What it uses, in the unit of the wish; `None` where nothing was measured.
    pub(crate) used: Option<f64>,
    /// What it asked for.
    pub(crate) requested: f64,
    /// Whether its use says something: it is not just starting.
    pub(crate) ready: bool,
}

/// What a metric is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wish {
    /// Percent of what is requested.
    Utilization(f64),
    /// An amount for each pod.
    AverageValue(f64),
}

/// What one metric says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Proposal {
    pub(crate) replicas: i64,
    /// Percent of the requests, and the average use of a pod.
    pub(crate) utilization: Option<f64>,
    pub(crate) average: f64,
}

/// The replicas that one metric asks for; `None` where no pod was measured.
///
/// Pods without a measurement are taken to use all of the wish when there would be fewer of them, and nothing when
/// there would be more, so that what is not known never moves much; pods that are starting count as using nothing.
pub(crate) fn propose(samples: &[Sample], wish: Wish, current: i64) -> Option<Proposal> {
    let measured: Vec<&Sample> = samples
        .iter()
        .filter(|one| one.ready && one.used.is_some())
        .collect();
    if measured.is_empty() {
        return None;
    }
    let ratio_of = |pods: &[(f64, f64)]| {
        let (used, requested) = pods
            .iter()
            .fold((0.0, 0.0), |sum, pod| (sum.0 + pod.0, sum.1 + pod.1));
        match wish {
            Wish::Utilization(percent) => used / requested * 100.0 / percent,
            Wish::AverageValue(value) => used / pods.len() as f64 / value,
        }
    };
    let known: Vec<(f64, f64)> = measured
        .iter()
        .map(|one| (one.used.unwrap_or_default(), one.requested))
        .collect();
    let used: f64 = known.iter().map(|pod| pod.0).sum();
    let requested: f64 = known.iter().map(|pod| pod.1).sum();
    if matches!(wish, Wish::Utilization(_)) && requested <= 0.0 {
        return None;
    }
    let average = used / known.len() as f64;
    let utilization = matches!(wish, Wish::Utilization(_)).then(|| used / requested * 100.0);
    let proposal = |replicas| {
        Some(Proposal {
            replicas,
            utilization,
            average,
        })
    };
    let ratio = ratio_of(&known);
    let is_near = |ratio: f64| (1.0 - ratio).abs() <= TOLERANCE;
    let ceiling = |amount: f64| amount.ceil().clamp(0.0, f64::from(i32::MAX)) as i64;
    let unready = samples.iter().any(|one| !one.ready);
    let missing = samples.iter().any(|one| one.ready && one.used.is_none());
    let is_guessed = missing || (unready && ratio > 1.0);
    if !is_guessed {
        let next = if is_near(ratio) {
            current
        } else {
            ceiling(ratio * known.len() as f64)
        };
        return proposal(next);
    }
    let mut guessed = known.clone();
    for one in samples {
        let most = match wish {
            Wish::Utilization(percent) => one.requested * percent.max(100.0) / 100.0,
            Wish::AverageValue(value) => value,
        };
        if one.ready && one.used.is_none() {
            guessed.push((if ratio < 1.0 { most } else { 0.0 }, one.requested));
        } else if !one.ready && ratio > 1.0 {
            guessed.push((0.0, one.requested));
        }
    }
    let careful = ratio_of(&guessed);
    if is_near(careful) || (ratio < 1.0) != (careful < 1.0) {
        return proposal(current);
    }
    let next = ceiling(careful * guessed.len() as f64);
    let turns_back = ratio < 1.0 && next > current || ratio > 1.0 && next < current;
    proposal(if turns_back { current } else { next })
}

/// What is remembered of an autoscaler between two looks.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Wishes, by the time they came up.
    wishes: VecDeque<(Timestamp, i64)>,
    /// Changes of the number of replicas.
    changes: VecDeque<(Timestamp, i64)>,
}

/// A number of replicas, and why it is not another.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decision {
    pub(crate) replicas: i64,
    /// Reason and message of the condition `ScalingLimited`, where it is true.
    pub(crate) limited: Option<(&'static str, &'static str)>,
    /// Reason and message of the condition `AbleToScale`.
    pub(crate) able: (&'static str, &'static str),
}

impl History {
    /// Notes that the number of replicas was changed.
    pub(crate) fn changed(&mut self, by: i64, now: Timestamp) {
        self.changes.push_back((now, by));
        while self.changes.len() > HISTORY_MAX {
            self.changes.pop_front();
        }
    }

    fn wishes_since(&self, seconds: i64, now: Timestamp) -> impl Iterator<Item = i64> {
        let from = now.as_second().saturating_sub(seconds);
        self.wishes
            .iter()
            .filter(move |(at, _)| at.as_second() > from)
            .map(|(_, wish)| *wish)
    }

    /// By how much replicas were added (`sign` 1) or taken away (-1) in the last seconds.
    fn changed_in(&self, sign: i64, seconds: i64, now: Timestamp) -> i64 {
        let from = now.as_second().saturating_sub(seconds);
        let recent = self
            .changes
            .iter()
            .filter(|(at, by)| at.as_second() > from && by.signum() == sign);
        recent.map(|(_, by)| by.abs()).sum()
    }

    /// The number of replicas to have now, when the metrics ask for `proposed`.
    pub(crate) fn decide(&mut self, spec: &Object, current: i64, proposed: i64, now: Timestamp) -> Decision {
        let window = |direction: &str, default: i64| {
            let path = ["spec", "behavior", direction, "stabilizationWindowSeconds"];
            spec.integer(&path).unwrap_or(default)
        };
        let (up, down) = (window("scaleUp", 0), window("scaleDown", SCALE_DOWN_WINDOW));
        let lowest = self.wishes_since(up, now).min().unwrap_or(proposed).min(proposed);
        let highest = self
            .wishes_since(down, now)
            .max()
            .unwrap_or(proposed)
            .max(proposed);
        self.wishes.push_back((now, proposed));
        while self.wishes.len() > HISTORY_MAX {
            self.wishes.pop_front();
        }
        let steady = current.max(lowest).min(highest);
        let able = match steady == proposed {
            true => ("ReadyForNewScale", "recommended size matches current size"),
            false if steady > proposed => (
                "ScaleDownStabilized",
                "recent recommendations were higher than current one, applying the highest recent recommendation",
            ),
            false => (
                "ScaleUpStabilized",
                "recent recommendations were lower than current one, applying the lowest recent recommendation",
            ),
        };
        let (least, most) = bounds(spec);
        let paced = if steady > current {
            steady.min(current.max(self.limit(spec, "scaleUp", current, now)))
        } else {
            steady.max(current.min(self.limit(spec, "scaleDown", current, now)))
        };
        let replicas = paced.clamp(least, most.max(least));
        let limited = if replicas > paced {
            Some((
                "TooFewReplicas",
                "the desired replica count is less than the minimum replica count",
            ))
        } else if replicas < paced {
            Some((
                "TooManyReplicas",
                "the desired replica count is more than the maximum replica count",
            ))
        } else if paced < steady {
            Some((
                "ScaleUpLimit",
                "the desired replica count is increasing faster than the maximum scale rate",
            ))
        } else if paced > steady {
            Some((
                "ScaleDownLimit",
                "the desired replica count is decreasing faster than the maximum scale rate",
            ))
        } else {
            None
        };
        Decision {
            replicas,
            limited,
            able,
        }
    }

    /// How far the policies of a direction let the number of replicas go.
    fn limit(&self, spec: &Object, direction: &str, current: i64, now: Timestamp) -> i64 {
        let rules = ["spec", "behavior", direction];
        let select = spec
            .text(&[&rules[..], &["selectPolicy"]].concat())
            .unwrap_or("Max");
        if select == "Disabled" {
            return current;
        }
        let up = direction == "scaleUp";
        let given = spec.list(&[&rules[..], &["policies"]].concat());
        let default = if up {
            vec![("Pods", 4, 15), ("Percent", 100, 15)]
        } else {
            vec![("Percent", 100, 15)]
        };
        let read = |policy: &'_ Value| {
            let number = |key: &str| policy.get(key).and_then(Value::as_i64).unwrap_or_default();
            let kind = if policy.get("type").is_some_and(|kind| kind == "Pods") {
                "Pods"
            } else {
                "Percent"
            };
            (kind, number("value"), number("periodSeconds"))
        };
        let policies = if given.is_empty() {
            default
        } else {
            given.iter().map(read).collect()
        };
        let limits = policies.into_iter().map(|(kind, value, seconds)| {
            let added = self.changed_in(1, seconds, now);
            let taken = self.changed_in(-1, seconds, now);
            let start = current - added + taken;
            let percent = |sign: f64| start as f64 * (1.0 + sign * value as f64 / 100.0);
            match (up, kind) {
                (true, "Pods") => start + value,
                (true, _) => percent(1.0).ceil() as i64,
                (false, "Pods") => start - value,
                (false, _) => percent(-1.0).floor() as i64,
            }
        });
        // The most that may happen is the highest number on the way up and the lowest on the way down.
        let widest = (select == "Max") == up;
        let chosen = if widest { limits.max() } else { limits.min() };
        chosen.unwrap_or(current)
    }
}

/// Fewest and most replicas.
pub(crate) fn bounds(spec: &Object) -> (i64, i64) {
    let least = spec.integer(&["spec", "minReplicas"]).unwrap_or(1);
    (least, spec.integer(&["spec", "maxReplicas"]).unwrap_or(least))
}

/// A whole number of a wish, as `averageUtilization` has it.
pub(crate) fn whole(value: Option<&Value>) -> i64 {
    resolve(value, "0", 0, false)
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "cases are made in place")]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(used: f64) -> Sample {
        Sample {
            used: Some(used),
            requested: 100.0,
            ready: true,
        }
    }

    fn check(samples: &[Sample], percent: f64, current: i64, wanted: Option<i64>) {
        let proposal = propose(samples, Wish::Utilization(percent), current);
        assert_eq!(proposal.map(|one| one.replicas), wanted, "{samples:?}");
    }

    #[test]
    fn replicas_follow_what_the_pods_use() {
        check(&[pod(100.0), pod(100.0)], 50.0, 2, Some(4));
        check(&[pod(20.0), pod(30.0)], 50.0, 2, Some(1));
        check(&[pod(52.0), pod(50.0)], 50.0, 2, Some(2));
        check(&[], 50.0, 2, None);
        let silent = Sample {
            used: None,
            ..pod(0.0)
        };
        check(&[silent], 50.0, 1, None);
        // Not known: as if it used nothing, so that it does not drive the number up.
        check(&[pod(100.0), silent], 50.0, 2, Some(2));
        // Nor down.
        check(&[pod(10.0), silent], 50.0, 2, Some(2));
        let starting = Sample {
            ready: false,
            ..pod(500.0)
        };
        check(&[pod(100.0), pod(100.0), starting], 50.0, 3, Some(4));
        let average = propose(&[pod(300.0)], Wish::AverageValue(100.0), 1).map(|one| one.replicas);
        assert_eq!(average, Some(3));
        let nothing_asked = Sample {
            requested: 0.0,
            ..pod(5.0)
        };
        check(&[nothing_asked], 50.0, 1, None);
    }

    fn scaler(behavior: Value) -> Object {
        let spec = json!({"spec": {"minReplicas": 1, "maxReplicas": 10, "behavior": behavior}});
        Object::from_value(spec).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn fewer_replicas_wait_until_it_is_calm() {
        let spec = scaler(json!({}));
        let mut history = History::default();
        assert_eq!(history.decide(&spec, 4, 4, at(1000)).replicas, 4);
        let held = history.decide(&spec, 4, 1, at(1015));
        assert_eq!((held.replicas, held.able.0), (4, "ScaleDownStabilized"));
        assert_eq!(history.decide(&spec, 4, 1, at(1301)).replicas, 1);
    }

    #[test]
    fn policies_and_bounds_limit_a_step() {
        let spec = scaler(json!({}));
        let first = History::default().decide(&spec, 1, 50, at(1000));
        assert_eq!((first.replicas, first.limited.unwrap().0), (5, "ScaleUpLimit"));
        let far = History::default().decide(&spec, 8, 50, at(1000));
        assert_eq!((far.replicas, far.limited.unwrap().0), (10, "TooManyReplicas"));
        let none = History::default().decide(&spec, 1, 0, at(1000));
        assert_eq!((none.replicas, none.limited.unwrap().0), (1, "TooFewReplicas"));
        let slow = json!({"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
            "stabilizationWindowSeconds": 0});
        let spec = scaler(json!({"scaleDown": slow}));
        let mut history = History::default();
        assert_eq!(history.decide(&spec, 5, 1, at(1000)).replicas, 4);
        history.changed(-1, at(1000));
        let again = history.decide(&spec, 4, 1, at(1030));
        assert_eq!((again.replicas, again.limited.unwrap().0), (4, "ScaleDownLimit"));
        assert_eq!(history.decide(&spec, 4, 1, at(1061)).replicas, 3);
        let off = scaler(json!({"scaleUp": {"selectPolicy": "Disabled"}}));
        assert_eq!(History::default().decide(&off, 2, 9, at(1)).replicas, 2);
    }
}
