//! Who sends a request.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The group whose members may do everything.
pub const MASTERS: &str = "system:masters";
/// The servers of the cluster. They may say for whom they send a request on.
pub const SERVERS: &str = "tug:servers";
/// The group of everyone who proved who they are.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group of everyone who did not.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";

/// Who sends a request, as the authentication found out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct User {
    /// Name, as `system:serviceaccount:default:web` or the common name of a certificate.
    pub name: String,
    /// Unique id, where the way of authentication gives one.
    pub uid: String,
    /// Groups, with [`AUTHENTICATED`] or [`UNAUTHENTICATED`] among them.
    pub groups: Vec<String>,
}

/// A user and the program that they use.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The user.
    pub user: User,
    /// `User-Agent` of the program: its part before the slash owns the fields that it writes, where the request
    /// names no field manager.
    pub agent: String,
}

impl User {
    /// A user that proved who they are.
    pub fn authenticated(name: impl Into<String>, groups: impl IntoIterator<Item = String>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().collect();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Self {
            name: name.into(),
            uid: String::new(),
            groups,
        }
    }

    /// The user that a client certificate names: its common name, and its organisations as groups; `None` where it names
    /// nobody. Whether the certificate is good is for the TLS handshake to find out.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().next()?.as_str().ok()?;
        let groups = subject.iter_organization().filter_map(|part| part.as_str().ok());
        let mut groups: Vec<String> = groups.map(str::to_owned).collect();
        // Servers do what they are asked to by whoever may, so they may everything.
        if groups.iter().any(|group| group == SERVERS) {
            groups.push(MASTERS.to_owned());
        }
        Some(Self::authenticated(name, groups))
    }

    /// A user that gave no proof.
    pub fn anonymous() -> Self {
        Self {
            name: "system:anonymous".to_owned(),
            uid: String::new(),
            groups: vec![UNAUTHENTICATED.to_owned()],
        }
    }

    /// Whether the user is in a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|of_user| of_user == group)
    }
}

impl Caller {
    /// A part of this process, which may do everything: `agent` is its name and the owner of its fields.
    pub fn system(agent: &str) -> Self {
        Self {
            user: User::authenticated(format!("system:{agent}"), [MASTERS.to_owned()]),
            agent: agent.to_owned(),
        }
    }

    /// The field manager of a write whose options name none.
    pub fn default_field_manager(&self) -> &str {
        let manager = self.agent.split('/').next().unwrap_or_default();
        if manager.is_empty() { "unknown" } else { manager }
    }
}
