//! The file by which clients find the cluster and prove who they are.

use serde::Serialize;

use crate::pki::Identity;

/// Name of the cluster, the context and the user in the file.
const CONTEXT: &str = "tug";

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Kubeconfig {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    current_context: &'static str,
    clusters: [Named<Cluster>; 1],
    contexts: [Named<Context>; 1],
    users: [Named<User>; 1],
}

/// An entry of one of the lists; the field that holds it is named after the list.
#[derive(Serialize)]
struct Named<T> {
    name: &'static str,
    #[serde(flatten)]
    entry: T,
}

#[derive(Serialize)]
struct Cluster {
    cluster: ClusterFields,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ClusterFields {
    server: String,
    certificate_authority_data: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_server_name: Option<String>,
}

#[derive(Serialize)]
struct Context {
    context: ContextFields,
}

#[derive(Serialize)]
struct ContextFields {
    cluster: &'static str,
    user: &'static str,
    namespace: &'static str,
}

#[derive(Serialize)]
struct User {
    user: UserFields,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct UserFields {
    client_certificate_data: String,
    client_key_data: String,
}

/// Writes a kubeconfig for a server's URL, with its authority's certificate (PEM) and a user's identity.
///
/// `server_name` is what the server's certificate must be for, where that is not in the URL.
pub(crate) fn kubeconfig(
    server: &str,
    authority: &str,
    user: &Identity,
    server_name: Option<&str>,
) -> String {
    use base64::Engine;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let cluster = ClusterFields {
        server: server.to_owned(),
        certificate_authority_data: encode(authority),
        tls_server_name: server_name.map(str::to_owned),
    };
    let user = UserFields {
        client_certificate_data: encode(&user.certificate),
        client_key_data: encode(&user.key),
    };
    let context = ContextFields {
        cluster: CONTEXT,
        user: CONTEXT,
        namespace: "default",
    };
    let config = Kubeconfig {
        api_version: "v1",
        kind: "Config",
        current_context: CONTEXT,
        clusters: [Named {
            name: CONTEXT,
            entry: Cluster { cluster },
        }],
        contexts: [Named {
            name: CONTEXT,
            entry: Context { context },
        }],
        users: [Named {
            name: CONTEXT,
            entry: User { user },
        }],
    };
    serde_yaml::to_string(&config).expect("texts in fixed fields are always YAML")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_names_its_parts() {
        let user = Identity {
            certificate: "C".into(),
            key: "K".into(),
        };
        let text = kubeconfig("https://127.0.0.1:6443", "A", &user, None);
        let value: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
        assert_eq!(value["current-context"], "tug");
        assert_eq!(
            value["clusters"][0]["cluster"]["server"],
            "https://127.0.0.1:6443"
        );
        assert_eq!(value["users"][0]["user"]["client-key-data"], "Sw==");
        assert_eq!(
            value["contexts"][0]["context"]["cluster"],
            value["clusters"][0]["name"]
        );
    }
}
