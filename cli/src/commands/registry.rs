//! `tug registry`

use std::io::Read;

use repo_fetch::{DockerConfig, Secret};
use repo_index::is_registry;

use super::block_on;
use crate::arguments::AccessArgs;
use crate::failure::Failure;
use crate::fetching::{DownloadLine, explain, fetcher};
use crate::settings::Settings;

/// Log in to registries, and out
#[derive(clap::Args)]
pub(crate) struct RegistryArgs {
    #[command(subcommand)]
    command: RegistryCommand,
}

#[derive(clap::Subcommand)]
enum RegistryCommand {
    /// Check a login at a registry, and keep it
    Login(LoginArgs),
    /// Forget the login at a registry
    Logout {
        /// Host of the registry
        host: String,
    },
}

#[derive(clap::Args)]
struct LoginArgs {
    /// Host of the registry
    host: String,
    /// Read the password from stdin
    #[arg(long)]
    password_stdin: bool,
    // Helm's and docker's short names.
    #[arg(short = 'u', value_name = "NAME", hide = true)]
    short_username: Option<String>,
    #[arg(short = 'p', value_name = "PASSWORD", hide = true)]
    short_password: Option<String>,
    /// Do not check the registry's certificate
    #[arg(long)]
    insecure: bool,
    #[command(flatten)]
    access: AccessArgs,
}

pub(super) fn run(arguments: &RegistryArgs, settings: &Settings) -> Result<(), Failure> {
    match &arguments.command {
        RegistryCommand::Login(arguments) => login(arguments, settings),
        RegistryCommand::Logout { host } => logout(host, settings),
    }
}

fn login(arguments: &LoginArgs, settings: &Settings) -> Result<(), Failure> {
    let host = host_of(&arguments.host)?;
    let username = arguments
        .access
        .username()
        .or(arguments.short_username.as_deref());
    let username = username.ok_or_else(|| {
        Failure::new("no name to log in with").hint(format!("`tug registry login {host} -u NAME`"))
    })?;
    let given = arguments
        .access
        .password()
        .or(arguments.short_password.as_deref());
    let password = match given {
        Some(password) => {
            settings
                .console
                .warn("a password on the command line can be read by others; `--password-stdin` keeps it");
            password.to_owned()
        }
        None if arguments.password_stdin => password_from_stdin()?,
        None => {
            return Err(Failure::new("no password to log in with").hint(format!(
                "`tug registry login {host} -u {username} --password-stdin <FILE`"
            )));
        }
    };
    let password = Secret::new(password);
    let line = DownloadLine::new(settings.console.clone());
    let mut access = arguments.access.access(settings);
    access.http.tls.insecure |= arguments.insecure;
    let fetcher = fetcher(access, settings, &line);
    block_on(async {
        let registry = fetcher.registry().map_err(|error| explain(&error, settings))?;
        let checked = registry.check_login(host, username, &password).await;
        checked
            .map_err(|error| Failure::from_error(&error).prefixed(&format!("cannot log in to {host}: ")))?;
        let mut config = config(settings)?;
        Ok(config.keep(host, username, &password).await?)
    })?;
    settings.console.line("Login Succeeded")
}

fn logout(host: &str, settings: &Settings) -> Result<(), Failure> {
    let host = host_of(host)?;
    block_on(async {
        match config(settings)?.forget(host).await {
            // As with Helm, who is out already is out.
            Ok(()) | Err(repo_fetch::DockerConfigError::NotLoggedIn(_)) => Ok(()),
            Err(error) => Err(Failure::from_error(&error)),
        }
    })?;
    settings
        .console
        .line(format!("Removing login credentials for {host}"))
}

fn config(settings: &Settings) -> Result<DockerConfig, Failure> {
    let path = &settings.locations.registry_config;
    Ok(DockerConfig::load(path, settings.program_path.clone())?)
}

/// The host alone: logins are not for paths.
fn host_of(text: &str) -> Result<&str, Failure> {
    let host = text.trim_start_matches("oci://").trim_end_matches('/');
    if is_registry(host) {
        return Ok(host);
    }
    Err(Failure::new(format!("`{text}` is no host of a registry")).hint("`tug registry login HOST[:PORT]`"))
}

/// One line, without its end.
pub(super) fn password_from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Failure::new("cannot read the password from stdin").because_error(&error))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}
