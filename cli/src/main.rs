//! The `tug` binary: arguments become settings, then an action of a library; what it returns is printed here.
//!
//! Start with [`commands`]: one file per command. Only this crate reads the environment, the home folder and the
//! terminal.

#![cfg_attr(all(target_os = "linux", target_env = "gnu", not(test)), no_main)]

mod allocator;
mod arguments;
mod bundled;
mod bundled_charts;
mod cluster_choice;
mod commands;
mod connection;
mod console;
mod duration;
mod failure;
mod fetching;
mod go_time;
mod holder;
mod judge;
mod limits;
mod mathematics;
mod names;
mod output;
mod plan_text;
mod pod_logs;
mod progress;
mod release_text;
mod settings;
#[cfg(all(target_os = "linux", target_env = "gnu", not(test)))]
mod start;
mod table;
mod terminal;

use std::iter;

use clap::Parser;

use crate::console::{ColorChoice, Console};
use crate::failure::Failure;
use crate::settings::{GlobalArgs, Settings};

#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

/// Package, ship and run applications on the bundled cluster or any Kubernetes
#[derive(Parser)]
#[command(name = "tug", version, disable_help_subcommand = false, arg_required_else_help = true, args_override_self = true, after_help = AFTER_HELP)]
struct Tug {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: commands::Command,
}

const AFTER_HELP: &str = "\
Cluster: --kubeconfig, --kube-context, --kube-apiserver or $KUBECONFIG name one; the context `tug` is the bundled \
cluster; else ~/.kube/config if it has a current context; else the bundled cluster, started when needed.

Exit codes: 0 done; 1 failed, or arguments that cannot be understood; 2 `plan`, `diff` and `status --drift` found changes; 130 interrupted; 141 the reader of the output went away.";

#[cfg(not(all(target_os = "linux", target_env = "gnu", not(test))))]
fn main() -> std::process::ExitCode {
    run().into()
}

/// Does what the arguments ask for, and gives the exit code.
fn run() -> u8 {
    let memory = memory_use();
    allocator::prepare(memory);
    if memory == allocator::Use::Long {
        names::look_up_without_plugins();
    }
    // The container shim forks and enters namespaces: it must start before any thread of ours.
    if let Some(code) = bundled::dispatch_shim(std::env::args_os()) {
        return code;
    }
    // Fails only if one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Tug { global, command } = match parse() {
        Ok(arguments) => arguments,
        Err(refusal) => return refuse_arguments(&refusal),
    };
    let settings = match Settings::gather(global, |name| std::env::var(name).ok()) {
        Ok(settings) => settings,
        Err(failure) => return report(&Console::plain(), &failure),
    };
    let is_server = matches!(command, commands::Command::Server(_));
    start_tracing(settings.debug, settings.console.color_errors(), is_server);
    let console = settings.console.clone();
    let outcome = commands::run(command, &settings);
    allocator::keep_until_exit();
    match outcome {
        Ok(()) => failure::DONE,
        Err(failure) => report(&console, &failure),
    }
}

/// The name of the command, unless options stand before it.
fn first_argument() -> std::ffi::OsString {
    std::env::args_os().nth(1).unwrap_or_default()
}

/// What the command that is asked for does with memory, as its name says.
fn memory_use() -> allocator::Use {
    match first_argument().to_str() {
        Some("convert" | "create" | "lint" | "show" | "template") => allocator::Use::Short,
        _ => allocator::Use::Long,
    }
}

/// One command without the others: making the arguments of all of them takes as long as rendering a small chart.
#[derive(Parser)]
#[command(args_override_self = true)]
struct Alone<A: clap::Args> {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(flatten)]
    arguments: A,
}

impl<A: clap::Args> Alone<A> {
    /// Nothing where the arguments ask for help or are wrong, of which the whole `tug` has more to say.
    fn parse(command: fn(A) -> commands::Command) -> Option<Tug> {
        let mut words = std::env::args_os();
        let program = words.next()?;
        let words = iter::once(program).chain(words.skip(1));
        let Self { global, arguments } = Self::try_parse_from(words).ok()?;
        let command = command(arguments);
        Some(Tug { global, command })
    }
}

/// Reads the arguments.
fn parse() -> Result<Tug, clap::Error> {
    use commands::Command;
    let alone = match first_argument().to_str() {
        Some("template") => Alone::parse(Command::Template),
        Some("lint") => Alone::parse(Command::Lint),
        Some("show") => Alone::parse(Command::Show),
        _ => None,
    };
    alone.map_or_else(parse_all, Ok)
}

/// As [`parse`], for any command.
fn parse_all() -> Result<Tug, clap::Error> {
    use clap::{CommandFactory, FromArgMatches};
    Tug::try_parse().or_else(|refusal| {
        let lenient = taking_any_word(Tug::command());
        let matches = lenient.try_get_matches();
        // What is wrong either way is told by the stricter reading: it knows forgotten values from others.
        matches
            .and_then(|matches| Tug::from_arg_matches(&matches))
            .map_err(|_| refusal)
    })
}

/// Lets options take the next word as their value though it begins with a hyphen (`--tail -1`), as in Helm and kubectl.
fn taking_any_word(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|argument| {
        let is_option = argument.get_long().is_some() || argument.get_short().is_some();
        let must_have_value = argument.get_num_args().is_none_or(|words| words.min_values() > 0);
        if is_option && argument.get_action().takes_values() && must_have_value {
            argument.allow_hyphen_values(true)
        } else {
            argument
        }
    });
    command.mut_subcommands(taking_any_word)
}

/// Prints what clap says, in our manner; help and version are no failures.
fn refuse_arguments(refusal: &clap::Error) -> u8 {
    use clap::error::ErrorKind;
    let console = Console::open(ColorChoice::Auto, None);
    match refusal.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            match console.data(&refusal.render().to_string()) {
                Ok(()) => failure::DONE,
                Err(failure) => report(&console, &failure),
            }
        }
        // `tug` alone and `tug get` alone show their help; that did not do what was asked.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            console.progress(&refusal.render().to_string());
            failure::FAILED
        }
        _ => report(&console, &refused(&refusal.render().to_string())),
    }
}

/// Makes a failure of clap's text: `error: WHAT`, paragraphs of tips and usage, and a word on `--help`.
fn refused(text: &str) -> Failure {
    let mut paragraphs = text.split("\n\n").map(str::trim);
    let what = paragraphs.next().unwrap_or_default();
    let mut failure = Failure::new(what.strip_prefix("error: ").unwrap_or(what));
    for line in paragraphs.flat_map(str::lines).map(str::trim) {
        if let Some(tip) = line.strip_prefix("tip: ") {
            failure = failure.hint(tip);
        } else if let Some(usage) = line.strip_prefix("Usage: ") {
            failure = failure.hint(format!("usage: {usage}"));
        }
    }
    failure
}

fn report(console: &Console, failure: &Failure) -> u8 {
    console.failure(failure);
    failure.code()
}

fn start_tracing(debug: bool, color: bool, is_server: bool) {
    use tracing_subscriber::EnvFilter;
    if !debug && !is_server && std::env::var_os("TUG_LOG").is_none() {
        return;
    }
    let default = if debug {
        "debug,hyper=info,rustls=info,h2=info,tower=info"
    } else if is_server {
        // A cluster runs in the background: what went wrong there is told by its log alone.
        "warn,cluster_server=info,cluster_store=info,openraft=off"
    } else {
        // What servers of repositories have to say is their log.
        "off,repo_serve=info"
    };
    let filter = EnvFilter::try_from_env("TUG_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // A second call would fail; there is none.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(color)
        .try_init();
}
