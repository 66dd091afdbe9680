//! Docker's health check of an image, as the readiness probe of containers that have no probe of their own.

use super::pod::{ContainerConfig, ExecAction, Probe};
use crate::image::HealthCheck;

const NANOSECONDS: u64 = 1_000_000_000;
/// What Docker takes where an image does not say.
const SECONDS: u64 = 30;
const RETRIES: u32 = 3;

/// The readiness probe that an image brings for a container. A container with any probe has been thought about: the
/// image is not asked then. Docker does not restart what is unhealthy, and nothing does so here.
pub(crate) fn probe_of(container: &ContainerConfig, check: &HealthCheck) -> Option<Probe> {
    let own = [
        &container.readiness_probe,
        &container.liveness_probe,
        &container.startup_probe,
    ];
    if own.iter().any(|probe| probe.is_some()) {
        return None;
    }
    let (kind, words) = check.test.split_first()?;
    let command = match kind.as_str() {
        "CMD" if !words.is_empty() => words.to_vec(),
        "CMD-SHELL" => vec!["/bin/sh".to_owned(), "-c".to_owned(), words.first()?.clone()],
        _ => return None,
    };
    let seconds = |nanoseconds: u64| match nanoseconds.div_ceil(NANOSECONDS) {
        0 => SECONDS,
        seconds => seconds,
    };
    Some(Probe {
        exec: Some(ExecAction { command }),
        period_seconds: Some(seconds(check.interval)),
        timeout_seconds: Some(seconds(check.timeout)),
        failure_threshold: Some(if check.retries == 0 {
            RETRIES
        } else {
            check.retries
        }),
        ..Probe::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(test: &[&str], expected: Option<&[&str]>) {
        let check = HealthCheck {
            test: test.iter().map(|&word| word.to_owned()).collect(),
            interval: 1_500_000_000,
            ..HealthCheck::default()
        };
        let found = probe_of(&ContainerConfig::default(), &check);
        let command = found
            .as_ref()
            .and_then(|probe| probe.exec.as_ref())
            .map(|exec| exec.command.clone());
        let expected = expected.map(|words| words.iter().map(|&word| word.to_owned()).collect());
        assert_eq!(command, expected, "{test:?}");
        if let Some(probe) = found {
            assert_eq!((probe.period_seconds, probe.timeout_seconds), (Some(2), Some(30)));
            let own = ContainerConfig {
                liveness_probe: Some(Probe::default()),
                ..ContainerConfig::default()
            };
            assert_eq!(probe_of(&own, &check), None);
        }
    }

    #[test]
    fn a_health_check_of_docker_is_a_readiness_probe() {
        check(&["CMD", "ask", "it"], Some(&["ask", "it"]));
        check(&["CMD-SHELL", "ask it"], Some(&["/bin/sh", "-c", "ask it"]));
        check(&["NONE"], None);
        check(&[], None);
        check(&["CMD"], None);
    }
}
