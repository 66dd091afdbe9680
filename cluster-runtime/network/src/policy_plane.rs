//! Keeps the rules of network policies in step with the API.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use cluster_client::{Api, Collection, Informer, InformerOptions};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::NetworkConfig;
use crate::policy::{PolicyObjects, policy_script};
use crate::sync::run_nft;

const ORDERS_WAITING_MAX: usize = 64;
/// A pod that is linked waits so long for its rules; longer means that the API does not answer.
const RULES_WAIT_MAX: Duration = Duration::from_secs(2);

/// What enforces network policies on this node.
pub(crate) struct PolicyPlane {
    orders: mpsc::Sender<Order>,
    stop: CancellationToken,
    /// Taken when it is stopped.
    task: Mutex<Option<tokio::task::JoinHandle<Option<()>>>>,
}

/// What happened to a pod of this node.
enum Order {
    Attached {
        pod: String,
        ip: Ipv4Addr,
        ruled: oneshot::Sender<()>,
    },
    Detached {
        pod: String,
    },
}

struct Follow {
    config: NetworkConfig,
    policies: Informer,
    pods: Informer,
    namespaces: Informer,
    attached: BTreeMap<String, Ipv4Addr>,
    /// Who waits for the rules of which pod.
    waiting: Vec<(String, oneshot::Sender<()>)>,
    /// What the kernel was told last.
    told: Option<String>,
}

impl PolicyPlane {
    /// Sets the present rules, and follows their changes until stopped. `attached` are pods that are linked already.
    pub(crate) async fn start(
        config: NetworkConfig,
        api: Arc<dyn Api>,
        attached: BTreeMap<String, Ipv4Addr>,
    ) -> Self {
        let options = InformerOptions::default();
        let policies = Collection::all("networking.k8s.io/v1", "networkpolicies");
        let mut follow = Follow {
            config,
            policies: Informer::start(api.clone(), policies, options.clone()),
            pods: Informer::start(api.clone(), Collection::all("v1", "pods"), options.clone()),
            namespaces: Informer::start(api, Collection::all("v1", "namespaces"), options),
            attached,
            waiting: Vec::new(),
            told: None,
        };
        for informer in [&follow.policies, &follow.pods, &follow.namespaces] {
            informer.synced().await;
        }
        follow.apply().await;
        let (orders, ordered) = mpsc::channel(ORDERS_WAITING_MAX);
        let stop = CancellationToken::new();
        let task = tokio::spawn(stop.clone().run_until_cancelled_owned(follow.run(ordered)));
        Self {
            orders,
            stop,
            task: Mutex::new(Some(task)),
        }
    }

    /// Waits until the rules of a pod that was linked are set, so that it is never open for a moment.
    pub(crate) async fn attached(&self, pod: &str, ip: Ipv4Addr) {
        let (ruled, set) = oneshot::channel();
        let order = Order::Attached {
            pod: pod.to_owned(),
            ip,
            ruled,
        };
        if self.orders.send(order).await.is_ok() && tokio::time::timeout(RULES_WAIT_MAX, set).await.is_err() {
            tracing::warn!(pod, %ip, "a pod starts before its network policies are known");
        }
    }

    pub(crate) async fn detached(&self, pod: &str) {
        // Nobody listens when it is stopped.
        let _ = self.orders.send(Order::Detached { pod: pod.to_owned() }).await;
    }

    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        if let Some(task) = self.task.lock().await.take() {
            let _ = task.await;
        }
    }
}

impl Follow {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut changes = [&self.policies, &self.pods, &self.namespaces].map(Informer::changes);
        loop {
            let [policies, pods, namespaces] = &mut changes;
            let changed = tokio::select! {
                changed = policies.changed() => changed.is_ok(),
                changed = pods.changed() => changed.is_ok(),
                changed = namespaces.changed() => changed.is_ok(),
                order = orders.recv() => match order {
                    Some(order) => {
                        self.take(order);
                        true
                    }
                    None => false,
                },
            };
            if !changed {
                return;
            }
            // What comes while rules are being set is taken together the next time.
            for changes in &mut changes {
                changes.mark_unchanged();
            }
            while let Ok(order) = orders.try_recv() {
                self.take(order);
            }
            self.apply().await;
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Attached { pod, ip, ruled } => {
                self.attached.insert(pod.clone(), ip);
                self.waiting.push((pod, ruled));
            }
            Order::Detached { pod } => {
                self.attached.remove(&pod);
            }
        }
    }

    async fn apply(&mut self) {
        let policies = self.policies.list();
        if policies.is_empty() && self.told.as_ref().is_none_or(String::is_empty) && self.told.is_some() {
            self.waiting.clear();
            return;
        }
        let pods = self.pods.list();
        let namespaces = self.namespaces.list();
        let objects = PolicyObjects {
            policies: &policies,
            pods: &pods,
            namespaces: &namespaces,
            attached: &self.attached,
        };
        let script = policy_script(&self.config, objects);
        // An empty text stands for no policies.
        let wanted = if policies.is_empty() {
            String::new()
        } else {
            script.clone()
        };
        if self.told.as_ref() != Some(&wanted) {
            match &self.config.nft {
                Some(nft) => match run_nft(nft, &script).await {
                    Ok(()) => self.told = Some(wanted),
                    Err(error) => {
                        tracing::error!(%error, "network policies are not up to date");
                        self.told = None;
                    }
                },
                None => {
                    if !policies.is_empty() {
                        tracing::warn!("no `nft`: network policies are not enforced");
                    }
                    self.told = Some(wanted);
                }
            }
        }
        let is_known = |uid: &str| pods.iter().any(|pod| pod.uid() == uid);
        // Whoever is let go here is told by that.
        self.waiting
            .retain(|(pod, _)| !policies.is_empty() && !is_known(pod));
    }
}
