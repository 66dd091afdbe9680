//! Jobs and cron jobs.

use serde_json::Value;

use super::faults::Faults;
use super::field::Field;
use super::pod;
use crate::Object;
use crate::registry::KindRow;

pub(crate) fn job(_row: &KindRow, object: &Object, faults: &mut Faults) {
    job_spec(&Field::top(object, "spec"), faults);
}

fn job_spec(spec: &Field<'_, '_>, faults: &mut Faults) {
    for key in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        faults.not_negative(&spec.get(key));
    }
    faults.one_of(&spec.get("completionMode"), &["Indexed", "NonIndexed"]);
    if spec.get("completionMode").text() == "Indexed" && spec.get("completions").is_absent() {
        faults.required(&spec.get("completions"), "when completion mode is Indexed");
    }
    pod::selector(&spec.get("selector"), faults);
    let template = spec.get("template");
    if template.is_absent() {
        faults.required(&template, "");
        return;
    }
    pod::template(&template, &[], faults);
    let template = template.get("spec");
    let policy = template.get("restartPolicy");
    if policy.is_empty() {
        faults.required(&policy, "valid values: \"OnFailure\", \"Never\"");
    } else {
        faults.one_of(&policy, &["OnFailure", "Never"]);
    }
}

pub(crate) fn job_update(_row: &KindRow, new: &Object, old: &Object, faults: &mut Faults) {
    let (spec, before) = (Field::top(new, "spec"), Field::top(old, "spec"));
    let indexed = spec.get("completionMode").text() == "Indexed";
    // An indexed job may be resized, when completions and parallelism change together.
    let elastic = indexed && spec.get("completions").value == spec.get("parallelism").value;
    if !elastic {
        faults.immutable(&spec.get("completions"), &before.get("completions"));
    }
    for key in [
        "selector",
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
    ] {
        faults.immutable(&spec.get(key), &before.get(key));
    }
    let suspended = before.get("suspend").is_true();
    if !suspended {
        faults.immutable(&spec.get("template"), &before.get("template"));
    }
}

pub(crate) fn cron_job(_row: &KindRow, object: &Object, faults: &mut Faults) {
    const NAME_LENGTH_MAX: usize = 52;
    let metadata = Field::top(object, "metadata");
    let name = metadata.get("name");
    if name.text().len() > NAME_LENGTH_MAX {
        faults.invalid(
            &name,
            &format!("must be no more than {NAME_LENGTH_MAX} characters"),
        );
    }
    let spec = Field::top(object, "spec");
    let schedule = spec.get("schedule");
    if faults.require(&schedule)
        && let Some(why) = schedule_fault(schedule.text())
    {
        faults.invalid(&schedule, &why);
    }
    faults.not_negative(&spec.get("startingDeadlineSeconds"));
    faults.not_negative(&spec.get("successfulJobsHistoryLimit"));
    faults.not_negative(&spec.get("failedJobsHistoryLimit"));
    faults.one_of(&spec.get("concurrencyPolicy"), &["Allow", "Forbid", "Replace"]);
    let zone = spec.get("timeZone");
    if zone.value == &Value::from("") {
        faults.invalid(&zone, "timeZone must be nil or non-empty string");
    } else if !zone.is_absent() && jiff::tz::TimeZone::get(zone.text()).is_err() {
        faults.invalid(&zone, &format!("unknown time zone {}", zone.text()));
    }
    job_spec(&spec.get("jobTemplate").get("spec"), faults);
}

/// Why a schedule cannot be read: it has five fields, or is one of the named ones.
fn schedule_fault(schedule: &str) -> Option<String> {
    if schedule.contains("TZ") {
        return Some("cannot use TZ or CRON_TZ in schedule, use timeZone field instead".to_owned());
    }
    if let Some(name) = schedule.strip_prefix('@') {
        let known = [
            "yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly",
        ];
        let every = name
            .strip_prefix("every ")
            .is_some_and(|duration| !duration.is_empty());
        return (!known.contains(&name) && !every).then(|| format!("unrecognized descriptor: {schedule}"));
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != 5 {
        return Some(format!(
            "expected exactly 5 fields, found {}: [{}]",
            fields.len(),
            fields.join(" ")
        ));
    }
    let bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];
    fields
        .into_iter()
        .zip(bounds)
        .find_map(|(field, bounds)| field.split(',').find_map(|part| range_fault(part, bounds)))
}

/// Why one part of a schedule's field cannot be read: `*`, `5`, `1-5`, each with `/2`; months and days by name too.
fn range_fault(part: &str, (least, most): (u32, u32)) -> Option<String> {
    let number = |text: &str| -> Result<u32, String> {
        let names = [
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ];
        let days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
        let lower = text.to_lowercase();
        let named = match most {
            12 => names
                .iter()
                .position(|name| *name == lower)
                .map(|index| index + 1),
            6 => days.iter().position(|name| *name == lower),
            _ => None,
        };
        match named {
            Some(index) => Ok(u32::try_from(index).unwrap_or_default()),
            None => text
                .parse()
                .map_err(|_| format!("failed to parse int from {text}")),
        }
    };
    let (range, step) = part
        .split_once('/')
        .map_or((part, None), |(range, step)| (range, Some(step)));
    let bounds = if matches!(range, "*" | "?") {
        Ok((least, most))
    } else {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        number(low).and_then(|low| Ok((low, number(high)?)))
    };
    let (low, high) = match bounds {
        Ok(bounds) => bounds,
        Err(why) => return Some(why),
    };
    if low < least {
        return Some(format!(
            "beginning of range ({low}) below minimum ({least}): {part}"
        ));
    }
    if high > most {
        return Some(format!("end of range ({high}) above maximum ({most}): {part}"));
    }
    if low > high {
        return Some(format!(
            "beginning of range ({low}) beyond end of range ({high}): {part}"
        ));
    }
    match step.map(number) {
        Some(Ok(0)) => Some(format!("step of range should be a positive number: {part}")),
        Some(Err(why)) => Some(why),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_judged() {
        for good in [
            "* * * * *",
            "*/5 1-3,7 1 jan-mar mon",
            "0 0 * * 0",
            "@daily",
            "@every 5m",
            "0 0 ? * SUN",
        ] {
            assert_eq!(schedule_fault(good), None, "{good}");
        }
        let cases = [
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            (
                "5-1 * * * *",
                "beginning of range (5) beyond end of range (1): 5-1",
            ),
            ("x * * * *", "failed to parse int from x"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("@never", "unrecognized descriptor: @never"),
            (
                "TZ=UTC * * * * *",
                "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
            ),
        ];
        for (bad, wanted) in cases {
            assert_eq!(schedule_fault(bad).as_deref(), Some(wanted), "{bad}");
        }
    }
}
