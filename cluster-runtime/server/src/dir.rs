//! The one folder that holds everything of a cluster's server, and what its files are called.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use cluster_network::Subnet;
use cluster_node::runtime::RuntimeChoice;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::serve::ServeError;
use crate::token::{Role, hex};

/// The data folder of one server of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDir(PathBuf);

/// What is decided once, when a cluster is first started in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterSettings {
    /// Version of the layout of the data folder.
    pub format: u32,
    /// What this machine is in its cluster.
    #[serde(default)]
    pub role: Role,
    /// Number of this server in the group of servers; 1 made the cluster.
    #[serde(default = "first_member")]
    pub member: u64,
    /// Name of this node.
    pub node_name: String,
    /// Address by which other machines reach this one; without it there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise_address: Option<Ipv4Addr>,
    /// Servers of the cluster that another machine has made, as far as they were known last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<SocketAddr>,
    /// Address that the API listens on.
    pub api_address: Ipv4Addr,
    /// Port that the API listens on.
    pub api_port: u16,
    /// Name of the bridge that pods are linked to.
    pub bridge: String,
    /// Addresses of this node's pods.
    pub pod_subnet: Subnet,
    /// Addresses of all pods of the cluster, of which each node has a part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_pods: Option<Subnet>,
    /// Addresses of services.
    pub service_subnet: Subnet,
    /// What makes the containers of pods without a runtime class.
    #[serde(default)]
    pub runtime: RuntimeChoice,
    /// Whether the machine was ready once as what it is: then its folder has all that belongs to that.
    #[serde(default)]
    pub served: bool,
}

/// Port at which servers reach an agent's containers, where nothing else is wished: that of the kubelet.
pub(crate) const AGENT_PORT: u16 = 10250;

/// The number of the server that makes a cluster.
pub(crate) const fn first_member() -> u64 {
    1
}

impl ClusterSettings {
    /// Addresses of all pods of the cluster.
    pub fn cluster_pods(&self) -> Subnet {
        self.cluster_pods.unwrap_or(self.pod_subnet)
    }

    /// Where other machines reach the API, or what an agent serves instead.
    pub(crate) fn advertised(&self) -> Option<SocketAddr> {
        let address = self.advertise_address?;
        Some(SocketAddr::from((address, self.api_port)))
    }
}

/// The layout that this program writes.
pub(crate) const FORMAT: u32 = 1;

/// Why the settings of a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The folder or a file in it cannot be read or written.
    #[error("cannot use the data folder `{}`", .path.display())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// The settings are no settings.
    #[error("cannot read `{}`", .path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A newer program wrote the folder.
    #[error("`{}` was written by a newer tug: its format is {found}, this one knows {FORMAT}: start that one", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

impl ClusterDir {
    /// Names the folder; nothing is made yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Whether a cluster was ever started here.
    pub fn is_initialised(&self) -> bool {
        self.settings_path().exists()
    }

    /// The kubeconfig of the cluster's administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    /// The log of the server.
    pub fn log(&self) -> PathBuf {
        self.0.join("server.log")
    }

    /// The images of the node.
    pub fn images(&self) -> PathBuf {
        self.0.join("images")
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.0.join("pki")
    }

    /// The kubeconfig by which this machine's own parts enter the API.
    pub(crate) fn own_kubeconfig(&self) -> PathBuf {
        self.pki().join("kubeconfig")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    pub(crate) fn node(&self) -> PathBuf {
        self.0.join("node")
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.0.join("volumes")
    }

    pub(crate) fn network(&self) -> PathBuf {
        self.0.join("network")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("server.lock")
    }

    fn peers_path(&self) -> PathBuf {
        self.0.join("peers.json")
    }

    /// Other servers of the cluster, as a server knew them last.
    pub(crate) fn peers(&self) -> Vec<SocketAddr> {
        let text = fs::read(self.peers_path()).unwrap_or_default();
        // They are of help, and nothing is lost without them.
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Keeps the other servers for the next start.
    pub(crate) fn save_peers(&self, peers: &[SocketAddr]) -> io::Result<()> {
        write_private(&self.peers_path(), &serde_json::to_vec(peers)?)
    }

    fn settings_path(&self) -> PathBuf {
        self.0.join("cluster.json")
    }

    /// Where this folder is: which folder of which running machine. A copy of it is elsewhere, the folder itself stays where it
    /// is until the machine is started again.
    pub(crate) fn place(&self) -> io::Result<String> {
        use std::os::unix::fs::MetadataExt;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let folder = fs::metadata(&self.0)?;
        let text = format!("{}:{}:{}", boot.trim(), folder.dev(), folder.ino());
        Ok(hex(&Sha256::digest(text)[..8]))
    }

    /// Makes the folder, for its owner alone.
    pub(crate) fn create(&self) -> Result<(), SettingsError> {
        use std::os::unix::fs::DirBuilderExt;
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.map_err(|source| SettingsError::Folder {
            path: self.0.clone(),
            source,
        })
    }

    /// Reads the settings; `None` where no cluster was started yet.
    pub fn settings(&self) -> Result<Option<ClusterSettings>, SettingsError> {
        let path = self.settings_path();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SettingsError::Folder { path, source }),
        };
        // The format is read first: the rest of a newer file may mean something else.
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let format: Format = match serde_json::from_slice(&bytes) {
            Ok(format) => format,
            Err(source) => return Err(SettingsError::Broken { path, source }),
        };
        if format.format > FORMAT {
            return Err(SettingsError::Newer {
                path,
                found: format.format,
            });
        }
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| SettingsError::Broken { path, source })
    }

    /// Refuses a folder of a machine that was ready once and of which something has gone: what is made anew in its place
    /// would be another cluster.
    pub(crate) fn check_whole(&self, settings: &ClusterSettings) -> Result<(), ServeError> {
        let needed: &[&'static str] = match settings.role {
            _ if !settings.served => &[],
            Role::Server => &[
                "store/format",
                "pki/ca.crt",
                "pki/ca.key",
                "pki/sa.key",
                "pki/storage.key",
            ],
            Role::Agent => &["pki/ca.crt", "pki/node.pem"],
        };
        match needed.iter().find(|name| !self.0.join(name).exists()) {
            None => Ok(()),
            Some(missing) => Err(ServeError::Incomplete {
                folder: self.0.clone(),
                missing,
            }),
        }
    }

    /// Writes the settings.
    pub(crate) fn save_settings(&self, settings: &ClusterSettings) -> Result<(), SettingsError> {
        let path = self.settings_path();
        let written = serde_json::to_vec_pretty(settings)
            .map_err(io::Error::from)
            .and_then(|bytes| write_private(&path, &bytes));
        written.map_err(|source| SettingsError::Folder { path, source })
    }
}

/// Replaces a file as a whole with one that only its owner can read.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let part = path.with_extension("part");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&part, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> ClusterSettings {
        ClusterSettings {
            format: FORMAT,
            role: Role::Server,
            member: 1,
            node_name: "one".into(),
            advertise_address: None,
            servers: Vec::new(),
            api_address: Ipv4Addr::LOCALHOST,
            api_port: 6443,
            bridge: "tug0".into(),
            pod_subnet: "10.42.0.0/24".parse().unwrap(),
            cluster_pods: Some("10.42.0.0/16".parse().unwrap()),
            service_subnet: "10.43.0.0/16".parse().unwrap(),
            runtime: RuntimeChoice::Embedded,
            served: false,
        }
    }

    #[test]
    fn settings_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let dir = ClusterDir::new(folder.path().join("cluster"));
        assert_eq!(dir.settings().unwrap(), None);
        dir.create().unwrap();
        dir.save_settings(&settings()).unwrap();
        assert_eq!(dir.settings().unwrap(), Some(settings()));
    }

    #[test]
    fn a_copy_of_a_folder_is_in_another_place() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let place = |folder: &tempfile::TempDir| ClusterDir::new(folder.path()).place().unwrap();
        assert_eq!(place(&one), place(&one));
        assert_ne!(place(&one), place(&other));
    }

    #[test]
    fn err_a_folder_that_lost_a_part_is_not_whole() {
        let folder = tempfile::tempdir().unwrap();
        let dir = ClusterDir::new(folder.path());
        let of = |role, served| ClusterSettings {
            role,
            served,
            ..settings()
        };
        assert!(dir.check_whole(&of(Role::Server, false)).is_ok());
        for (role, missing) in [(Role::Server, "store/format"), (Role::Agent, "pki/ca.crt")] {
            let refused = dir.check_whole(&of(role, true)).unwrap_err().to_string();
            assert!(refused.contains(missing), "{refused}");
        }
        fs::create_dir(dir.pki()).unwrap();
        for name in ["ca.crt", "node.pem"] {
            fs::write(dir.pki().join(name), "").unwrap();
        }
        assert!(dir.check_whole(&of(Role::Agent, true)).is_ok());
    }

    #[test]
    fn err_newer_and_broken_settings_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let dir = ClusterDir::new(folder.path());
        fs::write(dir.settings_path(), r#"{"format": 2, "moons": 3}"#).unwrap();
        assert!(matches!(
            dir.settings(),
            Err(SettingsError::Newer { found: 2, .. })
        ));
        fs::write(dir.settings_path(), "{").unwrap();
        assert!(matches!(dir.settings(), Err(SettingsError::Broken { .. })));
    }
}
