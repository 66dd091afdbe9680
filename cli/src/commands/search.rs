//! `tug search`

use futures::{StreamExt, stream};
use repo_fetch::{
    CachedChart, CachedIndex, CachedVersion, FetchError, Fetcher, Found, Freshness, Search, Silent,
};
use repo_index::{ANY, DEVEL, OciReference, ranked};
use serde::Serialize;

use super::block_on;
use crate::arguments::AccessArgs;
use crate::bundled_charts::BUNDLED;
use crate::failure::Failure;
use crate::fetching::{DownloadLine, explain, fetcher};
use crate::output::{Listing, OutputArgs};
use crate::settings::Settings;
use crate::table::Table;

/// Charts of a registry that are looked at, at once.
const PARALLEL: usize = 8;

/// Find charts by words
///
/// `tug search repo WORD` looks into the repositories that were added, `tug search https://... WORD` into the index at an
/// address, `tug search oci://HOST/PATH WORD` into a registry.
#[derive(clap::Args)]
pub(crate) struct SearchArgs {
    /// `repo`, or the address of a repository or of a place in a registry
    #[arg(value_name = "WHERE")]
    place: String,
    /// A word in names, descriptions or keywords [default: everything]
    keyword: Option<String>,
    /// The word is a regular expression
    #[arg(short, long)]
    regexp: bool,
    /// Every version, not the highest alone
    #[arg(short = 'l', long)]
    versions: bool,
    /// Pre-releases too
    #[arg(long)]
    devel: bool,
    /// A constraint on versions
    #[arg(long, value_name = "VERSION", default_value = "")]
    version: String,
    /// Fail if nothing is found
    #[arg(long)]
    fail_on_no_result: bool,
    /// Widest column of the table, 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 50)]
    max_col_width: usize,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    access: AccessArgs,
}

#[derive(Serialize)]
struct Row {
    name: String,
    version: String,
    app_version: String,
    description: String,
}

pub(super) fn run(arguments: &SearchArgs, settings: &Settings) -> Result<(), Failure> {
    let search = Search {
        keyword: arguments.keyword.clone().unwrap_or_default(),
        regexp: arguments.regexp,
        version: arguments.version.clone(),
        devel: arguments.devel,
        all_versions: arguments.versions,
    };
    let place = arguments.place.as_str();
    let found = if place == "repo" {
        search.run(&added(settings)?)?
    } else if place.starts_with("oci://") {
        in_registry(place, &search, arguments, settings)?
    } else if place.contains("://") {
        at_address(place, &search, arguments, settings)?
    } else {
        return Err(
            Failure::new(format!("there is nothing to search in `{place}`")).hint(
                "`tug search repo WORD`, `tug search https://... WORD`, or `tug search oci://HOST/PATH WORD`",
            ),
        );
    };
    print(&found, arguments, settings)
}

/// What was kept of the repositories that were added, and the charts that come with the program.
fn added(settings: &Settings) -> Result<Vec<(String, CachedIndex)>, Failure> {
    let fetcher = fetcher(repo_fetch::Access::default(), settings, &Silent);
    let repositories = fetcher
        .repositories()
        .map_err(|error| explain(&error, settings))?;
    let mut indexes = Vec::new();
    for config in &repositories.list {
        let client = fetcher
            .repository(config.clone())
            .map_err(|error| explain(&error, settings))?;
        match client.kept() {
            Some(index) => indexes.push((config.name.clone(), index)),
            None => settings.console.warn(format!(
                "repo {:?} is corrupt or missing. Try 'tug repo update'.",
                config.name
            )),
        }
    }
    if repositories.get(BUNDLED.name).is_none() {
        indexes.push((BUNDLED.name.to_owned(), BUNDLED.index()));
    }
    Ok(indexes)
}

fn at_address(
    url: &str,
    search: &Search,
    arguments: &SearchArgs,
    settings: &Settings,
) -> Result<Vec<Found>, Failure> {
    let line = DownloadLine::new(settings.console.clone());
    let fetcher = fetcher(arguments.access.access(settings), settings, &line);
    // The address of the index itself is as good.
    let base = url
        .strip_suffix("/index.yaml")
        .unwrap_or(url)
        .trim_end_matches('/');
    let index = block_on(async {
        let client = fetcher
            .repository_at(base)
            .map_err(|error| explain(&error, settings))?;
        let index = client.index(Freshness::Asked, &line).await;
        index.map_err(|error| explain(&FetchError::from(error), settings))
    })?;
    Ok(search.run(&[(base.to_owned(), index)])?)
}

/// Looks into a registry: the versions of the chart at a place, or the charts below it.
fn in_registry(
    place: &str,
    search: &Search,
    arguments: &SearchArgs,
    settings: &Settings,
) -> Result<Vec<Found>, Failure> {
    let line = DownloadLine::new(settings.console.clone());
    let fetcher = fetcher(arguments.access.access(settings), settings, &line);
    // A registry alone is the place above all others.
    let whole = repo_index::is_registry(place.trim_start_matches("oci://").trim_end_matches('/'));
    let in_context = |error: FetchError| explain(&error, settings);
    block_on(async {
        let registry = fetcher.registry().map_err(in_context)?;
        let mut charts: Vec<OciReference> = Vec::new();
        let host = if whole {
            place
                .trim_start_matches("oci://")
                .trim_end_matches('/')
                .to_owned()
        } else {
            let reference: OciReference = place.parse().map_err(|error| Failure::from_error(&error))?;
            let host = reference.registry.clone();
            match registry.versions(&reference).await {
                Ok(versions) if !versions.is_empty() => charts.push(reference),
                Ok(_) | Err(repo_fetch::RegistryError::NotFound { .. }) => {}
                Err(error) => return Err(in_context(error.into())),
            }
            host
        };
        if charts.is_empty() {
            let all = registry.repositories(&host).await.map_err(|error| {
                in_context(error.into()).because("this registry may not list its charts: name one of them")
            })?;
            let prefix = place.trim_start_matches("oci://").trim_end_matches('/');
            let prefix = format!("{prefix}/");
            let below = all.iter().filter_map(|path| {
                format!("{host}/{path}")
                    .starts_with(&prefix)
                    .then(|| format!("oci://{host}/{path}").parse().ok())?
            });
            charts.extend(below);
        }
        let looked = stream::iter(charts).map(|chart| look(&fetcher, &registry, chart, search));
        let looked: Vec<Result<Option<(String, CachedIndex)>, FetchError>> =
            looked.buffered(PARALLEL).collect().await;
        let indexes: Vec<(String, CachedIndex)> = looked
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .map_err(in_context)?
            .into_iter()
            .flatten()
            .collect();
        Ok(search.run(&indexes)?)
    })
}

/// The versions of a chart in a registry that the search could show, as an index. `None` if it is no chart.
async fn look(
    fetcher: &Fetcher<'_>,
    registry: &repo_fetch::Registry,
    chart: OciReference,
    search: &Search,
) -> Result<Option<(String, CachedIndex)>, FetchError> {
    let versions = registry.versions(&chart).await?;
    let wish = match search.version.as_str() {
        "" if search.devel => DEVEL,
        "" => ANY,
        wish => wish,
    };
    let best =
        ranked(versions.iter().map(String::as_str), wish).map_err(|source| FetchError::Constraint {
            version: wish.to_owned(),
            source,
        })?;
    let shown = if search.all_versions { best.len() } else { 1 };
    let wanted = best.into_iter().take(shown).map(|place| versions[place].clone());
    let described = stream::iter(wanted).map(|version| async {
        let described = registry
            .chart_metadata(&chart.with_version(&version), fetcher.observer())
            .await;
        (version, described)
    });
    let mut cached = CachedChart {
        name: chart.chart().to_owned(),
        versions: Vec::new(),
    };
    let described: Vec<_> = described.buffered(PARALLEL).collect().await;
    for (version, described) in described {
        match described {
            Ok(metadata) => cached.versions.push(CachedVersion {
                version,
                app_version: metadata.app_version,
                description: metadata.description,
                keywords: metadata.keywords,
                ..CachedVersion::default()
            }),
            // Container images live in registries as well.
            Err(repo_fetch::RegistryError::NoChart { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if cached.versions.is_empty() {
        return Ok(None);
    }
    let index = CachedIndex::with_charts(&[cached]);
    let place = chart.to_string();
    let above = place
        .rsplit_once('/')
        .map(|(above, _)| above.to_owned())
        .unwrap_or_default();
    Ok(Some((above, index)))
}

fn print(found: &[Found], arguments: &SearchArgs, settings: &Settings) -> Result<(), Failure> {
    let rows: Vec<Row> = found
        .iter()
        .map(|found| Row {
            name: found.name.clone(),
            version: found.version.version.clone(),
            app_version: found.version.app_version.clone(),
            description: found.version.description.clone(),
        })
        .collect();
    if rows.is_empty() && arguments.fail_on_no_result {
        return Err(Failure::new("no results found"));
    }
    if rows.is_empty() && arguments.output.output == crate::output::OutputFormat::Table {
        return settings.console.line("No results found");
    }
    let cut = |text: &str| cut(text, arguments.max_col_width);
    let table = || {
        let headings = ["NAME", "CHART VERSION", "APP VERSION", "DESCRIPTION"].map(cut);
        let mut table = Table::new(&headings.each_ref().map(String::as_str));
        for row in &rows {
            table.row(
                [&row.name, &row.version, &row.app_version, &row.description]
                    .map(|text| cut(text))
                    .into(),
            );
        }
        table
    };
    Listing {
        records: &rows,
        table: &table,
        name: &|row| row.name.clone(),
    }
    .print(arguments.output.output, settings)
}

/// Cuts a text to the width of a column, as Helm does.
fn cut(text: &str, width: usize) -> String {
    if width == 0 || text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(3)).collect();
    kept + "..."
}
