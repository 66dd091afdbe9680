//! `tug env`

use crate::failure::Failure;
use crate::settings::Settings;

/// Print the folders and settings in use
#[derive(clap::Args)]
pub(crate) struct EnvArgs {
    /// Print the value of this one alone
    name: Option<String>,
}

pub(super) fn run(arguments: &EnvArgs, settings: &Settings) -> Result<(), Failure> {
    let variables = variables(settings);
    let console = &settings.console;
    let Some(name) = &arguments.name else {
        let lines: String = variables
            .iter()
            .map(|(name, value)| format!("{name}={value:?}\n"))
            .collect();
        return console.data(&lines);
    };
    // Helm prints an empty line for an unknown name.
    let value = variables.iter().find(|(known, _)| known == name);
    console.line(value.map_or("", |(_, value)| value.as_str()))
}

fn variables(settings: &Settings) -> Vec<(&'static str, String)> {
    let kube = &settings.kube;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let path = |path: &std::path::Path| path.display().to_string();
    let files: Vec<String> = kube.kubeconfigs.iter().map(|file| path(file)).collect();
    let locations = &settings.locations;
    vec![
        ("HELM_CONTENT_CACHE", path(&locations.content_cache)),
        ("HELM_DEBUG", settings.debug.to_string()),
        ("HELM_KUBEAPISERVER", text(&kube.api_server)),
        ("HELM_KUBEASGROUPS", kube.as_groups.join(",")),
        ("HELM_KUBEASUSER", text(&kube.as_user)),
        (
            "HELM_KUBECAFILE",
            kube.ca_file.as_deref().map(path).unwrap_or_default(),
        ),
        ("HELM_KUBECONTEXT", text(&kube.context)),
        ("HELM_KUBEINSECURE_SKIP_TLS_VERIFY", kube.insecure.to_string()),
        ("HELM_KUBETLS_SERVER_NAME", text(&kube.tls_server_name)),
        ("HELM_MAX_HISTORY", settings.max_history.to_string()),
        (
            "HELM_NAMESPACE",
            settings.namespace.clone().unwrap_or_else(|| "default".into()),
        ),
        ("HELM_REGISTRY_CONFIG", path(&locations.registry_config)),
        ("HELM_REPOSITORY_CACHE", path(&locations.repository_cache)),
        ("HELM_REPOSITORY_CONFIG", path(&locations.repositories)),
        ("KUBECONFIG", files.join(":")),
        ("TUG_CACHE_HOME", path(&settings.cache_dir)),
        ("TUG_CONFIG_HOME", path(&settings.config_dir)),
        ("TUG_DATA_HOME", path(&settings.data_dir)),
    ]
}
