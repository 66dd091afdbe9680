//! A runtime that only remembers what it was asked: for simulations and for tests of the agent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cluster_client::{ExecExit, ExecRequest, ExecSession};
use jiff::Timestamp;
use tokio::io::AsyncWriteExt;
use tokio::sync::{oneshot, watch};

use super::api::{
    Container, ContainerExit, ContainerId, ContainerSpec, DiskUsage, Runtime, RuntimeError, Sandbox,
    SandboxSpec, Usage,
};

const SIGKILL: i32 = 9;

/// Containers that exist only in memory. Clones share them.
///
/// A container runs until it is stopped, or until [`SimulatedRuntime::end`] says that it has ended. A command that is
/// run in one prints its own words and ends with 0; `false` ends with 1.
#[derive(Clone, Default)]
pub struct SimulatedRuntime {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    sandboxes: BTreeMap<String, Sandbox>,
    containers: BTreeMap<ContainerId, Entry>,
}

struct Entry {
    container: Container,
    exit: watch::Sender<Option<ContainerExit>>,
}

impl SimulatedRuntime {
    /// Lets a container end by itself.
    pub fn end(&self, id: &ContainerId, code: i32) -> Result<(), RuntimeError> {
        let state = self.state();
        let entry = state
            .containers
            .get(id)
            .ok_or_else(|| RuntimeError::no_container(id))?;
        entry.end(code, None);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let state = self.state();
        let entry = state
            .containers
            .get(id)
            .ok_or_else(|| RuntimeError::no_container(id))?;
        if entry.exit.borrow().is_some() {
            return Err(RuntimeError::NotRunning { id: id.to_string() });
        }
        Ok(())
    }
}

impl Entry {
    fn end(&self, code: i32, signal: Option<i32>) {
        self.exit.send_if_modified(|exit| {
            let ends = exit.is_none();
            if ends {
                let finished = Timestamp::now();
                *exit = Some(ContainerExit {
                    code,
                    signal,
                    oom_killed: false,
                    finished,
                    unseen: false,
                });
            }
            ends
        });
    }
}

#[async_trait]
impl Runtime for SimulatedRuntime {
    fn version(&self) -> String {
        format!("simulated://{}", env!("CARGO_PKG_VERSION"))
    }

    async fn create_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox, RuntimeError> {
        let mut state = self.state();
        if state.sandboxes.contains_key(&spec.id) {
            return Err(RuntimeError::Exists {
                what: "sandbox",
                id: spec.id,
            });
        }
        let sandbox = Sandbox {
            spec,
            created: Timestamp::now(),
            netns: None,
            containers: Vec::new(),
        };
        state.sandboxes.insert(sandbox.spec.id.clone(), sandbox.clone());
        Ok(sandbox)
    }

    async fn remove_sandbox(&self, sandbox: &str) -> Result<(), RuntimeError> {
        let mut state = self.state();
        state.containers.retain(|_, entry| {
            let stays = entry.container.sandbox != sandbox;
            if !stays {
                entry.end(128 + SIGKILL, Some(SIGKILL));
            }
            stays
        });
        state.sandboxes.remove(sandbox);
        Ok(())
    }

    async fn start_container(&self, spec: ContainerSpec) -> Result<Container, RuntimeError> {
        let mut state = self.state();
        if !state.sandboxes.contains_key(&spec.sandbox) {
            return Err(RuntimeError::no_sandbox(&spec.sandbox));
        }
        if state.containers.contains_key(&spec.id) {
            return Err(RuntimeError::Exists {
                what: "container",
                id: spec.id.to_string(),
            });
        }
        if spec.process.args.is_empty() {
            return Err(RuntimeError::Start {
                reason: "no command specified".to_owned(),
            });
        }
        let container = spec.running(Timestamp::now(), 1);
        let entry = Entry {
            container: container.clone(),
            exit: watch::channel(None).0,
        };
        state.containers.insert(spec.id, entry);
        Ok(container)
    }

    async fn stop_container(
        &self,
        id: &ContainerId,
        _signal: &str,
        grace: Duration,
    ) -> Result<ContainerExit, RuntimeError> {
        {
            let state = self.state();
            let entry = state
                .containers
                .get(id)
                .ok_or_else(|| RuntimeError::no_container(id))?;
            if grace.is_zero() {
                entry.end(128 + SIGKILL, Some(SIGKILL));
            } else {
                entry.end(0, None);
            }
        }
        self.wait(id).await
    }

    async fn wait(&self, id: &ContainerId) -> Result<ContainerExit, RuntimeError> {
        let mut exit = {
            let state = self.state();
            let entry = state
                .containers
                .get(id)
                .ok_or_else(|| RuntimeError::no_container(id))?;
            entry.exit.subscribe()
        };
        let ended = exit.wait_for(Option::is_some).await;
        ended
            .ok()
            .and_then(|exit| exit.clone())
            .ok_or_else(|| RuntimeError::no_container(id))
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        if let Some(entry) = self.state().containers.remove(id) {
            entry.end(128 + SIGKILL, Some(SIGKILL));
        }
        Ok(())
    }

    async fn exec(&self, id: &ContainerId, request: &ExecRequest) -> Result<ExecSession, RuntimeError> {
        self.running(id)?;
        let (exit_sender, exit) = oneshot::channel();
        let code = i32::from(request.command.first().is_some_and(|name| name == "false"));
        let line = format!("{}\n", request.command.join(" "));
        let (mut output, stdout) = tokio::io::duplex(64 * 1024);
        tokio::spawn(async move {
            let _ = output.write_all(line.as_bytes()).await;
            drop(output);
            let _ = exit_sender.send(ExecExit::Code(code));
        });
        Ok(ExecSession {
            stdin: request.stdin.then(|| Box::pin(tokio::io::sink()) as _),
            stdout: Some(Box::pin(stdout)),
            stderr: None,
            resize: None,
            exit,
        })
    }

    async fn attach(&self, id: &ContainerId, _request: &ExecRequest) -> Result<ExecSession, RuntimeError> {
        self.running(id)?;
        let (exit_sender, exit) = oneshot::channel();
        let (runtime, id) = (self.clone(), id.clone());
        tokio::spawn(async move {
            if let Ok(ended) = runtime.wait(&id).await {
                let _ = exit_sender.send(ExecExit::Code(ended.code));
            }
        });
        Ok(ExecSession {
            stdin: None,
            stdout: Some(Box::pin(tokio::io::empty())),
            stderr: None,
            resize: None,
            exit,
        })
    }

    async fn list(&self) -> Result<Vec<Sandbox>, RuntimeError> {
        let state = self.state();
        let mut sandboxes: Vec<Sandbox> = state.sandboxes.values().cloned().collect();
        for sandbox in &mut sandboxes {
            for entry in state
                .containers
                .values()
                .filter(|entry| entry.container.sandbox == sandbox.spec.id)
            {
                let mut container = entry.container.clone();
                container.exit = entry.exit.borrow().clone();
                sandbox.containers.push(container);
            }
        }
        Ok(sandboxes)
    }

    async fn usage(&self, id: &ContainerId) -> Result<Usage, RuntimeError> {
        self.running(id)?;
        Ok(Usage {
            pids: 1,
            ..Usage::default()
        })
    }
    async fn disk_usage(&self, id: &ContainerId) -> Result<DiskUsage, RuntimeError> {
        let state = self.state();
        let known = state.containers.contains_key(id);
        known
            .then(DiskUsage::default)
            .ok_or_else(|| RuntimeError::no_container(id))
    }
}
