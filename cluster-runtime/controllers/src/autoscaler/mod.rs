//! Horizontal autoscalers: as many replicas as the pods' use of resources asks for.
//!
//! `plan` holds the arithmetic; here the scale, the pods and what they use are read, and the outcome is written.
//! An autoscaler is looked at when it changes and every 15 seconds from then on, as in Kubernetes: use has no watch.

mod plan;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster_client::{
    Collection, EventType, Informer, ListOptions, ObjectKey, Patch, Target, WorkQueue, WriteOptions,
};
use cluster_objects::amounts::amounts;
use cluster_objects::quantity::Quantity;
use cluster_objects::{GroupVersionResource, Object, Status};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use self::plan::{History, Proposal, Sample, Wish, propose};
use crate::condition::{self, Condition};
use crate::context::Context;
use crate::pod;
use crate::reconcile::Reconcile;
use crate::resources::Resources;
use crate::step::{self, Outcome, Step};
use crate::time;

/// Between two looks at an autoscaler.
const PERIOD: Duration = Duration::from_secs(15);

fn autoscalers() -> GroupVersionResource {
    GroupVersionResource::new("autoscaling/v2", "horizontalpodautoscalers")
}

/// The controller of autoscalers.
pub(crate) struct Autoscalers {
    context: Context,
    autoscalers: Informer,
    resources: Arc<Resources>,
    histories: Mutex<HashMap<ObjectKey, History>>,
}

/// Why there is no number of replicas: reason and message of a condition.
struct Obstacle {
    /// The condition that is false.
    kind: &'static str,
    reason: &'static str,
    message: String,
}

impl Obstacle {
    fn inactive(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind: "ScalingActive",
            reason,
            message: message.into(),
        }
    }
}

/// A metric that was read.
struct Reading {
    proposal: Proposal,
    /// As it is told in the status.
    shown: Value,
    /// As an event names it.
    name: String,
}

impl Autoscalers {
    pub(crate) fn new(context: &Context, queue: &WorkQueue<ObjectKey>, resources: &Arc<Resources>) -> Self {
        let autoscalers = context.informers.of_resource(&autoscalers());
        let added = queue.clone();
        autoscalers.add_handler(move |change| {
            let generation = |object: &Object| object.at(&["spec"]).cloned();
            // A status of our own is no reason to look again before it is time.
            if change
                .old()
                .is_none_or(|old| generation(old) != generation(change.object()))
            {
                added.add(ObjectKey::of(change.object()));
            }
        });
        Self {
            context: context.component(Self::NAME),
            autoscalers,
            resources: resources.clone(),
            histories: Mutex::default(),
        }
    }

    async fn look(&self, key: &ObjectKey, scaler: &Object) -> Vec<Step> {
        let now = self.context.clock.now();
        let mut steps = match self.decide(key, scaler, now).await {
            Ok(steps) => steps,
            Err(obstacle) => {
                let mut conditions = scaler.list(&["status", "conditions"]).to_vec();
                let message = obstacle.message.as_str();
                set(
                    &mut conditions,
                    obstacle.kind,
                    "False",
                    obstacle.reason,
                    message,
                    now,
                );
                let mut steps = status(scaler, Map::new(), conditions);
                if !steps.is_empty() {
                    steps.push(Step::Tell {
                        kind: EventType::Warning,
                        reason: obstacle.reason,
                        message: obstacle.message,
                    });
                }
                steps
            }
        };
        steps.push(Step::Again(PERIOD));
        steps
    }

    async fn decide(&self, key: &ObjectKey, scaler: &Object, now: Timestamp) -> Result<Vec<Step>, Obstacle> {
        let unable = |reason, message: &dyn ToString| Obstacle {
            kind: "AbleToScale",
            reason,
            message: message.to_string(),
        };
        let target = self
            .target(scaler)
            .map_err(|message| unable("FailedGetScale", &message))?;
        let api = &*self.context.api;
        let scale = api.get(&target).await.map_err(|status| {
            unable(
                "FailedGetScale",
                &format!("the HPA controller was unable to get the target's current scale: {status}"),
            )
        })?;
        let current = scale.integer(&["spec", "replicas"]).unwrap_or_default();
        let mut conditions = scaler.list(&["status", "conditions"]).to_vec();
        let mut fields = Map::new();
        fields.insert("observedGeneration".into(), scaler.generation().into());
        fields.insert(
            "currentReplicas".into(),
            scale.integer(&["status", "replicas"]).unwrap_or(current).into(),
        );
        let (least, most) = plan::bounds(scaler);
        if current == 0 && least != 0 {
            set(
                &mut conditions,
                "AbleToScale",
                "True",
                "SucceededGetScale",
                "the HPA controller was able to get the target's current scale",
                now,
            );
            let message = "scaling is disabled since the replica count of the target is zero";
            set(
                &mut conditions,
                "ScalingActive",
                "False",
                "ScalingDisabled",
                message,
                now,
            );
            fields.insert("desiredReplicas".into(), 0.into());
            return Ok(status(scaler, fields, conditions));
        }
        let (wanted, limited, able, why, shown) = if current > most {
            (
                most,
                None,
                None,
                "Current number of replicas above Spec.MaxReplicas".to_owned(),
                None,
            )
        } else if current < least {
            (
                least,
                None,
                None,
                "Current number of replicas below Spec.MinReplicas".to_owned(),
                None,
            )
        } else {
            let readings = self.read(scaler, &scale, current).await?;
            let highest = readings.iter().max_by_key(|reading| reading.proposal.replicas);
            let Some(highest) = highest else {
                return Err(Obstacle::inactive(
                    "InvalidMetricSourceType",
                    "no metrics are named",
                ));
            };
            let proposed = highest.proposal.replicas;
            let why = match proposed > current {
                true => format!("{} above target", highest.name),
                false => "All metrics below target".to_owned(),
            };
            let message = format!(
                "the HPA was able to successfully calculate a replica count from {}",
                highest.name
            );
            set(
                &mut conditions,
                "ScalingActive",
                "True",
                "ValidMetricFound",
                &message,
                now,
            );
            let shown: Vec<Value> = readings.iter().map(|reading| reading.shown.clone()).collect();
            let mut histories = self.histories.lock().unwrap_or_else(PoisonError::into_inner);
            let decision = histories
                .entry(key.clone())
                .or_default()
                .decide(scaler, current, proposed, now);
            (
                decision.replicas,
                decision.limited,
                Some(decision.able),
                why,
                Some(shown),
            )
        };
        match limited {
            Some((reason, message)) => set(&mut conditions, "ScalingLimited", "True", reason, message, now),
            None => {
                let message = "the desired count is within the acceptable range";
                set(
                    &mut conditions,
                    "ScalingLimited",
                    "False",
                    "DesiredWithinRange",
                    message,
                    now,
                );
            }
        }
        if let Some(shown) = shown {
            fields.insert("currentMetrics".into(), shown.into());
        }
        fields.insert("desiredReplicas".into(), wanted.into());
        let mut steps = Vec::new();
        if wanted == current {
            let (reason, message) =
                able.unwrap_or(("ReadyForNewScale", "recommended size matches current size"));
            set(&mut conditions, "AbleToScale", "True", reason, message, now);
        } else {
            let patch = Patch::Merge(json!({"spec": {"replicas": wanted}}));
            if let Err(refused) = api.patch(&target, patch, &WriteOptions::default()).await {
                return Err(unable(
                    "FailedUpdateScale",
                    &format!("the HPA controller was unable to update the target scale: {refused}"),
                ));
            }
            let mut histories = self.histories.lock().unwrap_or_else(PoisonError::into_inner);
            histories
                .entry(key.clone())
                .or_default()
                .changed(wanted - current, now);
            let message = format!("the HPA controller was able to update the target scale to {wanted}");
            set(
                &mut conditions,
                "AbleToScale",
                "True",
                "SucceededRescale",
                &message,
                now,
            );
            fields.insert("lastScaleTime".into(), time::format(now).into());
            steps.push(Step::Tell {
                kind: EventType::Normal,
                reason: "SuccessfulRescale",
                message: format!("New size: {wanted}; reason: {why}"),
            });
        }
        steps.extend(status(scaler, fields, conditions));
        Ok(steps)
    }

    /// The scale of what an autoscaler scales.
    fn target(&self, scaler: &Object) -> Result<Target, String> {
        let text = |key: &str| scaler.text(&["spec", "scaleTargetRef", key]).unwrap_or_default();
        let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
        let kind = text("kind");
        let served = self.resources.of_kind(group, kind);
        let served = served.ok_or_else(|| format!("no matches for kind {kind:?} in group {group:?}"))?;
        let target = Target {
            resource: served.resource,
            namespace: scaler.namespace().map(str::to_owned),
            name: text("name").to_owned(),
            subresource: None,
        };
        Ok(target.subresource("scale"))
    }

    /// What the metrics of an autoscaler say. One that cannot be read is no obstacle while another can.
    async fn read(&self, scaler: &Object, scale: &Object, current: i64) -> Result<Vec<Reading>, Obstacle> {
        let namespace = scaler.namespace().unwrap_or_default();
        let selector = scale.text(&["status", "selector"]).unwrap_or_default();
        if selector.is_empty() {
            return Err(Obstacle::inactive(
                "InvalidSelector",
                "the HPA target's scale is missing a selector",
            ));
        }
        let options = ListOptions {
            label_selector: selector.to_owned(),
            ..ListOptions::default()
        };
        let api = &*self.context.api;
        let failed = |status: Status| {
            let message =
                format!("unable to get metrics: unable to fetch metrics from resource metrics API: {status}");
            Obstacle::inactive("FailedGetResourceMetric", message)
        };
        let pods = api
            .list(&Collection::namespaced("v1", "pods", namespace), &options)
            .await
            .map_err(failed)?;
        let measured = Collection::namespaced("metrics.k8s.io/v1beta1", "pods", namespace);
        let measured = api.list(&measured, &options).await.map_err(failed)?;
        let used: HashMap<&str, &Object> = measured.items.iter().map(|one| (one.name(), &**one)).collect();
        let mut readings = Vec::new();
        let mut obstacle = None;
        for metric in scaler.list(&["spec", "metrics"]) {
            match read_metric(metric, &pods.items, &used, current) {
                Ok(reading) => readings.push(reading),
                Err(found) => obstacle = Some(found),
            }
        }
        // With an unknown metric, it is not known that fewer replicas do.
        match obstacle {
            Some(obstacle)
                if readings
                    .iter()
                    .all(|reading| reading.proposal.replicas <= current) =>
            {
                Err(obstacle)
            }
            _ => Ok(readings),
        }
    }
}

/// What one metric says of the pods.
fn read_metric(
    metric: &Value,
    pods: &[Arc<Object>],
    used: &HashMap<&str, &Object>,
    current: i64,
) -> Result<Reading, Obstacle> {
    let kind = metric["type"].as_str().unwrap_or_default();
    let (field, source) = match kind {
        "Resource" => ("resource", &metric["resource"]),
        "ContainerResource" => ("containerResource", &metric["containerResource"]),
        "Pods" => return Err(Obstacle::inactive("FailedGetPodsMetric", unknown("custom"))),
        "Object" => return Err(Obstacle::inactive("FailedGetObjectMetric", unknown("custom"))),
        "External" => return Err(Obstacle::inactive("FailedGetExternalMetric", unknown("external"))),
        other => {
            let message = format!("unknown metric source type {other:?}");
            return Err(Obstacle::inactive("InvalidMetricSourceType", message));
        }
    };
    let resource = source["name"].as_str().unwrap_or_default();
    let container = source["container"].as_str();
    let target = &source["target"];
    let failed = |message: String| Obstacle::inactive("FailedGetResourceMetric", message);
    let (wish, label) = match target.get("averageUtilization") {
        Some(percent) => (
            Wish::Utilization(plan::whole(Some(percent)) as f64),
            "utilization (percentage of request)",
        ),
        None => (Wish::AverageValue(milli(target.get("averageValue"))), ""),
    };
    let (wish_is_zero, name) = match wish {
        Wish::Utilization(value) | Wish::AverageValue(value) => {
            let words = match container {
                Some(container) => format!("{resource} container {container} resource"),
                None => format!("{resource} resource"),
            };
            (value <= 0.0, format!("{words} {label}").trim_end().to_owned())
        }
    };
    if wish_is_zero {
        return Err(failed("the target of the metric is not above zero".to_owned()));
    }
    let mut samples = Vec::new();
    for pod in pods
        .iter()
        .filter(|pod| !pod::is_finished(pod) && pod.deletion_timestamp().is_none())
    {
        let requested = pod.list(&["spec", "containers"]).iter().chain(
            pod.list(&["spec", "initContainers"])
                .iter()
                .filter(|one| one["restartPolicy"] == "Always"),
        );
        let mut asked = 0.0;
        for one in requested.filter(|one| container.is_none_or(|name| one["name"] == name)) {
            let request = one["resources"]["requests"].get(resource);
            if request.is_none() && matches!(wish, Wish::Utilization(_)) {
                let name = one["name"].as_str().unwrap_or_default();
                return Err(failed(format!(
                    "failed to get {resource} utilization: missing request for {resource} in container {name} of Pod {}",
                    pod.name()
                )));
            }
            asked += milli(request);
        }
        let measured = used.get(pod.name()).map(|metrics| {
            let containers = metrics.list(&["containers"]).iter();
            let chosen = containers.filter(|one| container.is_none_or(|name| one["name"] == name));
            chosen
                .map(|one| {
                    amounts(one.get("usage"))
                        .get(resource)
                        .map_or(0.0, |amount| amount.milli() as f64)
                })
                .sum()
        });
        samples.push(Sample {
            used: measured,
            requested: asked,
            ready: pod::is_ready(pod) || resource != "cpu",
        });
    }
    let proposal = propose(&samples, wish, current).ok_or_else(|| {
        failed(format!(
            "unable to get metrics for resource {resource}: no metrics returned from resource metrics API"
        ))
    })?;
    let average = Quantity::from_milli(proposal.average.round() as i64);
    let mut shown = json!({"name": resource, "current": {"averageValue": average.to_string()}});
    if let Some(percent) = proposal.utilization {
        shown["current"]["averageUtilization"] = (percent as i64).into();
    }
    if let Some(container) = container {
        shown["container"] = container.into();
    }
    Ok(Reading {
        proposal,
        shown: json!({"type": kind, field: shown}),
        name,
    })
}

fn unknown(kind: &str) -> String {
    format!("unable to get metrics: no {kind} metrics API ({kind}.metrics.k8s.io) is served by this cluster")
}

/// Thousandths of a quantity.
fn milli(value: Option<&Value>) -> f64 {
    value
        .and_then(|value| Quantity::from_value(value).ok())
        .unwrap_or_default()
        .milli() as f64
}

fn set(conditions: &mut Vec<Value>, kind: &str, status: &str, reason: &str, message: &str, now: Timestamp) {
    let wanted = Condition {
        kind,
        status,
        reason,
        message,
    };
    condition::set_plain(conditions, wanted, now);
}

/// A write of the status, where it says something new.
fn status(scaler: &Object, mut fields: Map<String, Value>, conditions: Vec<Value>) -> Vec<Step> {
    fields.insert("conditions".into(), conditions.into());
    fields.retain(|key, value| scaler.at(&["status", key]) != Some(value));
    match fields.is_empty() {
        true => Vec::new(),
        false => vec![step::patch_status(&autoscalers(), scaler, fields.into())],
    }
}

impl Reconcile for Autoscalers {
    type Key = ObjectKey;

    const NAME: &'static str = "horizontal-pod-autoscaler";

    async fn sync(&self, key: &ObjectKey) -> Outcome {
        let Some(scaler) = self
            .autoscalers
            .get_key(key)
            .filter(|one| one.deletion_timestamp().is_none())
        else {
            let mut histories = self.histories.lock().unwrap_or_else(PoisonError::into_inner);
            histories.remove(key);
            return Outcome::default();
        };
        let steps = self.look(key, &scaler).await;
        self.context.execute(&scaler, steps).await
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.autoscalers
            .list()
            .iter()
            .map(|scaler| ObjectKey::of(scaler))
            .collect()
    }
}
