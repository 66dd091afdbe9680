//! The charts of all tenants: archives on disk, their index in memory, always of one mind.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

use jiff::Timestamp;

use super::cache::{Cache, Stamp};
use super::listing::{IndexPage, Listing};
use super::scan::{read_entry, scan, version_of};
use super::version::ChartVersion;
use crate::durable::{Draft, create_folder, link_over, remove, sync_folder};
use crate::layout::Layout;
use crate::name::{FileName, NameError, Tenant};
use crate::options::Depth;

/// The charts of all tenants.
#[derive(Debug)]
pub(crate) struct ChartStore {
    layout: Layout,
    chart_bytes_max: u64,
    tenants: RwLock<BTreeMap<Tenant, Arc<TenantCharts>>>,
    cache: Mutex<Cache>,
}

/// The charts of one tenant.
#[derive(Debug, Default)]
pub(crate) struct TenantCharts {
    /// Held while names are given and taken away, so that the index is what the folder is.
    listing: Mutex<Listing>,
    page: RwLock<Option<Arc<IndexPage>>>,
}

/// How a chart is to be put away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfPresent {
    /// The first one stays.
    Refuse,
    Replace,
}

/// Why a chart was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddError {
    #[error("{0}")]
    NoChart(String),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("{0} already exists")]
    Exists(FileName),
    #[error("there is no chart for the provenance {0}")]
    NoArchive(FileName),
    #[error("the storage fails")]
    Io(#[from] io::Error),
}

/// Where the bytes of an archive are.
pub(crate) enum Source {
    /// A file without a name yet.
    Draft(Draft),
    /// A file that keeps its name, such as a blob.
    Named(PathBuf),
}

/// A chart that was read and may be put away.
pub(crate) struct Candidate {
    pub(crate) version: ChartVersion,
    pub(crate) file: FileName,
}

impl Candidate {
    /// Reads an archive. The file's name follows from what the chart says of itself.
    pub(crate) fn read(bytes: &[u8], now: SystemTime) -> Result<Self, AddError> {
        let entry = read_entry(bytes, now).map_err(AddError::NoChart)?;
        let file = FileName::of_chart(entry.name(), entry.version_text())?;
        let version = version_of(entry, &file).map_err(AddError::NoChart)?;
        Ok(Self { version, file })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ChartStore {
    /// Opens a folder: lists its archives, reads those that are new.
    pub(crate) fn open(layout: Layout, depth: Depth, chart_bytes_max: u64) -> io::Result<Self> {
        let path = layout.cache();
        let (known, records) = Cache::read(&path);
        let found = scan(layout.root(), depth, known, chart_bytes_max)?;
        let current: usize = found.tenants.values().map(Listing::versions_count).sum();
        // A cache of many dead records is written anew; else the new ones are added.
        let cache = if path.exists() && found.unpacked == 0 && records <= 2 * current + 100 {
            Cache::open(&path)
        } else {
            let all = found.tenants.iter().flat_map(|(tenant, listing)| {
                let versions = listing.names().flat_map(|name| listing.versions(name));
                versions.filter_map(|version| {
                    let stamp = found.stamps.get(&(tenant.clone(), version.file.clone()))?;
                    Some((tenant.as_str(), *stamp, version.as_ref()))
                })
            });
            Cache::rewrite(&path, all)?
        };
        let tenants = found.tenants.into_iter().map(|(tenant, listing)| {
            let charts = TenantCharts {
                listing: Mutex::new(listing),
                page: RwLock::default(),
            };
            (tenant, Arc::new(charts))
        });
        Ok(Self {
            tenants: RwLock::new(tenants.collect()),
            layout,
            chart_bytes_max,
            cache: Mutex::new(cache),
        })
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn chart_bytes_max(&self) -> u64 {
        self.chart_bytes_max
    }

    /// The charts of a tenant, if it has or had any.
    pub(crate) fn tenant(&self, tenant: &Tenant) -> Option<Arc<TenantCharts>> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        tenants.get(tenant).cloned()
    }

    /// The tenants that have charts.
    pub(crate) fn tenants(&self) -> Vec<Tenant> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let filled = tenants.iter().filter(|(_, charts)| charts.counts().1 > 0);
        filled.map(|(tenant, _)| tenant.clone()).collect()
    }

    /// How many charts and versions there are.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        tenants.values().map(|charts| charts.counts()).fold(
            (0, 0),
            |(charts, versions), (more_charts, more_versions)| {
                (charts + more_charts, versions + more_versions)
            },
        )
    }

    fn tenant_or_new(&self, tenant: &Tenant) -> io::Result<Arc<TenantCharts>> {
        create_folder(&self.layout.tenant(tenant))?;
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(tenants.entry(tenant.clone()).or_default()))
    }

    /// Gives an archive its name and lists it. Of several for the same version that come at once, one is taken.
    pub(crate) fn add(
        &self,
        tenant: &Tenant,
        candidate: Candidate,
        source: &Source,
        if_present: IfPresent,
    ) -> Result<Arc<ChartVersion>, AddError> {
        let Candidate { version, file } = candidate;
        let charts = self.tenant_or_new(tenant)?;
        let folder = self.layout.tenant(tenant);
        let path = folder.join(file.as_str());
        let (name, text) = (version.name.clone(), version.version_text().to_owned());
        let stored = {
            let mut listing = locked(&charts.listing);
            let listed = listing.version(&name, &text).cloned();
            let other_chart = listing.file(file.as_str());
            let is_taken =
                other_chart.is_some_and(|other| other.name != name || other.version_text() != text);
            if is_taken || (listed.is_some() && if_present == IfPresent::Refuse) {
                return Err(AddError::Exists(file));
            }
            let named = match (source, if_present) {
                (Source::Draft(draft), IfPresent::Refuse) => draft.name_new(&path)?,
                (Source::Draft(draft), IfPresent::Replace) => draft.name_over(&path).map(|()| true)?,
                (Source::Named(source), IfPresent::Replace) => {
                    link_over(source, &path, &self.layout.drafts()).map(|()| true)?
                }
                (Source::Named(source), IfPresent::Refuse) => match fs::hard_link(source, &path) {
                    Ok(()) => true,
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
                    Err(error) => return Err(error.into()),
                },
            };
            if !named {
                return Err(AddError::Exists(file));
            }
            if let Some(old) = listed.filter(|old| old.file != version.file) {
                remove(&folder.join(&old.file))?;
            }
            let stamp = Stamp::of(&fs::metadata(&path)?);
            locked(&self.cache).append(tenant.as_str(), stamp, &version);
            listing.insert(version);
            charts.changed();
            listing.version(&name, &text).cloned()
        };
        sync_folder(&folder)?;
        stored.ok_or_else(|| AddError::Io(io::ErrorKind::NotFound.into()))
    }

    /// Puts provenance beside its archive.
    pub(crate) fn add_provenance(
        &self,
        tenant: &Tenant,
        archive: &FileName,
        bytes: &[u8],
        if_present: IfPresent,
    ) -> Result<(), AddError> {
        let Some(charts) = self.tenant(tenant) else {
            return Err(AddError::NoArchive(archive.provenance()));
        };
        let file = archive.provenance();
        let path = self.layout.archive(tenant, &file);
        let draft = Draft::of(&self.layout.drafts(), bytes)?;
        {
            let listing = locked(&charts.listing);
            if listing.file(archive.as_str()).is_none() {
                return Err(AddError::NoArchive(file));
            }
            match if_present {
                IfPresent::Refuse if !draft.name_new(&path)? => return Err(AddError::Exists(file)),
                IfPresent::Refuse => {}
                IfPresent::Replace => draft.name_over(&path)?,
            }
        }
        Ok(sync_folder(&self.layout.tenant(tenant))?)
    }

    /// Takes a version out of the index and then its files away. `None` if there is no such version.
    pub(crate) fn delete(
        &self,
        tenant: &Tenant,
        chart: &str,
        version: &str,
    ) -> io::Result<Option<Arc<ChartVersion>>> {
        let Some(charts) = self.tenant(tenant) else {
            return Ok(None);
        };
        let mut listing = locked(&charts.listing);
        let Some(removed) = listing.remove(chart, version) else {
            return Ok(None);
        };
        charts.changed();
        let path = self.layout.tenant(tenant).join(&removed.file);
        remove(&path)?;
        let mut provenance = path.into_os_string();
        provenance.push(".prov");
        remove(provenance.as_ref())?;
        Ok(Some(removed))
    }
}

impl TenantCharts {
    fn changed(&self) {
        *self.page.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn counts(&self) -> (usize, usize) {
        let listing = locked(&self.listing);
        (listing.charts_count(), listing.versions_count())
    }

    /// Looks something up.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Listing) -> T) -> T {
        look(&locked(&self.listing))
    }

    /// The index, if nothing changed since it was put together.
    pub(crate) fn ready_page(&self) -> Option<Arc<IndexPage>> {
        self.page.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The index, put together by the first who asks after a change; that takes a while where it is large.
    pub(crate) fn page(&self, now: Timestamp) -> Arc<IndexPage> {
        // Changes wait meanwhile, so that what is kept is what is listed.
        let listing = locked(&self.listing);
        let mut kept = self.page.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(page) = kept.as_ref() {
            return Arc::clone(page);
        }
        let page = Arc::new(listing.page(&now.to_string()));
        *kept = Some(Arc::clone(&page));
        page
    }
}
