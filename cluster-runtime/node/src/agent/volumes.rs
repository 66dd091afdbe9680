//! The volumes of a pod: folders on the machine that its containers see.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use cluster_client::{Api, Target, WriteOptions};
use cluster_objects::Object;
use cluster_objects::quantity::Quantity;
use serde::Deserialize;
use serde_json::json;

use super::environment::{Fetched, Surroundings, binary_data, field_value, resource_value, text_data};
use super::lookup;
use super::mounts::mount_memory;
use super::nfs::mount_nfs;
use super::pod::{
    ClaimVolume, ConfigMapVolume, DownwardVolume, HostPath, KeyToPath, NfsVolume, Pod, SecretVolume,
    TokenProjection, Volume,
};

const DEFAULT_MODE: u32 = 0o644;
const DATA: &str = "..data";

/// Where the volumes of a pod are, by name.
pub(crate) type VolumePaths = BTreeMap<String, PathBuf>;

/// Why a volume is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume {volume:?} : {reason}")]
pub(crate) struct VolumeFailure {
    pub volume: String,
    pub reason: String,
}

/// Files of a volume that is made of objects: content and mode by path.
type Payload = BTreeMap<String, (Vec<u8>, u32)>;

/// Makes the volumes of a pod, or brings those that are made of objects up to date. Doing it again changes nothing.
pub(crate) async fn prepare(
    api: &dyn Api,
    pod: &Pod,
    folder: &Path,
    surroundings: &Surroundings,
) -> Result<VolumePaths, VolumeFailure> {
    let made = pod.spec.volumes.iter().map(|volume| async {
        let path = prepare_one(api, pod, volume, folder, surroundings).await;
        let failed = |reason| VolumeFailure {
            volume: volume.name.clone(),
            reason,
        };
        Ok((volume.name.clone(), path.map_err(failed)?))
    });
    let paths = futures::future::try_join_all(made).await?;
    Ok(paths.into_iter().collect())
}

async fn prepare_one(
    api: &dyn Api,
    pod: &Pod,
    volume: &Volume,
    folder: &Path,
    surroundings: &Surroundings,
) -> Result<PathBuf, String> {
    let path = folder.join(&volume.name);
    if let Some(host) = &volume.host_path {
        return host_path(host);
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        return claimed(api, pod, claim, path).await;
    }
    if let Some(nfs) = &volume.nfs {
        return mount_nfs(nfs, &[], &path).await.map(|()| path);
    }
    let group = pod.spec.security_context.fs_group;
    if let Some(empty) = &volume.empty_dir {
        let size = Quantity::from_value(&empty.size_limit).unwrap_or_default();
        return blocking({
            let (path, memory) = (path, empty.medium == "Memory");
            move || empty_dir(&path, memory, size, group).map(|()| path)
        })
        .await;
    }
    let is_secret = volume.secret.is_some() || volume.projected.is_some();
    let Some(payload) = payload(api, pod, volume, surroundings).await? else {
        let unknown = volume.others.keys().next();
        return match unknown {
            Some(kind) => Err(format!("volumes of the type `{kind}` are not supported")),
            None => Err("the volume has no source".to_owned()),
        };
    };
    blocking(move || {
        if is_secret {
            mount_memory(&path, None)?;
        }
        fs::create_dir_all(&path)?;
        write_payload(&path, &payload)?;
        if let Some(group) = group {
            give_to_group(&path, group, true)?;
        }
        Ok(path)
    })
    .await
}

/// Names of config maps and secrets that volumes are made of.
pub(crate) fn references(pod: &Pod) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut config_maps, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    for volume in &pod.spec.volumes {
        config_maps.extend(volume.config_map.iter().map(|map| map.name.clone()));
        secrets.extend(volume.secret.iter().map(|secret| secret.secret_name.clone()));
        for source in volume.projected.iter().flat_map(|projected| &projected.sources) {
            config_maps.extend(source.config_map.iter().map(|map| map.name.clone()));
            secrets.extend(source.secret.iter().map(|secret| secret.name.clone()));
        }
    }
    (config_maps, secrets)
}

/// The files of a volume that is made of objects; `None` for another kind of volume.
async fn payload(
    api: &dyn Api,
    pod: &Pod,
    volume: &Volume,
    surroundings: &Surroundings,
) -> Result<Option<Payload>, String> {
    let mut payload = Payload::new();
    let one = Pod {
        spec: super::pod::PodSpec {
            volumes: vec![volume.clone()],
            ..Default::default()
        },
        ..pod.clone()
    };
    let (config_maps, secrets) = references(&one);
    let fetched = lookup::fetch(api, pod.namespace(), &config_maps, &secrets).await;
    let fetched = fetched.map_err(|status| status.to_string())?;
    if let Some(map) = &volume.config_map {
        add_config_map(&mut payload, map, &fetched, map.default_mode)?;
    } else if let Some(secret) = &volume.secret {
        add_secret(
            &mut payload,
            &secret.secret_name,
            secret,
            &fetched,
            secret.default_mode,
        )?;
    } else if let Some(downward) = &volume.downward_api {
        add_downward(&mut payload, pod, downward, surroundings, downward.default_mode)?;
    } else if let Some(projected) = &volume.projected {
        let mode = projected.default_mode;
        for source in &projected.sources {
            if let Some(map) = &source.config_map {
                add_config_map(&mut payload, map, &fetched, mode)?;
            } else if let Some(secret) = &source.secret {
                add_secret(&mut payload, &secret.name, secret, &fetched, mode)?;
            } else if let Some(downward) = &source.downward_api {
                add_downward(&mut payload, pod, downward, surroundings, mode)?;
            } else if let Some(token) = &source.service_account_token {
                let text = request_token(api, pod, token).await?;
                payload.insert(
                    relative(&token.path)?,
                    (text.into_bytes(), mode.unwrap_or(DEFAULT_MODE)),
                );
            } else if let Some(kind) = source.others.keys().next() {
                return Err(format!("projections of the type `{kind}` are not supported"));
            }
        }
    } else {
        return Ok(None);
    }
    Ok(Some(payload))
}

fn add_config_map(
    payload: &mut Payload,
    map: &ConfigMapVolume,
    fetched: &Fetched,
    mode: Option<u32>,
) -> Result<(), String> {
    match fetched.config_maps.get(&map.name).and_then(Option::as_ref) {
        Some(object) => {
            let texts = text_data(object)
                .into_iter()
                .map(|(key, text)| (key, text.into_bytes()));
            let mut data: BTreeMap<String, Vec<u8>> = texts.collect();
            data.extend(binary_data(object, "binaryData"));
            add_keys(payload, data, &map.items, mode, map.optional, "config")
        }
        None if map.optional => Ok(()),
        None => Err(format!("configmap {:?} not found", map.name)),
    }
}

fn add_secret(
    payload: &mut Payload,
    name: &str,
    secret: &SecretVolume,
    fetched: &Fetched,
    mode: Option<u32>,
) -> Result<(), String> {
    match fetched.secrets.get(name).and_then(Option::as_ref) {
        Some(object) => add_keys(
            payload,
            binary_data(object, "data"),
            &secret.items,
            mode,
            secret.optional,
            "secret",
        ),
        None if secret.optional => Ok(()),
        None => Err(format!("secret {name:?} not found")),
    }
}

fn add_keys(
    payload: &mut Payload,
    mut data: BTreeMap<String, Vec<u8>>,
    items: &[KeyToPath],
    mode: Option<u32>,
    optional: bool,
    what: &str,
) -> Result<(), String> {
    let mode = mode.unwrap_or(DEFAULT_MODE);
    if items.is_empty() {
        payload.extend(data.into_iter().map(|(key, content)| (key, (content, mode))));
        return Ok(());
    }
    for item in items {
        match data.remove(&item.key) {
            Some(content) => {
                payload.insert(relative(&item.path)?, (content, item.mode.unwrap_or(mode)));
            }
            None if optional => {}
            None => return Err(format!("references non-existent {what} key: {}", item.key)),
        }
    }
    Ok(())
}

fn add_downward(
    payload: &mut Payload,
    pod: &Pod,
    downward: &DownwardVolume,
    surroundings: &Surroundings,
    mode: Option<u32>,
) -> Result<(), String> {
    for item in &downward.items {
        let value = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => field_value(pod, &field.field_path, surroundings)?,
            (None, Some(resource)) => resource_value(pod, None, resource, surroundings)?,
            (None, None) => continue,
        };
        let mode = item.mode.or(mode).unwrap_or(DEFAULT_MODE);
        payload.insert(relative(&item.path)?, (value.into_bytes(), mode));
    }
    Ok(())
}

/// Asks the API for a token of the pod's service account.
async fn request_token(api: &dyn Api, pod: &Pod, wanted: &TokenProjection) -> Result<String, String> {
    let account = match pod.spec.service_account_name.as_str() {
        "" => "default",
        name => name,
    };
    let target = Target::namespaced("v1", "serviceaccounts", pod.namespace(), account).subresource("token");
    let mut request = Object::new(
        "authentication.k8s.io/v1",
        "TokenRequest",
        Some(pod.namespace()),
        account,
    );
    let audiences = Some(&wanted.audience).filter(|audience| !audience.is_empty());
    request.set(
        &["spec"],
        json!({
            "audiences": audiences.into_iter().collect::<Vec<_>>(),
            "expirationSeconds": wanted.expiration_seconds.unwrap_or(3607),
            "boundObjectRef": {
                "apiVersion": "v1", "kind": "Pod", "name": pod.name(), "uid": pod.uid(),
            },
        }),
    );
    let answer = api.post(&target, request, &WriteOptions::default()).await;
    let answer = answer.map_err(|status| format!("failed to fetch token: {status}"))?;
    Ok(answer.text(&["status", "token"]).unwrap_or_default().to_owned())
}

/// Where the volume of a claim is; one that has to be mounted is mounted at `path`.
async fn claimed(api: &dyn Api, pod: &Pod, claim: &ClaimVolume, path: PathBuf) -> Result<PathBuf, String> {
    let failed = |status: cluster_objects::Status| status.to_string();
    let target = Target::namespaced("v1", "persistentvolumeclaims", pod.namespace(), &claim.claim_name);
    let found = lookup::get(api, &target).await.map_err(failed)?;
    let found = found.ok_or_else(|| format!("persistentvolumeclaim {:?} not found", claim.claim_name))?;
    let volume = found
        .text(&["spec", "volumeName"])
        .filter(|name| !name.is_empty());
    let volume =
        volume.ok_or_else(|| format!("persistentvolumeclaim {:?} is not bound", claim.claim_name))?;
    let target = Target::cluster_wide("v1", "persistentvolumes", volume);
    let volume = lookup::get(api, &target).await.map_err(failed)?;
    let volume = volume.ok_or_else(|| format!("the persistent volume of {:?} is gone", claim.claim_name))?;
    if let Some(path) = volume.text(&["spec", "hostPath", "path"]) {
        let kind = volume
            .text(&["spec", "hostPath", "type"])
            .unwrap_or("DirectoryOrCreate");
        let kind = if kind.is_empty() {
            "DirectoryOrCreate"
        } else {
            kind
        };
        return host_path(&HostPath {
            path: path.to_owned(),
            kind: kind.to_owned(),
        });
    }
    if let Some(path) = volume.text(&["spec", "local", "path"]) {
        return host_path(&HostPath {
            path: path.to_owned(),
            kind: "Directory".to_owned(),
        });
    }
    if let Some(nfs) = volume.at(&["spec", "nfs"]) {
        let mut nfs = NfsVolume::deserialize(nfs).map_err(|error| error.to_string())?;
        nfs.read_only |= claim.read_only;
        let options = volume.list(&["spec", "mountOptions"]).iter();
        let options: Vec<String> = options.filter_map(|it| it.as_str().map(str::to_owned)).collect();
        return mount_nfs(&nfs, &options, &path).await.map(|()| path);
    }
    Err(format!(
        "the persistent volume {:?} is neither `hostPath`, `local` nor `nfs`",
        volume.name()
    ))
}

/// Checks a path of the machine, and makes it where it says so.
fn host_path(host: &HostPath) -> Result<PathBuf, String> {
    let path = PathBuf::from(&host.path);
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(format!("the path `{}` must not contain `..`", host.path));
    }
    let failed = |error: io::Error| format!("hostPath {}: {error}", host.path);
    let kind = fs::metadata(&path).map(|seen| seen.file_type()).ok();
    let is = |test: fn(&fs::FileType) -> bool| kind.as_ref().is_some_and(test);
    let fits = match host.kind.as_str() {
        "" => true,
        "DirectoryOrCreate" if kind.is_none() => {
            fs::create_dir_all(&path).map_err(failed)?;
            true
        }
        "DirectoryOrCreate" | "Directory" => is(fs::FileType::is_dir),
        "FileOrCreate" if kind.is_none() => {
            File::create(&path).map_err(failed)?;
            true
        }
        "FileOrCreate" | "File" => is(fs::FileType::is_file),
        "Socket" => is(FileTypeExt::is_socket),
        "CharDevice" => is(FileTypeExt::is_char_device),
        "BlockDevice" => is(FileTypeExt::is_block_device),
        other => return Err(format!("unknown hostPath type {other:?}")),
    };
    if !fits {
        let wanted = match host.kind.as_str() {
            "Directory" | "DirectoryOrCreate" => "a directory",
            "File" | "FileOrCreate" => "a file",
            "Socket" => "a socket file",
            "CharDevice" => "a character device",
            _ => "a block device",
        };
        return Err(format!(
            "hostPath type check failed: {} is not {wanted}",
            host.path
        ));
    }
    if kind.is_none() && host.kind.is_empty() {
        // As Docker's binds do: what is missing becomes a folder.
        fs::create_dir_all(&path).map_err(failed)?;
    }
    Ok(path)
}

fn empty_dir(path: &Path, memory: bool, size: Quantity, group: Option<u32>) -> io::Result<()> {
    let exists = path.exists();
    if memory {
        mount_memory(path, Some(size).filter(|size| !size.is_zero()))?;
    }
    fs::create_dir_all(path)?;
    if !exists {
        fs::set_permissions(path, Permissions::from_mode(0o777))?;
    }
    match group {
        Some(group) if !exists => give_to_group(path, group, false),
        _ => Ok(()),
    }
}

/// Gives everything below a folder to a group, as `fsGroup` says: readable, and writable where the volume is.
fn give_to_group(path: &Path, group: u32, read_only: bool) -> io::Result<()> {
    let seen = fs::symlink_metadata(path)?;
    std::os::unix::fs::lchown(path, None, Some(group))?;
    if seen.is_symlink() {
        return Ok(());
    }
    let mut mode = seen.mode() & 0o7777 | if read_only { 0o440 } else { 0o660 };
    if seen.is_dir() {
        mode |= 0o2110;
        for entry in fs::read_dir(path)? {
            give_to_group(&entry?.path(), group, read_only)?;
        }
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Writes the files of a volume so that readers see all old or all new ones: they stand in a folder of their own, and
/// one link is replaced.
fn write_payload(folder: &Path, payload: &Payload) -> io::Result<()> {
    if is_written(folder, payload) {
        return Ok(());
    }
    let old = fs::read_link(folder.join(DATA)).ok();
    let number = old
        .as_ref()
        .and_then(|old| old.to_str()?.strip_prefix("..")?.parse::<u64>().ok());
    let fresh = format!("..{}", number.map_or(0, |number| number + 1));
    let fresh_path = folder.join(&fresh);
    match fs::remove_dir_all(&fresh_path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir(&fresh_path)?;
    fs::set_permissions(&fresh_path, Permissions::from_mode(0o755))?;
    for (path, (content, mode)) in payload {
        let path = fresh_path.join(path);
        if let Some(above) = path.parent() {
            fs::create_dir_all(above)?;
        }
        let mut file = File::create(&path)?;
        file.write_all(content)?;
        file.set_permissions(Permissions::from_mode(*mode))?;
    }
    let next = folder.join("..data.next");
    let _ = fs::remove_file(&next);
    symlink(&fresh, &next)?;
    fs::rename(&next, folder.join(DATA))?;
    let tops: BTreeSet<&str> = payload.keys().filter_map(|path| path.split('/').next()).collect();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !tops.contains(&*name) {
            fs::remove_file(folder.join(&*name))?;
        }
    }
    for top in tops {
        let link = folder.join(top);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(top), link)?;
        }
    }
    if let Some(old) = old.filter(|old| *old != Path::new(&fresh)) {
        fs::remove_dir_all(folder.join(old))?;
    }
    Ok(())
}

/// Whether exactly these files are there.
fn is_written(folder: &Path, payload: &Payload) -> bool {
    let data = folder.join(DATA);
    let count = |folder: &Path| -> io::Result<usize> {
        let mut count = 0;
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(next)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                } else {
                    count += 1;
                }
            }
        }
        Ok(count)
    };
    count(&data).is_ok_and(|count| count == payload.len())
        && payload
            .iter()
            .all(|(path, (content, _))| fs::read(data.join(path)).is_ok_and(|found| found == *content))
}

/// A path that stays in its volume.
fn relative(path: &str) -> Result<String, String> {
    let plain = Path::new(path)
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !plain || path.is_empty() || path.starts_with("..") {
        return Err(format!("the path `{path}` leads out of the volume"));
    }
    Ok(path.to_owned())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (text.as_bytes().to_vec(), 0o644)))
            .collect()
    }

    fn shown(folder: &Path) -> Vec<(String, String)> {
        let names = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut shown: Vec<(String, String)> = names
            .filter(|name| !name.starts_with(".."))
            .map(|name| {
                (
                    name.clone(),
                    fs::read_to_string(folder.join(&name)).unwrap_or_else(|_| "folder".into()),
                )
            })
            .collect();
        shown.sort();
        shown
    }

    #[test]
    fn files_are_replaced_together() {
        let dir = tempfile::tempdir().unwrap();
        write_payload(dir.path(), &payload(&[("a", "1"), ("b", "2"), ("sub/c", "3")])).unwrap();
        let first = fs::read_link(dir.path().join(DATA)).unwrap();
        write_payload(dir.path(), &payload(&[("a", "1"), ("b", "2"), ("sub/c", "3")])).unwrap();
        assert_eq!(
            fs::read_link(dir.path().join(DATA)).unwrap(),
            first,
            "nothing changed"
        );
        write_payload(dir.path(), &payload(&[("a", "new"), ("d", "4")])).unwrap();
        assert_eq!(
            shown(dir.path()),
            [("a".into(), "new".into()), ("d".into(), "4".to_owned())]
        );
        assert!(!dir.path().join(first).exists());
    }

    #[test]
    fn err_paths_out_of_the_volume() {
        for path in ["", "/etc/x", "../x", "a/../../x", "..x"] {
            assert!(relative(path).is_err(), "{path}");
        }
        assert!(relative("a/b").is_ok());
    }
}
