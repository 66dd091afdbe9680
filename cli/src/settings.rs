//! What holds for every command: global flags, the environment, the home folder, the terminal.

use std::path::PathBuf;

use cluster_server::EvictionThresholds;
use repo_fetch::{Locations, Proxies};

use crate::console::{ColorChoice, Console};
use crate::failure::Failure;
use crate::limits::{self, Limits};

/// Where the bundled cluster keeps its data unless told otherwise: one place, whoever asks.
const CLUSTER_DIR: &str = "/var/lib/tug";
/// Folders of programs for administrators, which are not on everybody's path.
const ADMINISTRATOR_PATH: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Flags that every command takes.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Namespace of the request [env: HELM_NAMESPACE]
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Kubeconfig file [env: KUBECONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; `tug` is the bundled cluster [env: HELM_KUBECONTEXT]
    #[arg(long, global = true, value_name = "NAME")]
    kube_context: Option<String>,
    /// Address of the API server [env: HELM_KUBEAPISERVER]
    #[arg(long, global = true, value_name = "URL", hide_short_help = true)]
    kube_apiserver: Option<String>,
    /// Bearer token [env: HELM_KUBETOKEN]
    #[arg(long, global = true, value_name = "TOKEN", hide_short_help = true)]
    kube_token: Option<String>,
    /// User to act as [env: HELM_KUBEASUSER]
    #[arg(long, global = true, value_name = "USER", hide_short_help = true)]
    kube_as_user: Option<String>,
    /// Group to act as, may be repeated [env: HELM_KUBEASGROUPS]
    #[arg(long, global = true, value_name = "GROUP", hide_short_help = true)]
    kube_as_group: Vec<String>,
    /// Certificate authority of the API server [env: HELM_KUBECAFILE]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    kube_ca_file: Option<PathBuf>,
    /// Name that the API server's certificate must have [env: HELM_KUBETLS_SERVER_NAME]
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    kube_tls_server_name: Option<String>,
    /// Do not check the API server's certificate [env: HELM_KUBEINSECURE_SKIP_TLS_VERIFY]
    #[arg(long, global = true, hide_short_help = true)]
    kube_insecure_skip_tls_verify: bool,
    /// Data folder of the bundled cluster [env: TUG_DATA_DIR] [default: /var/lib/tug]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Use colours [env: NO_COLOR, HELM_COLOR]
    #[arg(
        long,
        alias = "colour",
        global = true,
        value_name = "WHEN",
        hide_short_help = true
    )]
    color: Option<ColorChoice>,
    #[arg(
        long,
        global = true,
        value_name = "NAME=NUMBER",
        value_delimiter = ',',
        hide_short_help = true,
        help = "Raise or lower limits on what charts may ask for [env: TUG_LIMITS]",
        long_help = limits::help()
    )]
    limit: Vec<String>,
    /// Say what is done, on stderr [env: HELM_DEBUG]
    #[arg(long, global = true)]
    debug: bool,
    /// File of the repositories that were added [env: HELM_REPOSITORY_CONFIG]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    repository_config: Option<PathBuf>,
    /// Folder of the indexes of repositories [env: HELM_REPOSITORY_CACHE]
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true)]
    repository_cache: Option<PathBuf>,
    /// Folder of fetched archives [env: HELM_CONTENT_CACHE]
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true)]
    content_cache: Option<PathBuf>,
    /// File of logins at registries [env: HELM_REGISTRY_CONFIG]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    registry_config: Option<PathBuf>,
    // Helm's flags that have nothing to do here; scripts pass them.
    #[arg(long, global = true, hide = true, value_name = "N")]
    qps: Option<f32>,
    #[arg(
        long,
        global = true,
        hide = true,
        value_name = "N",
        allow_negative_numbers = true
    )]
    burst_limit: Option<i32>,
}

/// How a cluster is named and entered, from flags and environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct KubeSettings {
    /// `--kubeconfig`, else the files of `KUBECONFIG`.
    pub(crate) kubeconfigs: Vec<PathBuf>,
    pub(crate) context: Option<String>,
    pub(crate) api_server: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) as_user: Option<String>,
    pub(crate) as_groups: Vec<String>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) tls_server_name: Option<String>,
    pub(crate) insecure: bool,
}

/// What holds for every command.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) kube: KubeSettings,
    /// `--namespace` or `HELM_NAMESPACE`; without them the kubeconfig's context says, else `default`.
    pub(crate) namespace: Option<String>,
    /// The user's home folder.
    pub(crate) home: Option<PathBuf>,
    /// The user's name.
    pub(crate) user: Option<String>,
    /// Where tug keeps its data: `TUG_DATA_HOME`, else `XDG_DATA_HOME/tug`, else `~/.local/share/tug`.
    pub(crate) data_dir: PathBuf,
    /// Where tug keeps its configuration: `TUG_CONFIG_HOME`, else `XDG_CONFIG_HOME/tug`, else `~/.config/tug`.
    pub(crate) config_dir: PathBuf,
    /// Where tug keeps what can be fetched again: `TUG_CACHE_HOME`, else `XDG_CACHE_HOME/tug`, else `~/.cache/tug`.
    pub(crate) cache_dir: PathBuf,
    /// Where files of repositories and registries are: `HELM_*` variables, else tug's own folders, or Helm's with
    /// `TUG_SHARE_HELM`.
    pub(crate) locations: Locations,
    /// Helm's own list of repositories.
    helm_repositories: Option<PathBuf>,
    /// gpg's folder: `GNUPGHOME`, else `~/.gnupg`.
    pub(crate) gnupg_dir: PathBuf,
    /// `HTTP_PROXY` and its like.
    pub(crate) proxies: Proxies,
    /// `PATH`, where helpers are looked for.
    pub(crate) program_path: Option<String>,
    /// Data folder of the bundled cluster: `--data-dir`, else `TUG_DATA_DIR`, else `/var/lib/tug`.
    pub(crate) cluster_dir: PathBuf,
    /// `TUG_NFT`, see [`Settings::nft`].
    nft: Option<String>,
    /// The socket of the container engine: `DOCKER_HOST` where that is one of this machine.
    pub(crate) engine: Option<PathBuf>,
    /// What nodes keep free: `TUG_EVICTION_HARD`.
    pub(crate) eviction: Option<EvictionThresholds>,
    /// Where Helm keeps records: `HELM_DRIVER`.
    pub(crate) driver: Option<String>,
    /// Revisions kept of a release: `HELM_MAX_HISTORY`, else 10; 0 is no limit.
    pub(crate) max_history: u32,
    /// The time that packed files get: `SOURCE_DATE_EPOCH`, else now; in seconds of the epoch.
    source_date: Option<u64>,
    /// What charts and templates may ask for: `TUG_LIMITS`, and `--limit` over it.
    pub(crate) limits: Limits,
    pub(crate) debug: bool,
    pub(crate) console: Console,
}

impl Settings {
    /// The time that packed files get, in seconds of the epoch.
    pub(crate) fn build_time(&self) -> u64 {
        self.source_date
            .unwrap_or_else(|| u64::try_from(self.now().as_second()).unwrap_or_default())
    }

    /// The time zone in which times are shown. Found out when asked for: it means reading the list of all zones.
    pub(crate) fn zone(&self) -> jiff::tz::TimeZone {
        jiff::tz::TimeZone::system()
    }

    /// The time now, in seconds of the epoch, as OpenPGP counts it.
    pub(crate) fn epoch_seconds(&self) -> u32 {
        u32::try_from(self.now().as_second()).unwrap_or(u32::MAX)
    }

    /// Tells whether Helm's own list, which is not the one in use, has a repository.
    pub(crate) fn helm_knows_repository(&self, name: &str) -> bool {
        let other = self
            .helm_repositories
            .as_ref()
            .filter(|path| **path != self.locations.repositories);
        let list = other.and_then(|path| repo_fetch::Repositories::load(path).ok());
        list.is_some_and(|list| list.get(name).is_some())
    }

    /// The time now.
    pub(crate) fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    /// Puts flags before environment before defaults.
    pub(crate) fn gather(
        flags: GlobalArgs,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let engine =
            environment("DOCKER_HOST").and_then(|address| address.strip_prefix("unix://").map(PathBuf::from));
        // An empty one is a wish too.
        let nft = environment("TUG_NFT");
        let environment = |name: &str| environment(name).filter(|value| !value.is_empty());
        let home = environment("HOME").map(PathBuf::from);
        let folder = |ours: &str, xdg: &str, under_home: &str| {
            environment(ours)
                .map(PathBuf::from)
                .or_else(|| environment(xdg).map(|base| PathBuf::from(base).join("tug")))
                .or_else(|| home.as_ref().map(|home| home.join(under_home).join("tug")))
                .ok_or_else(|| {
                    Failure::new("no folder for tug's files")
                        .because(format!("neither {ours} nor HOME is set"))
                })
        };
        let max_history = match environment("HELM_MAX_HISTORY") {
            None => 10,
            Some(text) => text.parse().map_err(|_| {
                Failure::new("cannot read HELM_MAX_HISTORY").because(format!("`{text}` is not a count"))
            })?,
        };
        let kubeconfigs = match flags.kubeconfig {
            Some(file) => vec![file],
            None => environment("KUBECONFIG")
                .map(|paths| std::env::split_paths(&paths).filter(|path| path != "").collect())
                .unwrap_or_default(),
        };
        let as_groups = if flags.kube_as_group.is_empty() {
            let groups = environment("HELM_KUBEASGROUPS").unwrap_or_default();
            groups
                .split(',')
                .filter(|group| !group.is_empty())
                .map(str::to_owned)
                .collect()
        } else {
            flags.kube_as_group
        };
        let kube = KubeSettings {
            kubeconfigs,
            context: flags.kube_context.or_else(|| environment("HELM_KUBECONTEXT")),
            api_server: flags.kube_apiserver.or_else(|| environment("HELM_KUBEAPISERVER")),
            token: flags.kube_token.or_else(|| environment("HELM_KUBETOKEN")),
            as_user: flags.kube_as_user.or_else(|| environment("HELM_KUBEASUSER")),
            as_groups,
            ca_file: flags
                .kube_ca_file
                .or_else(|| environment("HELM_KUBECAFILE").map(PathBuf::from)),
            tls_server_name: flags
                .kube_tls_server_name
                .or_else(|| environment("HELM_KUBETLS_SERVER_NAME")),
            insecure: flags.kube_insecure_skip_tls_verify
                || is_true(environment("HELM_KUBEINSECURE_SKIP_TLS_VERIFY")),
        };
        let (config_dir, cache_dir) = (
            folder("TUG_CONFIG_HOME", "XDG_CONFIG_HOME", ".config")?,
            folder("TUG_CACHE_HOME", "XDG_CACHE_HOME", ".cache")?,
        );
        let in_home = |path: &str| home.as_ref().map(|home| home.join(path));
        let helm_folder = |xdg: &str, under_home: &str| {
            let base = environment(xdg)
                .map(PathBuf::from)
                .or_else(|| in_home(under_home));
            base.map(|base| base.join("helm"))
        };
        let share = is_true(environment("TUG_SHARE_HELM"));
        let helm_config = helm_folder("XDG_CONFIG_HOME", ".config");
        let helm_cache = helm_folder("XDG_CACHE_HOME", ".cache");
        let chosen = |variable: &str, helms: &Option<PathBuf>, ours: &PathBuf| {
            environment(variable)
                .map(PathBuf::from)
                .or_else(|| helms.clone().filter(|_| share))
                .unwrap_or_else(|| ours.clone())
        };
        let config = chosen("HELM_CONFIG_HOME", &helm_config, &config_dir);
        let cache = chosen("HELM_CACHE_HOME", &helm_cache, &cache_dir);
        let place = |flag: Option<PathBuf>, variable: &str, usual: PathBuf| {
            flag.or_else(|| environment(variable).map(PathBuf::from))
                .unwrap_or(usual)
        };
        let docker_dir = environment("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| in_home(".docker"));
        let locations = Locations {
            repositories: place(
                flags.repository_config,
                "HELM_REPOSITORY_CONFIG",
                config.join("repositories.yaml"),
            ),
            repository_cache: place(
                flags.repository_cache,
                "HELM_REPOSITORY_CACHE",
                cache.join("repository"),
            ),
            content_cache: place(flags.content_cache, "HELM_CONTENT_CACHE", cache.join("content")),
            registry_config: place(
                flags.registry_config,
                "HELM_REGISTRY_CONFIG",
                config.join("registry/config.json"),
            ),
            docker_config: docker_dir.map(|folder| folder.join("config.json")),
        };
        // Both spellings are in use.
        let either = |name: &str| environment(name).or_else(|| environment(&name.to_lowercase()));
        let proxies = Proxies {
            http: either("HTTP_PROXY"),
            https: either("HTTPS_PROXY"),
            all: either("ALL_PROXY"),
            none: either("NO_PROXY"),
        };
        let eviction = environment("TUG_EVICTION_HARD").map(|text| text.parse::<EvictionThresholds>());
        let eviction = eviction
            .transpose()
            .map_err(|why| Failure::new("cannot read TUG_EVICTION_HARD").because(why))?;
        let mut limits = Limits::default();
        let given = environment("TUG_LIMITS").unwrap_or_default();
        limits.set(given.split(',').filter(|text| !text.is_empty()))?;
        limits.set(&flags.limit)?;
        let color = flags.color.unwrap_or_else(|| color_choice(&environment));
        Ok(Self {
            kube,
            namespace: flags.namespace.or_else(|| environment("HELM_NAMESPACE")),
            data_dir: folder("TUG_DATA_HOME", "XDG_DATA_HOME", ".local/share")?,
            config_dir,
            cache_dir,
            locations,
            helm_repositories: helm_config.map(|config| config.join("repositories.yaml")),
            gnupg_dir: environment("GNUPGHOME")
                .map(PathBuf::from)
                .or_else(|| in_home(".gnupg"))
                .unwrap_or_else(|| ".gnupg".into()),
            proxies,
            program_path: environment("PATH"),
            cluster_dir: flags
                .data_dir
                .or_else(|| environment("TUG_DATA_DIR").map(PathBuf::from))
                .unwrap_or_else(|| CLUSTER_DIR.into()),
            nft,
            engine,
            eviction,
            driver: environment("HELM_DRIVER"),
            home,
            user: environment("USER").or_else(|| environment("LOGNAME")),
            max_history,
            source_date: environment("SOURCE_DATE_EPOCH").and_then(|text| text.parse().ok()),
            limits,
            debug: flags.debug || is_true(environment("HELM_DEBUG")),
            console: Console::open(
                color,
                environment("COLUMNS").and_then(|columns| columns.parse().ok()),
            ),
        })
    }

    /// The `nft` program: `TUG_NFT` (empty for none), else the first on the path or where administrators have it.
    pub(crate) fn nft(&self) -> Option<PathBuf> {
        if let Some(wish) = &self.nft {
            return Some(wish).filter(|wish| !wish.is_empty()).map(PathBuf::from);
        }
        let path = self.program_path.as_deref().unwrap_or_default();
        let folders = std::env::split_paths(path).chain(ADMINISTRATOR_PATH.iter().map(PathBuf::from));
        folders
            .map(|folder| folder.join("nft"))
            .find(|program| program.is_file())
    }
}

fn color_choice(environment: &impl Fn(&str) -> Option<String>) -> ColorChoice {
    if environment("NO_COLOR").is_some() {
        return ColorChoice::Never;
    }
    match environment("HELM_COLOR").as_deref() {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ => ColorChoice::Auto,
    }
}

fn is_true(value: Option<String>) -> bool {
    value.is_some_and(|value| matches!(value.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(flags: GlobalArgs, environment: &[(&str, &str)]) -> Result<Settings, Failure> {
        Settings::gather(flags, |name| {
            let found = environment.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn flags_come_before_the_environment() {
        let environment = [
            ("HOME", "/home/ann"),
            ("HELM_NAMESPACE", "shop"),
            ("HELM_KUBECONTEXT", "prod"),
            ("KUBECONFIG", "/a:/b"),
            ("XDG_DATA_HOME", "/data"),
        ];
        let settings = gather(GlobalArgs::default(), &environment).unwrap();
        assert_eq!(settings.namespace.as_deref(), Some("shop"));
        assert_eq!(
            settings.kube.kubeconfigs,
            [PathBuf::from("/a"), PathBuf::from("/b")]
        );
        assert_eq!(settings.data_dir, PathBuf::from("/data/tug"));
        assert_eq!(settings.config_dir, PathBuf::from("/home/ann/.config/tug"));
        assert_eq!(settings.max_history, 10);
        let flags = GlobalArgs {
            namespace: Some("desk".into()),
            kubeconfig: Some("/c".into()),
            ..GlobalArgs::default()
        };
        let settings = gather(flags, &environment).unwrap();
        assert_eq!(settings.namespace.as_deref(), Some("desk"));
        assert_eq!(settings.kube.kubeconfigs, [PathBuf::from("/c")]);
    }

    #[test]
    fn err_a_history_limit_that_is_no_number() {
        let environment = [("HOME", "/home/ann"), ("HELM_MAX_HISTORY", "many")];
        let failure = gather(GlobalArgs::default(), &environment).unwrap_err();
        assert_eq!(failure.causes(), ["`many` is not a count"]);
    }

    #[test]
    fn err_no_home_folder() {
        let failure = gather(GlobalArgs::default(), &[]).unwrap_err();
        assert_eq!(failure.heading(), "no folder for tug's files");
    }
}
