//! Volumes that are folders of this node, made for claims of classes that ask for them.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cluster_client::{
    Api, Clock, Collection, DeleteOptions, EventType, Informer, InformerOptions, Informers, Jitter,
    ObjectKey, Recorder, RecorderOptions, Target, WorkQueue, WorkQueueOptions, WriteOptions,
};
use cluster_objects::{Object, Status};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// The provisioner that storage classes name to get folders of nodes.
pub const LOCAL_PROVISIONER: &str = "tug.dev/local";

const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const STORAGE_PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// Makes and removes the folders behind claims of this node.
///
/// A claim that asks [`LOCAL_PROVISIONER`] and is told this node gets a folder below the root, named as its volume,
/// and a `local` volume bound to it. When the claim is gone, the class's reclaim policy says whether folder and volume
/// go too. The size that a claim asks for is noted and not enforced, as with every `local` volume.
#[derive(Debug)]
pub struct LocalVolumes {
    queue: WorkQueue<ObjectKey>,
    task: JoinHandle<()>,
}

/// Where folders are made, and by whom.
#[derive(Clone, Debug)]
pub struct LocalVolumesConfig {
    /// Name of this node.
    pub node: String,
    /// The folder that holds the volumes; made when it is missing.
    pub root: PathBuf,
    /// Spreads the waits between tries.
    pub jitter: Jitter,
}

impl LocalVolumes {
    /// Starts following claims and volumes in a task of the current tokio runtime.
    pub fn start(api: Arc<dyn Api>, config: LocalVolumesConfig) -> Self {
        let options = InformerOptions {
            jitter: config.jitter.clone(),
            ..InformerOptions::default()
        };
        let informers = Informers::new(api.clone(), options);
        let queue = WorkQueue::new(WorkQueueOptions {
            jitter: config.jitter.clone(),
            ..WorkQueueOptions::default()
        });
        let follow = |resource| {
            let (informer, added) = (informers.of("v1", resource), queue.clone());
            informer.add_handler(move |change| added.add(ObjectKey::of(change.object())));
            informer
        };
        let recorder_options = RecorderOptions {
            component: LOCAL_PROVISIONER.to_owned(),
            host: config.node.clone(),
            ..RecorderOptions::default()
        };
        let worker = Worker {
            claims: follow("persistentvolumeclaims"),
            volumes: follow("persistentvolumes"),
            classes: informers.of("storage.k8s.io/v1", "storageclasses"),
            recorder: Recorder::start(api.clone(), Clock::system(), recorder_options),
            api,
            informers,
            config,
        };
        let task = tokio::spawn(worker.run(queue.clone()));
        Self { queue, task }
    }

    /// Stops; the volume that is being made is finished.
    pub async fn stop(self) {
        self.queue.stop();
        // A task that panicked has nothing left to wait for.
        let _ = self.task.await;
    }
}

/// The folder that a claim is to get, and the volume that stands for it; `None` where it is not asked of this node.
fn wanted(claim: &Object, class: &Object, node: &str, root: &Path) -> Option<(PathBuf, Object)> {
    let asks = claim.annotation(STORAGE_PROVISIONER) == Some(LOCAL_PROVISIONER)
        && claim.text(&["spec", "volumeName"]).is_none_or(str::is_empty)
        && claim.deletion_timestamp().is_none();
    // A claim that waits for nobody gets its folder at once; nothing says where its pods will be.
    let here = claim.annotation(SELECTED_NODE).map_or(
        class.text(&["volumeBindingMode"]) != Some("WaitForFirstConsumer"),
        |selected| selected == node,
    );
    if !asks || !here {
        return None;
    }
    let name = format!("pvc-{}", claim.uid());
    let folder = root.join(&name);
    let mut volume = Object::new("v1", "PersistentVolume", None, &name);
    volume.set(
        &["metadata", "annotations"],
        json!({PROVISIONED_BY: LOCAL_PROVISIONER}),
    );
    let expression = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
    let requests = claim.at(&["spec", "resources", "requests", "storage"]);
    volume.set(
        &["spec"],
        json!({
            "capacity": {"storage": requests.cloned().unwrap_or_else(|| json!("1Gi"))},
            "accessModes": claim.list(&["spec", "accessModes"]),
            "volumeMode": "Filesystem",
            "storageClassName": class.name(),
            "persistentVolumeReclaimPolicy": class.text(&["reclaimPolicy"]).unwrap_or("Delete"),
            "local": {"path": folder},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}},
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": claim.namespace(),
                "name": claim.name(), "uid": claim.uid(),
            },
        }),
    );
    Some((folder, volume))
}

/// The folder of a volume of this root whose claim is gone and which is to go with it.
fn left_over(volume: &Object, root: &Path) -> Option<PathBuf> {
    let is_left = volume.text(&["status", "phase"]) == Some("Released")
        && volume.text(&["spec", "persistentVolumeReclaimPolicy"]) == Some("Delete")
        && volume.annotation(PROVISIONED_BY) == Some(LOCAL_PROVISIONER);
    let folder = root.join(volume.name());
    // Only what was made here, whatever somebody wrote into the volume since.
    let is_ours = volume.text(&["spec", "local", "path"]).map(Path::new) == Some(&*folder)
        && volume.name().starts_with("pvc-");
    (is_left && is_ours).then_some(folder)
}

struct Worker {
    api: Arc<dyn Api>,
    informers: Informers,
    claims: Informer,
    volumes: Informer,
    classes: Informer,
    recorder: Recorder,
    config: LocalVolumesConfig,
}

impl Worker {
    async fn run(self, queue: WorkQueue<ObjectKey>) {
        self.informers.synced().await;
        while let Some(work) = queue.next().await {
            if queue.take_overflow() {
                let all = self.claims.list().into_iter().chain(self.volumes.list());
                all.for_each(|object| queue.add(ObjectKey::of(&object)));
            }
            match self.sync(&work).await {
                Ok(()) => queue.forget(&work),
                Err(error) => {
                    let wait = queue.retry(work.clone());
                    tracing::warn!(object = %*work, %error, ?wait, "cannot keep a local volume");
                }
            }
        }
    }

    /// Keys without a namespace are volumes, the others claims.
    async fn sync(&self, key: &ObjectKey) -> Result<(), LocalVolumeError> {
        if key.namespace.is_empty() {
            let volume = self.volumes.get_key(key);
            let folder = volume
                .as_ref()
                .and_then(|volume| left_over(volume, &self.config.root));
            return match folder {
                Some(folder) => self.remove(key, folder).await,
                None => Ok(()),
            };
        }
        let Some(claim) = self.claims.get_key(key) else {
            return Ok(());
        };
        let class = claim.text(&["spec", "storageClassName"]).unwrap_or_default();
        let Some(class) = self.classes.get("", class) else {
            return Ok(());
        };
        let Some((folder, volume)) = wanted(&claim, &class, &self.config.node, &self.config.root) else {
            return Ok(());
        };
        let made = self.provide(folder, volume).await;
        let (kind, reason, message) = match &made {
            Ok(name) => (
                EventType::Normal,
                "ProvisioningSucceeded",
                format!("Successfully provisioned volume {name}"),
            ),
            Err(error) => (
                EventType::Warning,
                "ProvisioningFailed",
                format!(
                    "failed to provision volume with StorageClass {:?}: {error}",
                    class.name()
                ),
            ),
        };
        self.recorder.record(&claim, kind, reason, message);
        made.map(drop)
    }

    async fn provide(&self, folder: PathBuf, volume: Object) -> Result<String, LocalVolumeError> {
        let name = volume.name().to_owned();
        blocking(folder.clone(), make_folder).await?;
        let volumes = Collection::all("v1", "persistentvolumes");
        match self.api.create(&volumes, volume, &WriteOptions::default()).await {
            Ok(_) => Ok(name),
            // The cache was late: it was made before.
            Err(status) if status.is_already_exists() => Ok(name),
            Err(status) => Err(status.into()),
        }
    }

    async fn remove(&self, key: &ObjectKey, folder: PathBuf) -> Result<(), LocalVolumeError> {
        blocking(folder, |folder| match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
        .await?;
        let target = Target::cluster_wide("v1", "persistentvolumes", &key.name);
        match self.api.delete(&target, &DeleteOptions::default()).await {
            Err(status) if !status.is_not_found() => Err(status.into()),
            _ => Ok(()),
        }
    }
}

/// Containers of any user write into their volume, so everybody may.
fn make_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(0o777))
}

async fn blocking(
    folder: PathBuf,
    act: impl FnOnce(&Path) -> io::Result<()> + Send + 'static,
) -> Result<(), LocalVolumeError> {
    let task = tokio::task::spawn_blocking(move || {
        act(&folder).map_err(|source| LocalVolumeError::Folder { folder, source })
    });
    task.await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// Why a volume could not be made or removed.
#[derive(Debug, thiserror::Error)]
enum LocalVolumeError {
    #[error("cannot use `{}`: {source}", .folder.display())]
    Folder { folder: PathBuf, source: io::Error },
    #[error("{0}")]
    Refused(#[from] Status),
}

/// The class that claims get which name none: folders of the node where their pod runs.
pub fn local_storage_class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {
            "name": "local", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": LOCAL_PROVISIONER, "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(mode: &str) -> Object {
        let mut class = Object::from_value(local_storage_class()).unwrap();
        class.set(&["volumeBindingMode"], mode);
        class
    }

    fn claim(annotations: Value) -> Object {
        let mut claim = Object::new("v1", "PersistentVolumeClaim", Some("shop"), "data");
        claim.set(&["metadata", "uid"], "7");
        claim.set(&["metadata", "annotations"], annotations);
        claim.set(
            &["spec"],
            json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}),
        );
        claim
    }

    #[test]
    fn a_claim_gets_a_folder_of_the_node_that_it_is_told() {
        let check = |mode, annotations, expected: bool| {
            let wanted = wanted(&claim(annotations), &class(mode), "n1", Path::new("/volumes"));
            assert_eq!(wanted.is_some(), expected);
        };
        let asked = |node: &str| json!({STORAGE_PROVISIONER: LOCAL_PROVISIONER, SELECTED_NODE: node});
        check("WaitForFirstConsumer", asked("n1"), true);
        check("WaitForFirstConsumer", asked("n2"), false);
        check(
            "WaitForFirstConsumer",
            json!({STORAGE_PROVISIONER: LOCAL_PROVISIONER}),
            false,
        );
        check("Immediate", json!({STORAGE_PROVISIONER: LOCAL_PROVISIONER}), true);
        check(
            "Immediate",
            json!({STORAGE_PROVISIONER: "example.org/disk"}),
            false,
        );
        check("Immediate", json!({}), false);
    }

    #[test]
    fn a_volume_says_what_was_asked_for_and_where_it_is() {
        let asked = claim(json!({STORAGE_PROVISIONER: LOCAL_PROVISIONER, SELECTED_NODE: "n1"}));
        let (folder, volume) = wanted(&asked, &class("Immediate"), "n1", Path::new("/volumes")).unwrap();
        assert_eq!(folder, Path::new("/volumes/pvc-7"));
        assert_eq!(volume.text(&["spec", "capacity", "storage"]), Some("2Gi"));
        assert_eq!(volume.text(&["spec", "local", "path"]), Some("/volumes/pvc-7"));
        assert_eq!(volume.text(&["spec", "claimRef", "uid"]), Some("7"));
        assert_eq!(
            volume.text(&["spec", "persistentVolumeReclaimPolicy"]),
            Some("Delete")
        );
    }

    #[test]
    fn only_released_folders_that_were_made_here_are_removed() {
        let asked = claim(json!({STORAGE_PROVISIONER: LOCAL_PROVISIONER}));
        let root = Path::new("/volumes");
        let (folder, mut volume) = wanted(&asked, &class("Immediate"), "n1", root).unwrap();
        assert_eq!(left_over(&volume, root), None);
        volume.set(&["status", "phase"], "Released");
        assert_eq!(left_over(&volume, root), Some(folder));
        let mut kept = volume.clone();
        kept.set(&["spec", "persistentVolumeReclaimPolicy"], "Retain");
        assert_eq!(left_over(&kept, root), None);
        volume.set(&["spec", "local", "path"], "/etc");
        assert_eq!(left_over(&volume, root), None);
    }
}
