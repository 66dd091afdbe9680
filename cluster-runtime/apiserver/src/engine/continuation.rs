//! Where a list that was cut short goes on.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cluster_objects::Status;
use cluster_store::Revision;
use serde::{Deserialize, Serialize};

/// The meaning of a `continue` token; clients do not look inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Continuation {
    /// Revision of the first page: later pages show the same.
    #[serde(rename = "rv")]
    pub(super) revision: Revision,
    /// Namespace of the last object that was shown, empty for cluster-wide ones.
    #[serde(rename = "ns")]
    pub(super) namespace: String,
    /// Name of the last object that was shown.
    #[serde(rename = "n")]
    pub(super) name: String,
}

impl Continuation {
    /// Writes the token.
    pub(super) fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads a token; 400 when it is none of ours.
    pub(super) fn decode(token: &str) -> Result<Self, Status> {
        let bytes = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).ok();
        bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| Status::bad_request("continue key is not valid"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back() {
        let continuation = Continuation {
            revision: Revision(7),
            namespace: "default".to_owned(),
            name: "web".to_owned(),
        };
        assert_eq!(Continuation::decode(&continuation.encode()), Ok(continuation));
    }

    #[test]
    fn err_a_token_of_others_is_refused() {
        for token in ["!", "e30", "eyJydiI6MX0="] {
            assert_eq!(Continuation::decode(token).unwrap_err().code, 400, "{token}");
        }
    }
}
