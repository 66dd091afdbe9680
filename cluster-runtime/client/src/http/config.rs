//! How a remote cluster is named and entered.

use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

/// A cluster and how to enter it: kubeconfig files and what overrides them.
#[derive(Clone, Debug, Default)]
pub struct HttpConfig {
    /// Kubeconfig files; of a field in several the first counts. One file must exist, of several those that do are
    /// taken, as kubectl has it. With none `api_server` must be given.
    pub kubeconfigs: Vec<PathBuf>,
    /// Context to use instead of the current one.
    pub context: Option<String>,
    /// Address of the API server.
    pub api_server: Option<String>,
    /// Bearer token.
    pub token: Option<String>,
    /// User to act as.
    pub as_user: Option<String>,
    /// Groups to act as.
    pub as_groups: Vec<String>,
    /// PEM file of the API server's certificate authority.
    pub ca_file: Option<PathBuf>,
    /// Name that the API server's certificate must have.
    pub tls_server_name: Option<String>,
    /// Take any certificate of the API server.
    pub insecure: bool,
}

/// Why a cluster cannot be entered.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A kubeconfig cannot be used.
    #[error("cannot use kubeconfig `{}`", .path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<KubeconfigError>,
    },
    /// The merged kubeconfig names no usable cluster.
    #[error("the kubeconfig names no usable cluster")]
    NoCluster {
        /// Why.
        source: Box<KubeconfigError>,
    },
    /// No context of that name.
    #[error("context `{context}` does not exist")]
    NoContext {
        /// The name asked for.
        context: String,
        /// The contexts there are.
        known: Vec<String>,
    },
    /// The address is no URL.
    #[error("`{address}` is no address of an API server")]
    Address {
        /// The address.
        address: String,
        /// Why.
        source: ::http::uri::InvalidUri,
    },
    /// The program that the kubeconfig gets credentials from gave none.
    #[error("no credentials from `{program}`, which the kubeconfig names")]
    Plugin {
        /// The program.
        program: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// Certificates, keys or the proxy cannot be used.
    #[error("cannot make a client for `{address}`")]
    Client {
        /// The address.
        address: String,
        /// Why.
        source: Box<kube::Error>,
    },
}

/// The current context of a kubeconfig file; `None` where the file does not exist or names none.
pub fn current_context(path: &Path) -> Result<Option<String>, ConnectError> {
    if !path.exists() {
        return Ok(None);
    }
    let kubeconfig = read(path)?;
    Ok(kubeconfig.current_context.filter(|context| !context.is_empty()))
}

impl HttpConfig {
    /// Reads the files and puts the overrides over them.
    pub(super) async fn load(&self) -> Result<kube::Config, ConnectError> {
        let kubeconfig = self.read_kubeconfigs()?;
        let mut config = match (kubeconfig, &self.api_server) {
            (Some(kubeconfig), _) if has_context(&kubeconfig, self.context.as_deref()) => {
                self.resolve(kubeconfig).await?
            }
            (Some(kubeconfig), None) => return Err(self.missing_context(kubeconfig)),
            (None, None) => return Err(self.missing_context(Kubeconfig::default())),
            (_, Some(address)) => kube::Config::new(parse_address(address)?),
        };
        if let Some(address) = &self.api_server {
            config.cluster_url = parse_address(address)?;
        }
        if let Some(token) = &self.token {
            config.auth_info.token = Some(token.clone().into());
            config.auth_info.token_file = None;
            config.auth_info.exec = None;
        }
        if self.as_user.is_some() {
            config.auth_info.impersonate.clone_from(&self.as_user);
        }
        if !self.as_groups.is_empty() {
            config.auth_info.impersonate_groups = Some(self.as_groups.clone());
        }
        if self.ca_file.is_some() {
            config.root_cert_file.clone_from(&self.ca_file);
        }
        if self.tls_server_name.is_some() {
            config.tls_server_name.clone_from(&self.tls_server_name);
        }
        config.accept_invalid_certs |= self.insecure;
        // Which requests may be sent again is decided per request, see `HttpApi`.
        config.default_retry = false;
        Ok(config)
    }

    fn read_kubeconfigs(&self) -> Result<Option<Kubeconfig>, ConnectError> {
        let mut merged: Option<Kubeconfig> = None;
        for path in &self.kubeconfigs {
            if self.kubeconfigs.len() > 1 && !path.exists() {
                continue;
            }
            let next = read(path)?;
            merged = Some(match merged {
                None => next,
                Some(before) => before
                    .merge(next)
                    .map_err(|source| kubeconfig_error(path, source))?,
            });
        }
        Ok(merged)
    }

    async fn resolve(&self, kubeconfig: Kubeconfig) -> Result<kube::Config, ConnectError> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
        config.map_err(|source| ConnectError::NoCluster {
            source: Box::new(source),
        })
    }

    fn missing_context(&self, kubeconfig: Kubeconfig) -> ConnectError {
        let wanted = self.context.clone().or(kubeconfig.current_context);
        match wanted.filter(|context| !context.is_empty()) {
            Some(context) => ConnectError::NoContext {
                context,
                known: kubeconfig
                    .contexts
                    .into_iter()
                    .map(|context| context.name)
                    .collect(),
            },
            None => ConnectError::NoCluster {
                source: Box::new(KubeconfigError::CurrentContextNotSet),
            },
        }
    }
}

fn has_context(kubeconfig: &Kubeconfig, wanted: Option<&str>) -> bool {
    let wanted = wanted.or(kubeconfig.current_context.as_deref());
    kubeconfig
        .contexts
        .iter()
        .any(|context| Some(context.name.as_str()) == wanted)
}

fn read(path: &Path) -> Result<Kubeconfig, ConnectError> {
    Kubeconfig::read_from(path).map_err(|source| kubeconfig_error(path, source))
}

fn kubeconfig_error(path: &Path, source: KubeconfigError) -> ConnectError {
    ConnectError::Kubeconfig {
        path: path.to_owned(),
        source: Box::new(source),
    }
}

fn parse_address(address: &str) -> Result<::http::Uri, ConnectError> {
    let with_scheme = if address.contains("://") {
        address.to_owned()
    } else {
        format!("https://{address}")
    };
    with_scheme.parse().map_err(|source| ConnectError::Address {
        address: address.to_owned(),
        source,
    })
}
