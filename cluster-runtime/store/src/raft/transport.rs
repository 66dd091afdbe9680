//! The seam to the other members of a group.

use async_trait::async_trait;

/// Carries messages between members; what is in them is the store's own matter.
///
/// The receiving side hands a message to [`crate::RaftStore::receive`] and sends back what that gives.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends a message to a member and waits for its answer.
    ///
    /// `address` is what the member was added to the group with. A call may be dropped when the answer is no longer
    /// of use.
    async fn send(&self, member: u64, address: &str, message: Vec<u8>) -> Result<Vec<u8>, TransportError>;
}

/// Why a member could not be reached.
#[derive(Clone, Debug, thiserror::Error)]
#[error("member {member} cannot be reached: {reason}")]
pub struct TransportError {
    /// The member.
    pub member: u64,
    /// What happened.
    pub reason: String,
}
