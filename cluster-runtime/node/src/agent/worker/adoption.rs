//! What a worker takes over: containers that run already, and what the status says of those that are gone.

use super::*;

impl Worker {
    /// Takes over what is known from before: what runs, and what the status says.
    pub(super) fn recall(&mut self, found: Option<Sandbox>) {
        let object = self.pod.object.clone();
        if let Some(started) = object
            .text(&["status", "startTime"])
            .and_then(|text| text.parse().ok())
        {
            self.seen.began = started;
        }
        let phase = object.text(&["status", "phase"]).unwrap_or_default();
        self.seen.ended_before = matches!(phase, "Succeeded" | "Failed");
        let statuses = |key| object.list(&["status", key]).iter();
        let known: Vec<&Value> = statuses("initContainerStatuses")
            .chain(statuses("containerStatuses"))
            .chain(statuses("ephemeralContainerStatuses"))
            .collect();
        let status_of = |name: &str| known.iter().find(|status| status["name"] == name).copied();
        if let Some(sandbox) = found {
            let mut containers = sandbox.containers;
            containers.sort_by_key(|container| container.attempt);
            for container in containers {
                let status = status_of(&container.name);
                let flag = |key: &str| status.is_some_and(|status| status[key] == true);
                let (started, ready) = (flag("started"), flag("ready"));
                self.adopt(container, started, ready);
            }
        }
        for status in known {
            let name = status["name"].as_str().unwrap_or_default();
            let had_run = status["containerID"].as_str().is_some_and(|id| !id.is_empty());
            if self.seen.containers.contains_key(name) || !had_run || self.pod.container(name).is_none() {
                continue;
            }
            // It ran, and nothing of it is left: the machine was started anew.
            let attempt = status["restartCount"]
                .as_u64()
                .and_then(|count| u32::try_from(count).ok())
                .unwrap_or(0);
            let is_init = self.pod.is_init(name);
            let state = if is_init {
                InstanceState::New
            } else {
                InstanceState::Ended(self.unknown_end())
            };
            let instance = Instance {
                attempt,
                state,
                last: None,
                level: attempt,
            };
            self.seen.containers.insert(name.to_owned(), instance);
        }
    }

    pub(super) fn unknown_end(&self) -> Ended {
        Ended {
            id: None,
            image_id: String::new(),
            code: UNKNOWN_EXIT,
            signal: None,
            reason: "ContainerStatusUnknown",
            message: "The container could not be located when the pod was terminated".to_owned(),
            started: None,
            finished: self.seen.now,
        }
    }

    pub(super) fn adopt(&mut self, container: Container, started: bool, ready: bool) {
        let Some(config) = self.pod.container(&container.name) else {
            return;
        };
        let before = self.seen.containers.remove(&container.name);
        let last = before.and_then(|before| match before.state {
            InstanceState::Ended(ended) => Some(ended),
            _ => None,
        });
        let state = match &container.exit {
            Some(exit) => {
                let message = String::new();
                let (id, image) = (container.id.clone(), container.image_id.clone());
                InstanceState::Ended(Ended::of(id, image, container.started, exit, message))
            }
            None => InstanceState::Running(Running {
                id: container.id.clone(),
                image_id: container.image_id.clone(),
                stop_signal: container.stop_signal.clone(),
                started: container.started,
                is_started: started
                    || (config.startup_probe.is_none() && config.lifecycle.post_start.is_none()),
                is_ready: ready || config.readiness_probe.is_none(),
                condemned: None,
                stop_until: None,
            }),
        };
        let instance = Instance {
            attempt: container.attempt,
            state,
            last,
            level: container.attempt,
        };
        self.seen.containers.insert(container.name, instance);
    }

    /// Waits for the ends of containers that run already, and probes them.
    pub(super) async fn watch_adopted(&mut self) {
        if !self.adopting {
            return;
        }
        self.seen.ground = Ground::Making;
        self.spawn_ground();
        let containers = match self.shared.runtime.list().await {
            Ok(sandboxes) => sandboxes
                .into_iter()
                .find(|sandbox| sandbox.spec.id == self.pod.uid()),
            Err(_) => None,
        };
        for container in containers.into_iter().flat_map(|sandbox| sandbox.containers) {
            let current = self
                .seen
                .running(&container.name)
                .is_some_and(|running| running.id == container.id);
            if current {
                self.wait_for(&container);
                let store = self.shared.images.store().clone();
                let image = container.image.clone();
                let found = tokio::task::spawn_blocking(move || store.resolve(&image)).await;
                if let (Ok(Ok(image)), Some(config)) = (found, self.pod.container(&container.name).cloned()) {
                    self.learn_health(&config, &image);
                }
            }
        }
    }
}
