//! `tug repo`: repositories of charts.

mod serve;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use futures::{StreamExt, stream};
use repo_fetch::{
    Access, FetchError, Repositories, RepositoryConfig, Secret, check_repository_name, index_folder,
    write_atomic,
};
use repo_index::Index;
use serde::Serialize;

use super::block_on;
use super::registry::password_from_stdin;
use crate::arguments::AccessArgs;
use crate::duration::parse as parse_duration;
use crate::failure::Failure;
use crate::fetching::{DownloadLine, explain, fetcher};
use crate::output::{Listing, OutputArgs, OutputFormat};
use crate::settings::Settings;
use crate::table::Table;

/// Repositories that are asked at once.
const PARALLEL: usize = 8;

/// Add, list, update and remove repositories of charts, index a folder, and host one
#[derive(clap::Args)]
pub(crate) struct RepoArgs {
    #[command(subcommand)]
    command: RepoCommand,
}

#[derive(clap::Subcommand)]
enum RepoCommand {
    /// Add a repository
    Add(AddArgs),
    /// List the repositories
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Get the indexes of repositories anew
    #[command(visible_alias = "up")]
    Update(UpdateArgs),
    /// Remove repositories
    #[command(visible_alias = "rm")]
    Remove {
        /// Names
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
    /// Write the index of a folder of archives
    Index(IndexArgs),
    Serve(Box<serve::ServeArgs>),
}

#[derive(clap::Args)]
struct AddArgs {
    /// Name, as in NAME/CHART
    name: String,
    /// Address; index.yaml is below it
    url: String,
    /// Replace the repository of this name
    #[arg(long)]
    force_update: bool,
    /// Tell name and password to every host that the repository leads to
    #[arg(long)]
    pass_credentials: bool,
    /// Read the password from stdin
    #[arg(long)]
    password_stdin: bool,
    /// Longest wait
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = parse_duration)]
    timeout: Duration,
    // Helm refuses some addresses that are no more; here nothing is special about them.
    #[arg(long, hide = true)]
    allow_deprecated_repos: bool,
    #[command(flatten)]
    access: AccessArgs,
}

#[derive(clap::Args)]
struct ListArgs {
    /// Print no headings
    #[arg(long)]
    no_headers: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(clap::Args)]
struct UpdateArgs {
    /// Names [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Longest wait for each
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    access: AccessArgs,
}

#[derive(clap::Args)]
struct IndexArgs {
    /// Folder of archives
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Address of the folder, for the addresses of the archives
    #[arg(long, value_name = "URL", default_value = "")]
    url: String,
    /// Index whose entries are taken over
    #[arg(long, value_name = "FILE")]
    merge: Option<PathBuf>,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    name: String,
    url: String,
}

pub(super) fn run(arguments: RepoArgs, settings: &Settings) -> Result<(), Failure> {
    match arguments.command {
        RepoCommand::Add(arguments) => add(&arguments, settings),
        RepoCommand::List(arguments) => list(&arguments, settings),
        RepoCommand::Update(arguments) => update(&arguments, settings),
        RepoCommand::Remove { names } => remove(&names, settings),
        RepoCommand::Serve(arguments) => serve::run(*arguments, settings),
        RepoCommand::Index(arguments) => index(&arguments, settings),
    }
}

fn add(arguments: &AddArgs, settings: &Settings) -> Result<(), Failure> {
    check_repository_name(&arguments.name)?;
    let mut access = arguments.access.access(settings);
    // The files are named from wherever the repository is used later.
    let tls = &mut access.http.tls;
    for file in [&mut tls.ca_file, &mut tls.cert_file, &mut tls.key_file]
        .into_iter()
        .flatten()
    {
        *file = std::path::absolute(&*file).map_err(|error| Failure::from_error(&error))?;
    }
    let text = |file: &Option<PathBuf>| {
        file.as_ref()
            .map(|file| file.display().to_string())
            .unwrap_or_default()
    };
    let password = match arguments.access.password() {
        Some(password) => password.to_owned(),
        None if arguments.password_stdin => password_from_stdin()?,
        None => String::new(),
    };
    let wanted = RepositoryConfig {
        name: arguments.name.clone(),
        url: arguments.url.clone(),
        username: arguments.access.username().unwrap_or_default().to_owned(),
        password: Secret::new(password),
        ca_file: text(&tls.ca_file),
        cert_file: text(&tls.cert_file),
        key_file: text(&tls.key_file),
        insecure_skip_tls_verify: tls.insecure,
        pass_credentials_all: arguments.pass_credentials,
    };
    let path = &settings.locations.repositories;
    if let Some(known) = Repositories::load(path)?.get(&wanted.name)
        && !arguments.force_update
    {
        if *known != wanted {
            return Err(Failure::new(format!(
                "repository name ({}) already exists, please specify a different name",
                wanted.name
            ))
            .hint("`--force-update` replaces it"));
        }
        return settings.console.line(format!(
            "{:?} already exists with the same configuration, skipping",
            wanted.name
        ));
    }
    let line = DownloadLine::new(settings.console.clone());
    let fetcher = fetcher(access, settings, &line);
    block_on(async {
        let client = fetcher
            .repository(wanted.clone())
            .map_err(|error| explain(&error, settings))?;
        let got = tokio::time::timeout(arguments.timeout, client.update(&line)).await;
        let got = got.map_err(|_| Failure::new(format!("{} does not answer in time", wanted.url)))?;
        got.map_err(|error| explain(&FetchError::from(error), settings))
    })?;
    Repositories::change(path, |repositories| {
        repositories.put(wanted.clone());
        Ok::<_, Failure>(())
    })?;
    settings
        .console
        .line(format!("{:?} has been added to your repositories", wanted.name))
}

fn list(arguments: &ListArgs, settings: &Settings) -> Result<(), Failure> {
    let repositories = Repositories::load(&settings.locations.repositories)?;
    let format = arguments.output.output;
    if repositories.list.is_empty() && format == OutputFormat::Table {
        settings.console.say("no repositories to show");
        return Ok(());
    }
    let rows: Vec<Row> = repositories
        .list
        .iter()
        .map(|repository| Row {
            name: repository.name.clone(),
            url: repository.url.clone(),
        })
        .collect();
    let table = || {
        let mut table = if arguments.no_headers {
            Table::new(&[])
        } else {
            Table::new(&["NAME", "URL"])
        };
        for row in &rows {
            table.row(vec![row.name.clone(), row.url.clone()]);
        }
        table
    };
    Listing {
        records: &rows,
        table: &table,
        name: &|row| row.name.clone(),
    }
    .print(format, settings)
}

fn update(arguments: &UpdateArgs, settings: &Settings) -> Result<(), Failure> {
    let repositories = Repositories::load(&settings.locations.repositories)?.list;
    if repositories.is_empty() {
        return Err(
            Failure::new("no repositories found. You must add one before updating")
                .hint("`tug repo add NAME URL`"),
        );
    }
    for name in &arguments.names {
        if !repositories.iter().any(|repository| repository.name == *name) {
            return Err(Failure::new(format!(
                "no repositories found matching '{name}'.  Nothing will be updated"
            )));
        }
    }
    let named = |repository: &RepositoryConfig| {
        arguments.names.is_empty() || arguments.names.contains(&repository.name)
    };
    let wanted: Vec<RepositoryConfig> = repositories.into_iter().filter(named).collect();
    let access = arguments.access.access(settings);
    let outcomes = block_on(async { Ok(update_all(wanted, access, arguments.timeout, settings).await) })?;
    let mut failed = Vec::new();
    for (repository, outcome) in outcomes {
        match outcome {
            Ok(()) => settings.console.line(format!(
                "...Successfully got an update from the {:?} chart repository",
                repository.name
            ))?,
            Err(failure) => failed.push((repository, failure)),
        }
    }
    if failed.is_empty() {
        return settings.console.line("Update Complete.");
    }
    let urls: Vec<&str> = failed
        .iter()
        .map(|(repository, _)| repository.url.as_str())
        .collect();
    let mut failure = Failure::new(format!("failed to update the following repositories: {urls:?}"));
    for (_, reason) in &failed {
        failure = failure.because(reason.heading());
    }
    Err(failure)
}

type Outcomes = Vec<(RepositoryConfig, Result<(), Failure>)>;

async fn update_all(
    wanted: Vec<RepositoryConfig>,
    access: Access,
    timeout: Duration,
    settings: &Settings,
) -> Outcomes {
    let line = DownloadLine::new(settings.console.clone());
    let fetcher = fetcher(access, settings, &line);
    let updates = stream::iter(wanted).map(|repository| async {
        let outcome = async {
            let client = fetcher.repository(repository.clone())?;
            Ok::<_, FetchError>(client.update(&line).await?)
        };
        let outcome = match tokio::time::timeout(timeout, outcome).await {
            Ok(outcome) => outcome.map_err(|error| explain(&error, settings)),
            Err(_) => Err(Failure::new(format!(
                "{} does not answer in time",
                repository.url
            ))),
        };
        (repository, outcome)
    });
    updates.buffered(PARALLEL).collect().await
}

fn remove(names: &[String], settings: &Settings) -> Result<(), Failure> {
    let line = DownloadLine::new(settings.console.clone());
    let fetcher = fetcher(Access::default(), settings, &line);
    let path = &settings.locations.repositories;
    if Repositories::load(path)?.list.is_empty() {
        return Err(Failure::new("no repositories configured"));
    }
    for name in names {
        let removed = Repositories::change(path, |repositories| {
            repositories
                .remove(name)
                .ok_or_else(|| Failure::new(format!("no repo named {name:?} found")))
        })?;
        // An address that is none has nothing kept.
        if let Ok(client) = fetcher.repository(removed) {
            client.forget();
        }
        settings
            .console
            .line(format!("{name:?} has been removed from your repositories"))?;
    }
    Ok(())
}

fn index(arguments: &IndexArgs, settings: &Settings) -> Result<(), Failure> {
    let now = settings.now().to_string();
    let (mut index, odd) = index_folder(&arguments.folder, &arguments.url, &now)?;
    for error in odd {
        settings.console.warn(format!("{error}; it is left out"));
    }
    if let Some(path) = &arguments.merge {
        let failed = || Failure::new(format!("cannot merge `{}`", path.display()));
        match fs::read(path) {
            Ok(bytes) => {
                let other = Index::read(&bytes).map_err(|error| failed().because_error(&error))?;
                for skipped in &other.skipped {
                    settings.console.warn(format!("{}: {skipped}", path.display()));
                }
                index.merge(&other.index);
            }
            // As with Helm, it is about to be made.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed().because_error(&error)),
        }
    }
    let path = arguments.folder.join("index.yaml");
    let text = if arguments.json {
        chart_values::json::to_raw_json(&index.to_value())
    } else {
        index.write()?
    };
    write_atomic(&path, text.as_bytes(), false)
        .map_err(|error| Failure::new(format!("cannot write `{}`", path.display())).because_error(&error))
}
