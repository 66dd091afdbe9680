//! Charts on both sides: what is pushed to the registry as a chart is listed in the index, and what was put into the
//! folder or uploaded can be pulled from the registry.
//!
//! The chart NAME of a tenant is the repository `TENANT/NAME`, its version the tag, with `_` for the `+` that tags
//! cannot have, as Helm does it. An archive that came by the registry has two names, one in each storage, and its bytes
//! are there once. One that is in the folder becomes part of the registry when it is first asked for there; it is copied,
//! since people change files in folders, and what the registry has never changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::answer::Refusal;
use crate::charts::ChartVersion;
use crate::charts::store::{AddError, Candidate, IfPresent, Source};
use crate::content::read_small;
use crate::digest::Digest;
use crate::name::{FileName, RepositoryName, Tag, Tenant};
use crate::options::Depth;
use crate::registry::manifest::{CHART_CONFIG, CHART_CONTENT, CHART_PROVENANCE, IMAGE_MANIFEST, Manifest};
use crate::registry::store::StoredManifest;
use crate::route::Reference;
use crate::server::Server;

/// The tenant whose chart a repository holds, and the chart's name.
fn chart_of(server: &Server, name: &RepositoryName) -> Option<(Tenant, String)> {
    let (tenant, chart) = name.split();
    let tenant: Tenant = tenant.parse().ok()?;
    match server.options.depth {
        Depth::Dynamic => {}
        Depth::Fixed(depth) if tenant.parts().count() == depth => {}
        Depth::Fixed(_) => return None,
    }
    Some((tenant, chart.to_owned()))
}

fn tag_of(version: &str) -> Option<Tag> {
    version.replace('+', "_").parse().ok()
}

/// The names of all repositories: those that were pushed to, and those of charts in folders.
pub(crate) async fn repositories(server: &Arc<Server>) -> Result<Vec<String>, Refusal> {
    let server = Arc::clone(server);
    let work = move || -> Result<Vec<String>, Refusal> {
        let mut names: BTreeSet<String> = BTreeSet::new();
        for name in server.registry.repositories()? {
            if !server.registry.manifests(&name)?.is_empty() {
                names.insert(name.to_string());
            }
        }
        for tenant in server.charts.tenants() {
            if let Some(charts) = server.charts.tenant(&tenant) {
                let of_charts =
                    charts.look(|listing| listing.names().map(|name| tenant.join(name)).collect::<Vec<_>>());
                names.extend(
                    of_charts
                        .into_iter()
                        .filter(|name| name.parse::<RepositoryName>().is_ok()),
                );
            }
        }
        Ok(names.into_iter().collect())
    };
    spawn_blocking(work).await?
}

/// The tags of a repository, without an order; `None` if there is no such repository.
pub(crate) async fn tags(
    server: &Arc<Server>,
    name: &RepositoryName,
) -> Result<Option<Vec<String>>, Refusal> {
    let (server, name) = (Arc::clone(server), name.clone());
    let work = move || -> Result<Option<Vec<String>>, Refusal> {
        let mut tags: BTreeSet<String> = server.registry.tags(&name)?.iter().map(Tag::to_string).collect();
        let mut exists = server.registry.has_repository(&name);
        if let Some((tenant, chart)) = chart_of(&server, &name)
            && let Some(charts) = server.charts.tenant(&tenant)
        {
            charts.look(|listing| {
                for version in listing.versions(&chart) {
                    exists = true;
                    tags.extend(tag_of(version.version_text()).map(|tag| tag.to_string()));
                }
            });
        }
        Ok(exists.then(|| tags.into_iter().collect()))
    };
    spawn_blocking(work).await?
}

/// A manifest by its tag or digest. That of a chart which is only in a folder is made.
pub(crate) async fn manifest(
    server: &Arc<Server>,
    name: &RepositoryName,
    reference: Reference,
) -> Result<Option<StoredManifest>, Refusal> {
    let (server, name) = (Arc::clone(server), name.clone());
    let work = move || -> Result<Option<StoredManifest>, Refusal> {
        let digest = match &reference {
            Reference::Digest(digest) => Some(digest.clone()),
            Reference::Tag(tag) => match server.registry.tag(&name, tag)? {
                Some(digest) => Some(digest),
                None => register_chart(&server, &name, tag)?,
            },
        };
        match digest {
            Some(digest) => Ok(server.registry.manifest(&name, &digest)?),
            None => Ok(None),
        }
    };
    spawn_blocking(work).await?
}

/// Makes a chart of a folder part of the registry.
fn register_chart(server: &Server, name: &RepositoryName, tag: &Tag) -> Result<Option<Digest>, Refusal> {
    let Some((tenant, chart)) = chart_of(server, name) else {
        return Ok(None);
    };
    let Some(charts) = server.charts.tenant(&tenant) else {
        return Ok(None);
    };
    let is_wanted = |version: &&Arc<ChartVersion>| tag_of(version.version_text()).as_ref() == Some(tag);
    let Some(version) = charts.look(|listing| listing.versions(&chart).find(is_wanted).cloned()) else {
        return Ok(None);
    };
    let folder = server.charts.layout().tenant(&tenant);
    let limit = server.charts.chart_bytes_max();
    let Some(archive) = read_small(&folder.join(&version.file), limit)? else {
        return Ok(None);
    };
    if Digest::sha256(&archive).hex() != version.digest {
        tracing::warn!("`{}` was changed since it was listed", version.file);
        return Ok(None);
    }
    let registry = &server.registry;
    let mut fields = version.fields();
    let created = fields["created"].clone();
    if let Some(fields) = fields.as_object_mut() {
        fields.retain(|field, _| !["urls", "digest", "created", "removed"].contains(&field.as_str()));
    }
    let config = fields.to_string();
    let mut layers = vec![layer(
        CHART_CONTENT,
        &registry.add_blob(name, &archive)?,
        archive.len(),
    )];
    if let Some(provenance) = read_small(&folder.join(format!("{}.prov", version.file)), limit)? {
        layers.push(layer(
            CHART_PROVENANCE,
            &registry.add_blob(name, &provenance)?,
            provenance.len(),
        ));
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": layer(CHART_CONFIG, &registry.add_blob(name, config.as_bytes())?, config.len()),
        "layers": layers,
        "annotations": {
            "org.opencontainers.image.title": version.name,
            "org.opencontainers.image.version": version.version_text(),
            "org.opencontainers.image.created": created,
        },
    });
    let bytes = manifest.to_string().into_bytes();
    let digest = Digest::sha256(&bytes);
    let Ok(manifest) = Manifest::read(&bytes, None) else {
        return Ok(None);
    };
    registry.put_manifest(name, &digest, &manifest, &bytes)?;
    // Another request may have done the same, or pushed: its tag stays.
    registry.put_tag(name, tag, &digest, true)?;
    Ok(registry.tag(name, tag)?)
}

fn layer(media_type: &str, digest: &Digest, size: usize) -> Value {
    json!({"mediaType": media_type, "digest": digest.to_string(), "size": size})
}

/// Lists a chart that was pushed, if it is one and its name and version are those of repository and tag.
pub(crate) fn list_chart(
    server: &Server,
    name: &RepositoryName,
    tag: &Tag,
    manifest: &Manifest,
) -> Result<(), Refusal> {
    let (Some((archive, provenance)), Some((tenant, chart))) = (manifest.chart(), chart_of(server, name))
    else {
        return Ok(());
    };
    let path = server.registry.layout().blob(archive);
    let bytes = match read_small(&path, server.charts.chart_bytes_max()) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
            tracing::warn!("`{name}:{tag}` is not listed: the chart is too large");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let modified = std::fs::metadata(&path).and_then(|about| about.modified())?;
    let candidate = match Candidate::read(&bytes, modified) {
        Ok(candidate) => candidate,
        Err(why) => {
            tracing::warn!("`{name}:{tag}` is not listed: {why}");
            return Ok(());
        }
    };
    let version = candidate.version.version_text();
    if candidate.version.name != chart || tag_of(version).as_ref() != Some(tag) {
        return Ok(());
    }
    let file = candidate.file.clone();
    match server
        .charts
        .add(&tenant, candidate, &Source::Named(path), IfPresent::Replace)
    {
        Ok(_) => {}
        Err(AddError::Io(error)) => return Err(error.into()),
        Err(why) => {
            tracing::warn!("`{name}:{tag}` is not listed: {why}");
            return Ok(());
        }
    }
    let provenance = provenance.map(|digest| server.registry.layout().blob(digest));
    if let Some(path) = provenance
        && let Some(bytes) = read_small(&path, server.charts.chart_bytes_max())?
    {
        add_provenance(server, &tenant, &file, &bytes)?;
    }
    Ok(())
}

fn add_provenance(server: &Server, tenant: &Tenant, file: &FileName, bytes: &[u8]) -> Result<(), Refusal> {
    match server
        .charts
        .add_provenance(tenant, file, bytes, IfPresent::Replace)
    {
        Err(AddError::Io(error)) => Err(error.into()),
        // The chart was deleted meanwhile.
        Err(_) | Ok(()) => Ok(()),
    }
}

/// Takes a chart out of the index whose manifest or tags were deleted.
pub(crate) fn unlist_chart(
    server: &Server,
    name: &RepositoryName,
    tags: &[Tag],
    manifest: &Manifest,
) -> Result<(), Refusal> {
    let (Some((archive, _)), Some((tenant, chart))) = (manifest.chart(), chart_of(server, name)) else {
        return Ok(());
    };
    let Some(charts) = server.charts.tenant(&tenant) else {
        return Ok(());
    };
    let is_gone = |version: &Arc<ChartVersion>| {
        let tag = tag_of(version.version_text());
        version.digest == archive.hex() && tag.is_some_and(|tag| tags.contains(&tag))
    };
    let gone = charts.look(|listing| listing.versions(&chart).find(|version| is_gone(version)).cloned());
    if let Some(version) = gone {
        server.charts.delete(&tenant, &chart, version.version_text())?;
    }
    Ok(())
}

/// Takes the tag of a chart away that was deleted from the index or replaced there.
pub(crate) fn untag_chart(server: &Server, tenant: &Tenant, chart: &ChartVersion) -> Result<(), Refusal> {
    let (Ok(name), Some(tag)) = (tenant.join(&chart.name).parse(), tag_of(chart.version_text())) else {
        return Ok(());
    };
    let Some(digest) = server.registry.tag(&name, &tag)? else {
        return Ok(());
    };
    let manifest = server.registry.read_manifest(&name, &digest)?;
    let is_same = manifest
        .as_ref()
        .and_then(Manifest::chart)
        .is_some_and(|(archive, _)| archive.hex() == chart.digest);
    if is_same {
        server.registry.delete_manifest(&name, &digest)?;
        server.garbage.notify_one();
    }
    Ok(())
}
