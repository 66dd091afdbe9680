//! Who sends a request: a certificate, a token, or nobody known.

use std::collections::HashMap;

use cluster_objects::{Status, StatusReason};
use http::HeaderMap;
use http::header::{AUTHORIZATION, USER_AGENT};

use super::forward::{REMOTE_GROUP, REMOTE_USER};
use crate::authorize::Action;
use crate::engine::Engine;
use crate::user::{Caller, SERVERS, User};

/// Finds out whose a bearer token is.
pub trait Tokens: Send + Sync + 'static {
    /// The user of a token; `None` when it is not known or no longer good.
    fn user(&self, token: &str) -> Option<User>;
}

/// Tokens that are known from the start.
#[derive(Default)]
pub struct TokenTable {
    users: HashMap<String, User>,
}

impl TokenTable {
    /// Adds a token of a user.
    pub fn insert(&mut self, token: impl Into<String>, user: User) {
        self.users.insert(token.into(), user);
    }
}

impl Tokens for TokenTable {
    fn user(&self, token: &str) -> Option<User> {
        self.users.get(token).cloned()
    }
}

/// The caller of a request. A token goes before the certificate of the connection, and one that is not known is
/// refused with 401; without either the caller is anonymous. Who may, may act as someone else.
pub(crate) fn caller(
    headers: &HeaderMap,
    certificate: Option<&User>,
    tokens: &dyn Tokens,
    engine: &Engine,
) -> Result<Caller, Status> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let token = text(AUTHORIZATION.as_str()).and_then(bearer);
    let user = match (token, certificate) {
        (Some(token), _) => {
            let of_account = || engine.user_of_token(token, &[]).map(|(user, _)| user);
            tokens.user(token).or_else(of_account).ok_or_else(unauthorized)?
        }
        (None, Some(server)) if server.is_in(SERVERS) => sent_on(headers).unwrap_or_else(|| server.clone()),
        (None, Some(user)) => user.clone(),
        (None, None) => User::anonymous(),
    };
    let user = impersonated(headers, &user, engine)?.unwrap_or(user);
    Ok(Caller {
        user,
        agent: text(USER_AGENT.as_str()).unwrap_or_default().to_owned(),
    })
}

/// For whom another server of the cluster sends a request on; `None` when it is its own.
fn sent_on(headers: &HeaderMap) -> Option<User> {
    let texts = |name: &str| {
        let values = headers.get_all(name).iter();
        values.filter_map(|value| value.to_str().ok()).map(str::to_owned)
    };
    let name = texts(REMOTE_USER).next()?;
    let anonymous = User::anonymous();
    if name == anonymous.name {
        return Some(anonymous);
    }
    Some(User::authenticated(name, texts(REMOTE_GROUP).collect::<Vec<_>>()))
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn unauthorized() -> Status {
    Status::new(401, StatusReason::Unauthorized, "Unauthorized")
}

/// The user that the `Impersonate-` headers name, once it is sure that the caller may act as them.
fn impersonated(headers: &HeaderMap, user: &User, engine: &Engine) -> Result<Option<User>, Status> {
    let all = |name: &str| -> Vec<String> {
        let values = headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok());
        values.map(str::to_owned).collect()
    };
    let names = all("impersonate-user");
    let groups = all("impersonate-group");
    let Some(name) = names.first() else {
        if groups.is_empty() && !headers.contains_key("impersonate-uid") {
            return Ok(None);
        }
        return Err(Status::bad_request(
            "requested groups or uid to impersonate without impersonating a user",
        ));
    };
    let may = |kind: &str, name: &str| {
        let resource = cluster_objects::GroupVersionResource::new("v1", kind);
        let action = Action::Resource {
            verb: "impersonate",
            resource: &resource,
            subresource: None,
            namespace: None,
            name: Some(name),
        };
        engine.authorize(user, &action)
    };
    may("users", name)?;
    groups.iter().try_for_each(|group| may("groups", group))?;
    let mut acting = User::authenticated(name, groups);
    acting.uid = all("impersonate-uid").into_iter().next().unwrap_or_default();
    Ok(Some(acting))
}
