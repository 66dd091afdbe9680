//! The cluster that a command speaks to, started where it is the bundled one.

use std::path::PathBuf;
use std::sync::Arc;

use chart_release::cluster::Cluster;
use cluster_client::http::{ConnectError, HttpApi, HttpConfig, current_context};

use crate::bundled;
use crate::cluster_choice::{self, ClusterChoice, HomeKubeconfig};
use crate::failure::Failure;
use crate::holder::ThisProcess;
use crate::progress::ProgressLine;
use crate::settings::Settings;

/// Whether the bundled cluster is made when there was never one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// It is: the command brings something to it.
    Always,
    /// It is not: there cannot be anything in it.
    IfThere,
}

/// Chooses the cluster and starts it if it is the bundled one and stopped. Blocks: call it outside the runtime.
pub(crate) fn choose(settings: &Settings, start: Start) -> Result<HttpConfig, Failure> {
    if let Some(driver) = &settings.driver
        && !matches!(driver.as_str(), "secret" | "secrets")
    {
        // Its releases would not be seen, and new ones not by Helm.
        return Err(
            Failure::new(format!("HELM_DRIVER is `{driver}`, which is not supported"))
                .because("releases are kept in Secrets")
                .hint("`unset HELM_DRIVER`"),
        );
    }
    let kube = &settings.kube;
    let home = home_kubeconfig(settings)?;
    let (kubeconfigs, context) = match cluster_choice::choose(kube, home.as_ref()) {
        ClusterChoice::Named { kubeconfigs } => (kubeconfigs, kube.context.clone()),
        ClusterChoice::Bundled => (vec![start_bundled(settings, start)?], None),
    };
    Ok(HttpConfig {
        kubeconfigs,
        context,
        api_server: kube.api_server.clone(),
        token: kube.token.clone(),
        as_user: kube.as_user.clone(),
        as_groups: kube.as_groups.clone(),
        ca_file: kube.ca_file.clone(),
        tls_server_name: kube.tls_server_name.clone(),
        insecure: kube.insecure,
    })
}

/// Whether the cluster that would be chosen is the bundled one.
pub(crate) fn is_bundled(settings: &Settings) -> Result<bool, Failure> {
    let home = home_kubeconfig(settings)?;
    Ok(cluster_choice::choose(&settings.kube, home.as_ref()) == ClusterChoice::Bundled)
}

/// Whether choosing the cluster would start the bundled one: then whoever can fail without it fails before.
pub(crate) fn would_start(settings: &Settings) -> Result<bool, Failure> {
    let home = home_kubeconfig(settings)?;
    let chosen = cluster_choice::choose(&settings.kube, home.as_ref());
    Ok(chosen == ClusterChoice::Bundled && !bundled::is_running(settings)?)
}

/// Connects, within the runtime.
pub(crate) async fn connect(settings: &Settings, config: &HttpConfig) -> Result<Cluster, Failure> {
    let api = HttpApi::connect(config).await.map_err(|error| explain(&error))?;
    let namespace = match &settings.namespace {
        Some(namespace) => namespace.clone(),
        None => api.default_namespace().to_owned(),
    };
    let mut cluster = Cluster::new(Arc::new(api), &namespace);
    cluster.observer = Arc::new(ProgressLine::new(settings.console.clone()));
    cluster.zone = settings.zone();
    cluster.presence = Arc::new(ThisProcess::new(settings.user.clone()));
    Ok(cluster)
}

fn home_kubeconfig(settings: &Settings) -> Result<Option<HomeKubeconfig>, Failure> {
    let Some(home) = &settings.home else {
        return Ok(None);
    };
    let path = cluster_choice::home_kubeconfig_path(home);
    // A broken file is of no interest to who names another cluster.
    let kube = &settings.kube;
    let named = !kube.kubeconfigs.is_empty() || kube.context.is_some() || kube.api_server.is_some();
    let current_context = if named {
        None
    } else {
        current_context(&path).map_err(|error| explain(&error))?
    };
    Ok(path.exists().then_some(HomeKubeconfig {
        path,
        current_context,
    }))
}

/// Makes sure that the bundled cluster runs, and gives its kubeconfig.
fn start_bundled(settings: &Settings, start: Start) -> Result<PathBuf, Failure> {
    let dir = bundled::directory(settings);
    if start == Start::IfThere && !dir.is_initialised() {
        return Err(
            Failure::new("no cluster is named, and the bundled one was never started")
                .hint("`tug install NAME CHART` or `tug cluster start` starts it")
                .hint("`--kubeconfig FILE` or `--kube-context NAME` name another"),
        );
    }
    bundled::ensure_running(settings, &bundled::options(settings))?;
    Ok(dir.kubeconfig())
}

fn explain(error: &ConnectError) -> Failure {
    let failure = Failure::from_error(error);
    match error {
        ConnectError::NoContext { known, .. } if known.is_empty() => {
            failure.hint("`--kube-context tug` is the bundled cluster")
        }
        ConnectError::NoContext { known, .. } => failure.hint(format!(
            "contexts are: {}, and `tug`, the bundled cluster",
            known.join(", ")
        )),
        ConnectError::NoCluster { .. } => {
            failure.hint("`--kube-context NAME` chooses one, `--kube-context tug` is the bundled cluster")
        }
        _ => failure,
    }
}
