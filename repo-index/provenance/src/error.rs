//! Why a chart cannot be signed, or is not what its provenance file says.

use chart_values::yaml::{EmitError, YamlError};
use repo_index::DigestError;

/// Why a chart cannot be signed, or is not what its provenance file says.
#[derive(Debug, thiserror::Error)]
pub enum ProvenanceError {
    /// The keyring has nothing that is a key.
    #[error("there is no OpenPGP key in the keyring")]
    NoKeys,
    /// None of the keyring's secret keys has such a name.
    #[error("private key not found")]
    NoSecretKey,
    /// Several have.
    #[error("more than one key contain the id {id:?}: {}", .names.join(", "))]
    SeveralKeys {
        /// What was looked for.
        id: String,
        /// The names that contain it.
        names: Vec<String>,
    },
    /// The secret key is protected, and no passphrase or a wrong one is given.
    #[error("cannot unlock the key `{0}`: the passphrase is wrong or missing")]
    Locked(String),
    /// The key is of a kind that cannot sign here.
    #[error("the key `{key}` cannot sign: {reason}")]
    CannotSign {
        /// The key's name.
        key: String,
        /// Why not.
        reason: String,
    },
    /// The provenance file is no text that is signed in the clear.
    #[error("failed to decode provenance: {0}")]
    Format(String),
    /// No key of the keyring made the signature.
    #[error("openpgp: signature made by unknown entity")]
    UnknownSigner,
    /// A key of the keyring is said to have made the signature, and did not, or may not.
    #[error("the signature of `{signer}` is not valid: {reason}")]
    BadSignature {
        /// The key's name.
        signer: String,
        /// Why.
        reason: String,
    },
    /// The signed text has not the two parts.
    #[error("message block must have at least two parts")]
    Parts,
    /// A part of the signed text is no YAML.
    #[error("cannot read the signed text: {0}")]
    Yaml(#[from] YamlError),
    /// The chart's metadata cannot be written as YAML.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// A digest in the signed text is none.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// The signed text does not speak of the archive.
    #[error("provenance does not contain a SHA for a file named {0:?}")]
    OtherFile(String),
    /// The archive is another one.
    #[error("sha256 sum does not match for {file}: {wanted:?} != {found:?}")]
    Sum {
        /// The archive's file.
        file: String,
        /// The digest in the signed text.
        wanted: String,
        /// The archive's digest.
        found: String,
    },
}
