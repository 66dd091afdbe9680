//! Tokens of service accounts: signed by the cluster, good for an account and often for one pod.
//!
//! They are JSON Web Tokens (RFC 7519) with ES256 signatures, with the claims that Kubernetes puts into its own.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use serde_json::{Value, json};

/// Signs tokens, and knows its own again.
pub struct TokenIssuer {
    key: EcdsaKeyPair,
    issuer: String,
    random: SystemRandom,
}

/// What a token says, once its signature and its times were found good.
pub(crate) type Claims = Value;

/// A private key that cannot sign tokens.
#[derive(Debug, thiserror::Error)]
#[error("the key that signs tokens is damaged: {0}")]
pub struct TokenKeyError(String);

impl TokenIssuer {
    /// Signs with an ECDSA P-256 key (PKCS #8, DER), in the name of an issuer.
    ///
    /// # Errors
    /// The key is another one, or none.
    pub fn new(pkcs8: &[u8], issuer: impl Into<String>) -> Result<Self, TokenKeyError> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random)
            .map_err(|error| TokenKeyError(error.to_string()))?;
        Ok(Self {
            key,
            issuer: issuer.into(),
            random,
        })
    }

    /// The name in whose name tokens are signed, and the audience of the API.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Signs claims; `iss` is set.
    pub(crate) fn sign(&self, mut claims: Claims) -> Option<String> {
        claims["iss"] = self.issuer.as_str().into();
        let header = json!({"alg": "ES256", "typ": "JWT"});
        let mut token = encode(&header);
        token.push('.');
        token.push_str(&encode(&claims));
        let signature = self.key.sign(&self.random, token.as_bytes()).ok()?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Some(token)
    }

    /// The claims of a token of this issuer that is good at this time.
    pub(crate) fn verify(&self, token: &str, now: Timestamp) -> Option<Claims> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref());
        public.verify(signed.as_bytes(), &signature).ok()?;
        if decode(header)?["alg"] != "ES256" {
            return None;
        }
        let claims = decode(claims)?;
        let time = |claim: &str| claims[claim].as_i64();
        let is_good = claims["iss"] == self.issuer.as_str()
            && time("nbf").is_none_or(|begin| begin <= now.as_second())
            && time("exp").is_some_and(|end| now.as_second() < end);
        is_good.then_some(claims)
    }
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn decode(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer() -> TokenIssuer {
        let key = rcgen::KeyPair::generate().unwrap();
        TokenIssuer::new(key.serialized_der(), "https://cluster").unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_token_is_good_between_its_times() {
        let issuer = issuer();
        let token = issuer.sign(json!({"sub": "a", "nbf": 100, "exp": 200})).unwrap();
        assert_eq!(issuer.verify(&token, at(150)).unwrap()["sub"], "a");
        assert!(issuer.verify(&token, at(99)).is_none());
        assert!(issuer.verify(&token, at(200)).is_none());
    }

    #[test]
    fn err_tokens_of_others_and_changed_ones() {
        let (one, two) = (issuer(), issuer());
        let token = one.sign(json!({"sub": "a", "exp": 200})).unwrap();
        assert!(two.verify(&token, at(1)).is_none());
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = signed.split_once('.').unwrap();
        let forged = encode(&json!({"sub": "b", "exp": 200, "iss": "https://cluster"}));
        assert!(
            one.verify(&format!("{header}.{forged}.{signature}"), at(1))
                .is_none()
        );
        let unsigned = format!("{}.{forged}.", encode(&json!({"alg": "none"})));
        assert!(one.verify(&unsigned, at(1)).is_none());
        for odd in ["", "a", "a.b", "a.b.c", "...."] {
            assert!(one.verify(odd, at(1)).is_none());
        }
    }

    #[test]
    fn err_a_key_that_is_none() {
        assert!(TokenIssuer::new(b"key", "x").is_err());
    }
}
