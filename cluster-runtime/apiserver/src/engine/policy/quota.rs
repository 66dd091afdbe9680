//! `ResourceQuota`: what an object costs is taken from the quota in the same commit.
//!
//! Rules and words are those of `k8s.io/apiserver/pkg/admission/plugin/resourcequota`. The count of a quota is a
//! part of the transaction that stores the object, so that two requests never share the last free place.

use std::sync::Arc;

use cluster_objects::amounts::{self, Amounts, amounts};
use cluster_objects::quantity::Quantity;
use cluster_objects::quota::Quota;
use cluster_objects::{Object, Status};
use cluster_store::{Change, Key, Precondition, Write};

use super::super::admission::Admission;
use super::super::revision_of;

/// Takes from the quotas of the namespace what the object costs, and refuses it where they have no more.
pub(in super::super) fn charge_quota(admission: &mut Admission<'_>) -> Result<(), Status> {
    if admission.namespace.is_none() {
        return Ok(());
    }
    let table = Arc::clone(&admission.row.table);
    for object in admission.beside("resourcequotas")? {
        // The count of a quota does not bar the way to the quota itself.
        if *table == *"resourcequotas" && object.name() == admission.object.name() {
            continue;
        }
        let quota = Quota::new(&object);
        let forbidden = |why: String| {
            Err(Status::forbidden(
                &admission.row.resource(),
                admission.object.name(),
                &why,
            ))
        };
        let cost = quota.cost(&table, &admission.object);
        let before = admission
            .old
            .map(|old| quota.cost(&table, old))
            .unwrap_or_default();
        let more: Amounts = growth(&cost, &before);
        if more.is_empty() {
            continue;
        }
        if *table == *"pods"
            && let Some(unsaid) = quota.unsaid(&admission.object)
        {
            return forbidden(format!("failed quota: {}: {unsaid}", object.name()));
        }
        let hard = quota.hard();
        let used = used(admission, &object, &quota)?;
        let mut after = used.clone();
        amounts::add(&mut after, &more);
        let exceeded: Vec<&String> = more
            .keys()
            .filter(|name| {
                after
                    .get(*name)
                    .zip(hard.get(*name))
                    .is_some_and(|(after, hard)| after > hard)
            })
            .collect();
        if !exceeded.is_empty() {
            let told = |amounts: &Amounts| {
                let of = |name: &&String| amounts.get(*name).copied().unwrap_or_default();
                let parts: Vec<String> = exceeded
                    .iter()
                    .map(|name| format!("{name}={}", of(name)))
                    .collect();
                parts.join(",")
            };
            return forbidden(format!(
                "exceeded quota: {}, requested: {}, used: {}, limited: {}",
                object.name(),
                told(&more),
                told(&used),
                told(&hard)
            ));
        }
        let mut charged = Object::clone(&object);
        charged.set(&["status", "hard"], amounts::to_value(&hard));
        charged.set(&["status", "used"], amounts::to_value(&after));
        admission.dependencies.push(Write {
            key: Key::new(
                "resourcequotas",
                object.namespace().unwrap_or_default(),
                object.name(),
            ),
            precondition: Precondition::At(revision_of(&object)),
            change: Change::Put(Arc::new(charged)),
        });
    }
    Ok(())
}

/// What the object costs more than before.
fn growth(cost: &Amounts, before: &Amounts) -> Amounts {
    let more = cost.iter().filter_map(|(name, amount)| {
        let grown = *amount - before.get(name).copied().unwrap_or_default();
        (grown > Quantity::ZERO).then(|| (name.clone(), grown))
    });
    more.collect()
}

/// What is used of a quota: as its status says, or counted where the status does not speak of the present limits yet.
fn used(admission: &Admission<'_>, object: &Object, quota: &Quota<'_>) -> Result<Amounts, Status> {
    let hard = quota.hard();
    let counted = amounts(object.at(&["status", "used"]));
    let is_counted = amounts(object.at(&["status", "hard"])).keys().eq(hard.keys())
        && hard.keys().all(|name| counted.contains_key(name));
    if is_counted {
        return Ok(counted);
    }
    let mut used: Amounts = hard.keys().map(|name| (name.clone(), Quantity::ZERO)).collect();
    for table in quota.tables() {
        for present in admission.beside(&table)? {
            amounts::add(&mut used, &quota.cost(&table, &present));
        }
    }
    Ok(used)
}
