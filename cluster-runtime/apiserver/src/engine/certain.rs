//! What is refused, or left as it is, is judged by the newest state.
//!
//! A commit finds out by itself that this server is behind: that it leads no more, or does not know yet what the leader before it
//! has done. What is not committed asks nobody else. A client that knows more would be told of a conflict with what is long gone.

use cluster_objects::Status;

use super::Engine;

impl Engine {
    /// Decides by what is here, and, where nothing comes of that which is committed, once more if others know more.
    pub(super) async fn decide<T>(
        &self,
        mut decide: impl FnMut() -> Result<T, Status>,
        is_committed: impl Fn(&T) -> bool,
    ) -> Result<T, Status> {
        let known = self.revision();
        let decided = decide();
        if decided.as_ref().is_ok_and(is_committed) {
            return decided;
        }
        self.catch_up().await?;
        if self.revision() == known {
            return decided;
        }
        // What it has reserved is free for the next.
        drop(decided);
        decide()
    }
}
