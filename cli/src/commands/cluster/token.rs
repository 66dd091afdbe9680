//! `tug cluster token`

use std::time::Duration;

use cluster_server::{AdminError, Role, TOKEN_LIFE, TokenWish};
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{OutputArgs, OutputFormat, to_json, to_yaml};
use crate::settings::Settings;
use crate::{bundled, duration};

/// Make, list and revoke the tokens by which machines join the cluster
#[derive(clap::Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(clap::Subcommand)]
enum TokenCommand {
    Create(CreateArgs),
    #[command(visible_alias = "ls")]
    List(ListArgs),
    #[command(visible_alias = "rm")]
    Revoke(RevokeArgs),
}

/// Print a new token
#[derive(clap::Args)]
struct CreateArgs {
    /// Those who join by it become servers
    #[arg(long)]
    server: bool,
    /// How long it is good [default: 24h]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    ttl: Option<Duration>,
    /// How many machines may join by it [default: any number]
    #[arg(long, value_name = "N")]
    uses: Option<u32>,
}

/// List the tokens; their secrets are not kept
#[derive(clap::Args)]
struct ListArgs {
    #[command(flatten)]
    output: OutputArgs,
}

/// Take a token back; machines that have joined by it stay
#[derive(clap::Args)]
struct RevokeArgs {
    /// The token's number, as the list has it
    name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    name: String,
    role: Role,
    expires: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uses_left: Option<u32>,
}

pub(super) fn run(arguments: TokenArgs, settings: &Settings) -> Result<(), Failure> {
    let dir = bundled::directory(settings);
    match arguments.command {
        TokenCommand::Create(wish) => {
            let wish = TokenWish {
                role: if wish.server { Role::Server } else { Role::Agent },
                life: wish.ttl.unwrap_or(TOKEN_LIFE),
                uses: wish.uses,
            };
            let token = cluster_server::add_token(&dir, &wish).map_err(|error| explain(&error))?;
            settings.console.line(token.to_string())
        }
        TokenCommand::List(list) => {
            let known = cluster_server::list_tokens(&dir).map_err(|error| explain(&error))?;
            let rows = known.into_iter().map(|token| Row {
                name: token.name,
                role: token.role,
                expires: token.expires.to_string(),
                uses_left: token.uses_left,
            });
            show(&rows.collect::<Vec<_>>(), &list.output, settings)
        }
        TokenCommand::Revoke(RevokeArgs { name }) => {
            if cluster_server::remove_token(&dir, &name).map_err(|error| explain(&error))? {
                settings.console.say(format!("revoked the token {name}"));
                return Ok(());
            }
            Err(Failure::new(format!("there is no token {name}")).hint("`tug cluster token list` lists them"))
        }
    }
}

fn show(rows: &[Row], output: &OutputArgs, settings: &Settings) -> Result<(), Failure> {
    let console = &settings.console;
    match output.output {
        OutputFormat::Json => console.line(to_json(&rows)?),
        OutputFormat::Yaml => console.data(&to_yaml(&rows)?),
        OutputFormat::Name => rows.iter().try_for_each(|row| console.line(&row.name)),
        OutputFormat::Table => {
            console.line(format!("{:<12}{:<8}{:<32}USES LEFT", "NAME", "ROLE", "EXPIRES"))?;
            rows.iter().try_for_each(|row| {
                let uses = row.uses_left.map_or("any".to_owned(), |uses| uses.to_string());
                console.line(format!(
                    "{:<12}{:<8}{:<32}{uses}",
                    row.name,
                    row.role.as_str(),
                    row.expires
                ))
            })
        }
    }
}

/// Says how other machines join a cluster that was started now. One that no other machine reaches says nothing.
pub(super) fn say_how_to_join(settings: &Settings) {
    let wish = TokenWish {
        role: Role::Agent,
        life: TOKEN_LIFE,
        uses: None,
    };
    match cluster_server::add_token(&bundled::directory(settings), &wish) {
        Ok(token) => settings.console.say(format!(
            "to add a machine, within a day: tug cluster join {token}"
        )),
        Err(AdminError::NoAddress | AdminError::Agent) => {}
        // The cluster runs, and a token can be had later.
        Err(error) => settings
            .console
            .say(format!("no token to join was made: {error}")),
    }
}

/// A fault of the administration with what to type next.
pub(super) fn explain(error: &AdminError) -> Failure {
    let failure = Failure::from_error(error);
    match error {
        AdminError::NoCluster { .. } => failure.hint("`tug cluster start` makes one"),
        AdminError::Agent => failure.hint("run it on a server: `kubectl get nodes` there lists them"),
        AdminError::NoAddress => failure.hint(
            "a cluster has its address from its first start: `tug cluster start --advertise-address ADDRESS`",
        ),
        AdminError::Timing(_) => {
            failure.hint("`kubectl -n kube-system get configmap tug-cluster -o yaml` shows what is set")
        }
        AdminError::Ask(cluster_server::AskError::Refused(refusal)) => {
            Failure::new(refusal.reason.clone()).hint(refusal.hint.clone())
        }
        AdminError::Slow { node, .. } => {
            failure.hint(format!("`tug cluster status`, and the log on {node}, tell more"))
        }
        _ => failure.hint("`tug cluster status` shows whether it runs"),
    }
}
