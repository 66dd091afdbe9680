//! A client of Kubernetes inside a lab.

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::lab::Lab;

impl Lab {
    /// Does something with a client of the bundled cluster, inside the lab's network.
    ///
    /// # Panics
    /// When there is no cluster yet, or the scenario does.
    pub fn with_client<T: Send + 'static, F: Future<Output = T>>(
        &self,
        scenario: impl FnOnce(Client) -> F + Send + 'static,
    ) -> T {
        let path = self.kubeconfig();
        self.inside(move || {
            // On one thread, which is the one that lives in the lab's network.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let kubeconfig = Kubeconfig::read_from(path).expect("a cluster was started");
                let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                    .await
                    .expect("the kubeconfig is complete");
                scenario(Client::try_from(config).expect("the kubeconfig is of use")).await
            })
        })
    }
}
