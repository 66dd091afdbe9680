//! `tug repo serve`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use repo_serve::{Challenge, Depth, Garbage, Limits, RepoServer, ServeOptions, TlsFiles};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::duration;
use crate::failure::Failure;
use crate::settings::Settings;

/// Host the charts of a folder, and a registry for charts and images
///
/// Serves `index.yaml` and archives, ChartMuseum's API below `/api`, a registry below `/v2`, and pages for people, from one
/// folder. Archives in subfolders are repositories of their own. What belongs to the server is in `.tug` in the folder.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ServeArgs {
    /// Folder of the archives; it is made if it is not there
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Address and port to listen on
    #[arg(
        short,
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8080",
        env = "TUG_REPO_LISTEN"
    )]
    listen: SocketAddr,
    /// Depth of the folders that are repositories of their own, a number or `dynamic` for all
    #[arg(long, value_name = "DEPTH", default_value = "dynamic", value_parser = depth)]
    depth: Depth,
    /// Accounts: an htpasswd file with bcrypt hashes, as `htpasswd -B` makes it
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<PathBuf>,
    /// Rights: lines of `USER REPOSITORIES RIGHT...`
    #[arg(long, value_name = "FILE")]
    rights: Option<PathBuf>,
    /// How registry clients are asked for who they are; both ways are always taken
    #[arg(long, value_name = "HOW", default_value = "basic")]
    auth: AuthChoice,
    /// Certificate chain, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Address that clients see, if another server is in between
    #[arg(long, value_name = "URL")]
    external_url: Option<String>,
    /// Largest chart, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 32)]
    max_chart_size: u64,
    /// Largest blob of the registry, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 16384)]
    max_blob_size: u64,
    /// Refuse to move a tag that was pushed
    #[arg(long)]
    immutable_tags: bool,
    /// How long content of the registry is kept that nothing refers to
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration::parse)]
    garbage_after: Duration,
    /// Also remove manifests that no tag leads to, by an index or as what refers to it
    #[arg(long)]
    remove_untagged: bool,
    /// Remove content of the registry that nothing refers to, and end
    #[arg(long)]
    collect_garbage: bool,
    /// Do not log requests
    #[arg(short, long)]
    quiet: bool,
}

const AFTER_HELP: &str = "\
Rights, one line each, add up; `*` is everybody with an account, `anonymous` everybody; rights are read, write, delete:
  alice      team/**    read write delete
  *          library/*  read
  anonymous  public/**  read

Try:
  tug repo serve ./charts
  helm push hello-1.0.0.tgz oci://127.0.0.1:8080 --plain-http
  curl --data-binary @hello-1.0.0.tgz http://127.0.0.1:8080/api/charts
  helm repo add mine http://127.0.0.1:8080";

/// How registry clients are asked.
#[derive(Clone, Copy, clap::ValueEnum)]
enum AuthChoice {
    /// User and password with each request
    Basic,
    /// A token from `/token`
    Token,
}

fn depth(text: &str) -> Result<Depth, String> {
    match text {
        "dynamic" => Ok(Depth::Dynamic),
        number => match number.parse() {
            Ok(depth @ 0..=8) => Ok(Depth::Fixed(depth)),
            _ => Err("a number from 0 to 8, or `dynamic`".to_owned()),
        },
    }
}

pub(super) fn run(arguments: ServeArgs, settings: &Settings) -> Result<(), Failure> {
    let (listen, only_collect) = (arguments.listen, arguments.collect_garbage);
    let garbage = garbage(&arguments);
    let server = RepoServer::open(options(arguments))?;
    if only_collect {
        let collected = server.collect_garbage(SystemTime::now(), garbage)?;
        let (blobs, bytes) = (collected.blobs, collected.bytes);
        return settings
            .console
            .line(format!("removed {blobs} blobs, {bytes} bytes"));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("cannot start the runtime").because_error(&error))?;
    runtime.block_on(serve(server, listen, settings))
}

fn garbage(arguments: &ServeArgs) -> Garbage {
    Garbage {
        grace: arguments.garbage_after,
        untagged: arguments.remove_untagged,
    }
}

fn options(arguments: ServeArgs) -> ServeOptions {
    let garbage = garbage(&arguments);
    let tls = arguments.tls_cert.zip(arguments.tls_key);
    ServeOptions {
        depth: arguments.depth,
        htpasswd: arguments.htpasswd,
        rights: arguments.rights,
        challenge: match arguments.auth {
            AuthChoice::Basic => Challenge::Basic,
            AuthChoice::Token => Challenge::Token,
        },
        tls: tls.map(|(certificate, key)| TlsFiles { certificate, key }),
        external_url: arguments.external_url,
        limits: Limits {
            chart_bytes_max: arguments.max_chart_size << 20,
            blob_bytes_max: arguments.max_blob_size << 20,
            ..Limits::default()
        },
        immutable_tags: arguments.immutable_tags,
        access_log: !arguments.quiet,
        garbage,
        ..ServeOptions::new(arguments.folder)
    }
}

async fn serve(server: RepoServer, listen: SocketAddr, settings: &Settings) -> Result<(), Failure> {
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| Failure::new(format!("cannot listen on {listen}")).because_error(&error))?;
    let address = listener.local_addr()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (charts, versions) = server.counts();
    if server.is_open_to_everybody() && !address.ip().is_loopback() {
        settings.console.progress(
            "everybody who reaches this address may push and delete; `--htpasswd` and `--rights` change that",
        );
    }
    // Whoever started the server in the background waits for this line.
    settings.console.line(format!(
        "serving {charts} charts in {versions} versions on {}://{address}",
        if server.has_tls() { "https" } else { "http" }
    ))?;
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let waiter = tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        stop.cancel();
    });
    let outcome = server.serve(listener, shutdown).await;
    waiter.abort();
    Ok(outcome?)
}
