//! Join tokens as the cluster keeps them: Secrets that hold the digest of what a token holds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cluster_client::{Api, Collection, DeleteOptions, ListOptions, Target, WriteOptions};
use cluster_objects::{Object, Status};
use jiff::Timestamp;
use serde_json::json;

use crate::message::Refusal;
use crate::token::{ID_BYTES, JoinToken, Role, SECRET_BYTES, secret_digest};

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "tug.dev/join-token";
const PREFIX: &str = "join-token-";
const MANAGER: &str = "tug";
/// What a token is good for where nobody says otherwise.
pub const TOKEN_LIFE: Duration = Duration::from_secs(24 * 3600);

/// What can be chosen of a token.
#[derive(Clone, Copy, Debug)]
pub struct TokenWish {
    /// What those become who join by it.
    pub role: Role,
    /// How long it is good.
    pub life: Duration,
    /// How many machines may join by it; any number where absent.
    pub uses: Option<u32>,
}

/// A token that the cluster knows; its secret is known to nobody but those who were given it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownToken {
    /// Its number.
    pub name: String,
    /// What those become who join by it.
    pub role: Role,
    /// When it ends.
    pub expires: Timestamp,
    /// How many machines may still join by it.
    pub uses_left: Option<u32>,
    digest: String,
}

fn secrets() -> Collection {
    Collection::namespaced("v1", "secrets", NAMESPACE)
}

fn target(name: &str) -> Target {
    secrets().target(&format!("{PREFIX}{name}"))
}

fn options() -> WriteOptions {
    WriteOptions {
        field_manager: MANAGER.to_owned(),
        ..WriteOptions::default()
    }
}

/// Makes a token. `random` has to be unpredictable; `authority` is the digest of the authority's certificate.
///
/// Tokens that have ended are removed on the way.
///
/// # Errors
/// What the API says.
pub(crate) async fn create_token(
    api: &dyn Api,
    wish: &TokenWish,
    servers: Vec<SocketAddr>,
    authority: [u8; 32],
    random: [u8; ID_BYTES + SECRET_BYTES],
    now: Timestamp,
) -> Result<JoinToken, Status> {
    for ended in tokens(api).await?.iter().filter(|token| token.expires <= now) {
        revoke_token(api, &ended.name).await?;
    }
    let (id, secret) = random.split_at(ID_BYTES);
    let token = JoinToken {
        role: wish.role,
        id: id.try_into().expect("split there"),
        secret: secret.try_into().expect("the rest"),
        authority,
        servers,
    };
    let expires = now.checked_add(wish.life).unwrap_or(Timestamp::MAX);
    let mut object = Object::new("v1", "Secret", Some(NAMESPACE), &target(&token.name()).name);
    object.set(&["type"], TYPE);
    let mut data = json!({
        "role": wish.role.as_str(), "secretSha256": secret_digest(&token.secret), "expiration": expires.to_string(),
    });
    if let Some(uses) = wish.uses {
        data["usesLeft"] = uses.to_string().into();
    }
    object.set(&["stringData"], data);
    api.create(&secrets(), object, &options()).await?;
    Ok(token)
}

/// The tokens that are there, whether they are still good or not.
///
/// # Errors
/// What the API says.
pub(crate) async fn tokens(api: &dyn Api) -> Result<Vec<KnownToken>, Status> {
    let asked = ListOptions {
        field_selector: format!("type={TYPE}"),
        ..ListOptions::default()
    };
    let list = api.list(&secrets(), &asked).await?;
    Ok(list.items.iter().filter_map(|object| read(object)).collect())
}

/// Takes a token back; `false` where there is none of that number.
///
/// # Errors
/// What the API says.
pub(crate) async fn revoke_token(api: &dyn Api, name: &str) -> Result<bool, Status> {
    match api.delete(&target(name), &DeleteOptions::default()).await {
        Ok(_) => Ok(true),
        Err(status) if status.is_not_found() => Ok(false),
        Err(status) => Err(status),
    }
}

fn read(secret: &Object) -> Option<KnownToken> {
    use base64::Engine;
    let text = |key: &str| {
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(secret.text(&["data", key])?)
            .ok()?;
        String::from_utf8(bytes).ok()
    };
    Some(KnownToken {
        name: secret.name().strip_prefix(PREFIX)?.to_owned(),
        role: Role::parse(&text("role")?)?,
        expires: text("expiration")?.parse().ok()?,
        uses_left: text("usesLeft").and_then(|uses| uses.parse().ok()),
        digest: text("secretSha256")?,
    })
}

/// Lets one machine in by a token, and counts it.
///
/// Only the server that leads may call this, one call at a time: it reads and then writes.
pub(crate) async fn redeem(
    api: &Arc<dyn Api>,
    name: &str,
    secret: &[u8],
    now: Timestamp,
) -> Result<Role, Refusal> {
    const ANOTHER: &str = "`tug cluster token create` on a server makes another one";
    let internal =
        |status: Status| Refusal::new(format!("the token cannot be looked up: {status}"), "try again");
    let unknown = || Refusal::new("the token is not known: it is wrong, or was revoked", ANOTHER);
    let object = match api.get(&target(name)).await {
        Ok(object) => object,
        Err(status) if status.is_not_found() => return Err(unknown()),
        Err(status) => return Err(internal(status)),
    };
    let token = read(&object).ok_or_else(unknown)?;
    // Digests are compared, of which the caller cannot choose the first bytes: time tells nothing of the secret.
    if token.digest != secret_digest(secret) {
        return Err(unknown());
    }
    if token.expires <= now {
        return Err(Refusal::new(
            format!("the token has expired at {}", token.expires),
            ANOTHER,
        ));
    }
    match token.uses_left {
        None => {}
        Some(0) => return Err(Refusal::new("the token was used up", ANOTHER)),
        Some(left) => {
            let mut used = Object::clone(&object);
            used.set(&["stringData"], json!({"usesLeft": (left - 1).to_string()}));
            api.update(&target(name), used, &options())
                .await
                .map_err(internal)?;
        }
    }
    Ok(token.role)
}
