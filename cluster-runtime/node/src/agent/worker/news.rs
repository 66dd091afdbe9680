//! What a worker hears from its tasks, and what follows from it for what is known of the pod.

use super::*;

impl Worker {
    pub(super) fn hear(&mut self, news: News) {
        self.seen.now = self.shared.clock.now();
        match news {
            News::Ground(Ok(made)) => {
                self.ground_failures = 0;
                self.netns = made.netns;
                self.volumes = made.volumes;
                self.seen.ground = Ground::Ready { ips: made.ips };
                self.adopting = false;
                let running: Vec<(String, u32)> = self.running_containers();
                for (name, attempt) in running {
                    self.live(&name, attempt, false);
                }
            }
            News::Ground(Err(failure)) => self.ground_failed(failure),
            News::Image { container, fetched } => self.hear_image(container, fetched),
            News::Started {
                container,
                attempt,
                started,
            } => self.hear_started(&container, attempt, started),
            News::Ended {
                container,
                attempt,
                ended,
            } => self.hear_ended(&container, attempt, ended),
            News::HookFailed {
                container,
                attempt,
                message,
            } => {
                self.record(
                    EventType::Warning,
                    "FailedPostStartHook",
                    format!("PostStartHook failed: {message}"),
                );
                if let Some(running) = self.seen.running_mut(&container, attempt) {
                    let message = format!("Container {container} failed its postStart hook");
                    running.condemned = Some(Condemned {
                        message,
                        grace_seconds: None,
                    });
                }
            }
            News::Nothing => {}
            News::Left(Ok(())) => self.leaving = None,
            News::Left(Err(message)) => {
                self.leaving = None;
                tracing::warn!(pod = %self.pod.long_name(), message, "the sandbox of an ended pod stays");
            }
            News::Removed(Ok(())) => self.seen.removal = Removal::Done,
            News::Removed(Err(message)) => {
                tracing::warn!(pod = %self.pod.long_name(), message, "cannot remove the pod");
                let wait = SignedDuration::try_from(self.shared.config.retry_backoff.delay(4, 0.0));
                self.seen.removal =
                    Removal::Again(self.seen.now + wait.unwrap_or(SignedDuration::from_secs(1)));
            }
            News::Written(written) => self.hear_written(written),
            News::Measured(held, took) => self.hear_measured(&held, took),
            News::Refreshed(Ok(volumes)) => self.volumes = volumes,
            News::Refreshed(Err(failure)) => {
                self.record(EventType::Warning, "FailedMount", failure.to_string());
            }
        }
    }

    pub(super) fn running_containers(&self) -> Vec<(String, u32)> {
        let all = self.seen.containers.iter();
        all.filter(|(_, instance)| matches!(instance.state, InstanceState::Running(_)))
            .map(|(name, instance)| (name.clone(), instance.attempt))
            .collect()
    }

    pub(super) fn ground_failed(&mut self, failure: GroundFailure) {
        self.ground_failures += 1;
        let failures = self.ground_failures;
        let until = self.later(failures);
        self.record(EventType::Warning, failure.reason, failure.message.clone());
        self.seen.ground = Ground::Failed {
            message: failure.message,
            failures,
            until,
        };
        self.adopting = false;
    }

    pub(super) fn hear_image(&mut self, name: String, fetched: Result<Box<Fetched>, FetchFailure>) {
        let image = self
            .pod
            .container(&name)
            .map(|container| container.image.clone())
            .unwrap_or_default();
        let state = match fetched {
            Ok(fetched) => {
                let Fetched { image: found, pulled } = *fetched;
                let message = match pulled {
                    None => format!("Container image {image:?} already present on machine"),
                    Some(took) => format!("Successfully pulled image {image:?} in {took:.3?}"),
                };
                self.record(EventType::Normal, "Pulled", message);
                ImageState::Present(Box::new(found))
            }
            Err(FetchFailure { reason, message }) => {
                let failures = match self.seen.images.get(&name) {
                    Some(ImageState::Fetching { failures }) => failures + 1,
                    _ => 1,
                };
                let event = match reason {
                    "ErrImagePull" => format!("Failed to pull image {image:?}: {message}"),
                    _ => message.clone(),
                };
                self.record(EventType::Warning, "Failed", event);
                self.record(EventType::Warning, "Failed", format!("Error: {reason}"));
                if reason == "ErrImagePull" {
                    self.record(
                        EventType::Normal,
                        "BackOff",
                        format!("Back-off pulling image {image:?}"),
                    );
                }
                let wait = wait_before_restart(failures, &self.shared.config.restart_backoff);
                let at = self.seen.now;
                ImageState::Failed(ImageFailure {
                    reason,
                    message,
                    failures,
                    at,
                    until: at + wait,
                })
            }
        };
        self.seen.images.insert(name, state);
    }

    pub(super) fn hear_started(
        &mut self,
        name: &str,
        attempt: u32,
        started: Result<Container, StartFailure>,
    ) {
        let long_name = self.pod.long_name();
        match started {
            Ok(container) => {
                self.refusals.remove(name);
                self.record(EventType::Normal, "Created", format!("Created container: {name}"));
                self.record(EventType::Normal, "Started", format!("Started container {name}"));
                let Some(config) = self.config_of(name) else {
                    return;
                };
                let running = Running {
                    id: container.id.clone(),
                    image_id: container.image_id.clone(),
                    stop_signal: container.stop_signal.clone(),
                    started: container.started,
                    is_started: config.startup_probe.is_none() && config.lifecycle.post_start.is_none(),
                    is_ready: config.readiness_probe.is_none(),
                    condemned: None,
                    stop_until: None,
                };
                let Some(instance) = self.seen.containers.get_mut(name) else {
                    return;
                };
                instance.state = InstanceState::Running(running);
                let before = instance.last.as_ref().and_then(|last| last.id.clone());
                self.wait_for(&container);
                self.live(name, attempt, true);
                if let Some(id) = before {
                    self.forget(name, attempt, id);
                }
            }
            Err(StartFailure::Start(message)) => {
                let message = format!("failed to start container {name:?}: {message}");
                self.record(EventType::Warning, "Failed", format!("Error: {message}"));
                let ended = Ended {
                    id: None,
                    image_id: String::new(),
                    code: START_ERROR,
                    signal: None,
                    reason: "StartError",
                    message,
                    started: None,
                    finished: self.seen.now,
                };
                self.hear_ended(name, attempt, ended);
            }
            Err(StartFailure::NoSandbox) => {
                // Words and reason are the kubelet's.
                let message = "Pod sandbox changed, it will be killed and re-created.";
                self.record(EventType::Normal, "SandboxChanged", message);
                self.seen.ground = Ground::Absent;
                let until = self.later(1);
                if let Some(instance) = self.seen.containers.get_mut(name) {
                    instance.state = InstanceState::Refused(Refusal {
                        reason: "ContainerCreating",
                        message: String::new(),
                        failures: 1,
                        until,
                    });
                }
            }
            Err(StartFailure::Refused { reason, message }) => {
                self.record(EventType::Warning, "Failed", format!("Error: {message}"));
                tracing::debug!(pod = long_name, container = name, reason, message, "refused");
                let failures = self
                    .refusals
                    .entry(name.to_owned())
                    .and_modify(|count| *count += 1)
                    .or_insert(1);
                let failures = *failures;
                let until = self.later(failures);
                if let Some(instance) = self.seen.containers.get_mut(name) {
                    instance.state = InstanceState::Refused(Refusal {
                        reason,
                        message,
                        failures,
                        until,
                    });
                }
            }
        }
    }

    pub(super) fn hear_ended(&mut self, name: &str, attempt: u32, ended: Ended) {
        if let Some(life) = self.lives.remove(name) {
            life.abort();
        }
        let code = ended.code;
        let Some(instance) = self
            .seen
            .containers
            .get_mut(name)
            .filter(|instance| instance.attempt == attempt)
        else {
            return;
        };
        instance.state = InstanceState::Ended(ended);
        let waits = !wait_before_restart(instance.level, &self.shared.config.restart_backoff).is_zero();
        let Some(container) = self.pod.container(name) else {
            return;
        };
        if waits && will_restart(&self.pod, container, code) && self.seen.stop_began.is_none() {
            let long_name = self.pod.long_name();
            let message = format!("Back-off restarting failed container {name} in pod {long_name}");
            self.record(EventType::Warning, "BackOff", message);
        }
    }

    pub(super) fn hear_probe(&mut self, name: &str, attempt: u32, news: ProbeNews) {
        let Some(running) = self.seen.running_mut(name, attempt) else {
            return;
        };
        match news {
            ProbeNews::Started => running.is_started = true,
            ProbeNews::Ready(ready) => running.is_ready = ready,
            ProbeNews::Failed { kind, message } => {
                let message = format!("{} probe failed: {message}", kind.word());
                self.record(EventType::Warning, "Unhealthy", message);
            }
            ProbeNews::Condemned { kind, grace_seconds } => {
                let kind = kind.word().to_ascii_lowercase();
                let message = format!("Container {name} failed {kind} probe, will be restarted");
                running.condemned = Some(Condemned {
                    message,
                    grace_seconds,
                });
            }
        }
    }
}
