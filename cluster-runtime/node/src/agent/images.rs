//! Seeing to it that images are there, by the policy of each container.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cluster_client::Api;
use cluster_objects::Object;
use serde_json::Value;

use super::environment::binary_data;
use super::lookup;
use super::pod::{Pod, PullPolicy};
use crate::image::{Credentials, Image, ImageError, ImageName, ImageStore};

/// Fetches images; the same image is fetched once at a time.
#[derive(Clone)]
pub(crate) struct ImageFetcher {
    store: ImageStore,
    busy: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
}

/// An image that is there now.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub image: Image,
    /// How long the pull took; absent where there was none.
    pub pulled: Option<Duration>,
}

/// Why an image is not there.
#[derive(Debug)]
pub(crate) struct FetchFailure {
    /// `ErrImagePull`, `ErrImageNeverPull` or `InvalidImageName`.
    pub reason: &'static str,
    pub message: String,
}

impl ImageFetcher {
    pub(crate) fn new(store: ImageStore) -> Self {
        Self {
            store,
            busy: Arc::default(),
        }
    }

    pub(crate) fn store(&self) -> &ImageStore {
        &self.store
    }

    /// Finds or pulls an image. `pulling` is called when a pull begins.
    pub(crate) async fn fetch(
        &self,
        api: &dyn Api,
        pod: &Pod,
        image: &str,
        policy: PullPolicy,
        pulling: impl FnOnce(),
    ) -> Result<Fetched, FetchFailure> {
        let name: ImageName = image
            .parse()
            .map_err(|error: crate::image::ImageNameError| FetchFailure {
                reason: "InvalidImageName",
                message: format!("Failed to apply default image tag {image:?}: {error}"),
            })?;
        if policy != PullPolicy::Always
            && let Some(image) = self.find(image).await?
        {
            return Ok(Fetched { image, pulled: None });
        }
        if policy == PullPolicy::Never {
            return Err(FetchFailure {
                reason: "ErrImageNeverPull",
                message: format!("Container image {image:?} is not present with pull policy of Never"),
            });
        }
        let turn = self.turn(&name.to_string());
        let _held = turn.lock().await;
        if policy != PullPolicy::Always
            && let Some(image) = self.find(image).await?
        {
            return Ok(Fetched { image, pulled: None });
        }
        pulling();
        let began = Instant::now();
        let credentials = credentials(api, pod, &name).await;
        let pulled = self
            .store
            .pull(image, &credentials)
            .await
            .map_err(|error| failed(&error))?;
        Ok(Fetched {
            image: pulled,
            pulled: Some(began.elapsed()),
        })
    }

    async fn find(&self, image: &str) -> Result<Option<Image>, FetchFailure> {
        let (store, name) = (self.store.clone(), image.to_owned());
        let found = tokio::task::spawn_blocking(move || store.resolve(&name)).await;
        match found.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())) {
            Ok(image) => Ok(Some(image)),
            Err(ImageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    fn turn(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.retain(|_, turn| Arc::strong_count(turn) > 1);
        busy.entry(name.to_owned()).or_default().clone()
    }
}

fn failed(error: &ImageError) -> FetchFailure {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    FetchFailure {
        reason: "ErrImagePull",
        message,
    }
}

/// The credentials of the pod's pull secrets for the registry of an image.
async fn credentials(api: &dyn Api, pod: &Pod, name: &ImageName) -> Credentials {
    let names = pod
        .spec
        .image_pull_secrets
        .iter()
        .map(|secret| secret.name.clone())
        .collect();
    let fetched = lookup::fetch(api, pod.namespace(), &Default::default(), &names).await;
    let secrets = fetched.map(|fetched| fetched.secrets).unwrap_or_default();
    let found = secrets
        .values()
        .flatten()
        .find_map(|secret| of_secret(secret, name));
    found.unwrap_or_default()
}

/// What a secret with a Docker configuration says about a registry.
fn of_secret(secret: &Object, name: &ImageName) -> Option<Credentials> {
    let data = binary_data(secret, "data");
    let (text, at) = match data.get(".dockerconfigjson") {
        Some(text) => (text, "/auths"),
        None => (data.get(".dockercfg")?, ""),
    };
    let config: Value = serde_json::from_slice(text).ok()?;
    let entries = config.pointer(at)?.as_object()?;
    let (_, entry) = entries.iter().find(|(key, _)| is_registry(key, name))?;
    let text = |key: &str| {
        entry[key]
            .as_str()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    if let Some(token) = text("registrytoken") {
        return Some(Credentials::Bearer(token));
    }
    let pair = text("username").zip(text("password")).or_else(|| {
        let decoded = String::from_utf8(STANDARD.decode(text("auth")?).ok()?).ok()?;
        let (user, password) = decoded.split_once(':')?;
        Some((user.to_owned(), password.to_owned()))
    });
    pair.map(|(user, password)| Credentials::Basic { user, password })
}

/// Whether a key of a Docker configuration names the registry of an image: a host, or an URL of one.
fn is_registry(key: &str, name: &ImageName) -> bool {
    let plain = key.trim_start_matches("https://").trim_start_matches("http://");
    let host = plain.split('/').next().unwrap_or_default();
    let host = if host == "index.docker.io" || host == "registry-1.docker.io" {
        "docker.io"
    } else {
        host
    };
    host == name.registry()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(config: &Value, image: &str, expected: Option<&Credentials>) {
        let text = STANDARD.encode(config.to_string());
        let secret = Object::from_value(json!({ "data": { ".dockerconfigjson": text } })).unwrap();
        assert_eq!(
            of_secret(&secret, &image.parse().unwrap()).as_ref(),
            expected,
            "{config} {image}"
        );
    }

    #[test]
    fn credentials_are_found_by_registry() {
        let basic = Some(Credentials::Basic {
            user: "me".into(),
            password: "secret:1".into(),
        });
        let auth = STANDARD.encode("me:secret:1");
        check(
            &json!({ "auths": { "https://index.docker.io/v1/": { "auth": auth } } }),
            "nginx",
            basic.as_ref(),
        );
        check(
            &json!({ "auths": { "r.io:5000": { "auth": auth } } }),
            "r.io:5000/app",
            basic.as_ref(),
        );
        check(
            &json!({ "auths": { "r.io": { "username": "me", "password": "secret:1" } } }),
            "r.io/app",
            basic.as_ref(),
        );
        check(
            &json!({ "auths": { "r.io": { "auth": auth } } }),
            "other.io/app",
            None,
        );
    }
}
