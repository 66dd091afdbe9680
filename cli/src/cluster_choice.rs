//! Which cluster a command speaks to.

use std::path::{Path, PathBuf};

use crate::settings::KubeSettings;

/// The context name that always means the bundled cluster.
pub(crate) const BUNDLED_CONTEXT: &str = "tug";

/// A cluster to speak to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClusterChoice {
    /// The cluster that a kubeconfig, or flags alone, name.
    Named {
        /// Files to merge; the first that sets a field wins.
        kubeconfigs: Vec<PathBuf>,
    },
    /// The cluster inside this binary.
    Bundled,
}

/// What is known of `~/.kube/config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HomeKubeconfig {
    /// The file.
    pub(crate) path: PathBuf,
    /// Its current context, if it exists and has one.
    pub(crate) current_context: Option<String>,
}

/// Chooses the cluster.
///
/// In this order: the context `tug` is the bundled cluster; flags or `KUBECONFIG` name one; `~/.kube/config` does
/// when it has a current context; else the bundled cluster.
pub(crate) fn choose(kube: &KubeSettings, home: Option<&HomeKubeconfig>) -> ClusterChoice {
    let context = kube.context.as_deref();
    if context == Some(BUNDLED_CONTEXT) {
        return ClusterChoice::Bundled;
    }
    if !kube.kubeconfigs.is_empty() {
        let kubeconfigs = kube.kubeconfigs.clone();
        return ClusterChoice::Named { kubeconfigs };
    }
    let home_file = || home.map(|home| vec![home.path.clone()]).unwrap_or_default();
    if context.is_some() || kube.api_server.is_some() {
        return ClusterChoice::Named {
            kubeconfigs: home_file(),
        };
    }
    match home.and_then(|home| home.current_context.as_deref()) {
        None | Some(BUNDLED_CONTEXT) => ClusterChoice::Bundled,
        Some(_) => ClusterChoice::Named {
            kubeconfigs: home_file(),
        },
    }
}

/// Where kubectl keeps its configuration.
pub(crate) fn home_kubeconfig_path(home: &Path) -> PathBuf {
    home.join(".kube").join("config")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kube: &KubeSettings, current_context: Option<&str>, expected: &[&str]) {
        let home = HomeKubeconfig {
            path: "/home/ann/.kube/config".into(),
            current_context: current_context.map(str::to_owned),
        };
        let expected = match expected {
            [] => ClusterChoice::Bundled,
            files => ClusterChoice::Named {
                kubeconfigs: files.iter().map(PathBuf::from).collect(),
            },
        };
        assert_eq!(choose(kube, Some(&home)), expected);
    }

    #[test]
    fn the_first_that_names_a_cluster_wins() {
        let nothing = KubeSettings::default();
        let context = |name: &str| KubeSettings {
            context: Some(name.into()),
            ..KubeSettings::default()
        };
        let file = |context: Option<&str>| KubeSettings {
            kubeconfigs: vec!["/etc/k".into()],
            context: context.map(str::to_owned),
            ..KubeSettings::default()
        };
        let server = KubeSettings {
            api_server: Some("https://k".into()),
            ..KubeSettings::default()
        };
        let home = "/home/ann/.kube/config";
        check(&nothing, None, &[]);
        check(&nothing, Some("prod"), &[home]);
        check(&nothing, Some("tug"), &[]);
        check(&context("tug"), Some("prod"), &[]);
        check(&context("prod"), None, &[home]);
        check(&file(None), Some("prod"), &["/etc/k"]);
        check(&file(Some("a")), Some("prod"), &["/etc/k"]);
        check(&file(Some("tug")), Some("prod"), &[]);
        check(&server, None, &[home]);
    }
}
