//! What every store promises, checked on each of them.

mod cases;
mod in_directory;

use cluster_store::{Limits, MemoryStore};

use crate::in_directory::InDirectory;

/// Makes a module of tests, one for each case, for a way to open a store with given limits.
macro_rules! conforms {
    ($store:ident, $open:expr, [$($case:ident),* $(,)?]) => {
        mod $store {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    cases::$case($open).await;
                }
            )*
        }
    };
}

macro_rules! all_cases {
    ($store:ident, $open:expr) => {
        conforms!(
            $store,
            $open,
            [
                a_put_is_stamped_and_read_back,
                each_change_makes_the_next_revision,
                checks_alone_make_no_revision,
                deleting_what_is_absent_changes_nothing,
                preconditions_decide,
                err_a_transaction_is_done_whole_or_not_at_all,
                err_a_key_appears_twice,
                err_an_object_nests_too_deep,
                err_a_transaction_is_too_large,
                a_transaction_of_many_entries_is_done_as_one,
                err_a_transaction_of_many_entries_leaves_nothing,
                err_a_full_store_takes_only_deletions,
                lists_are_ordered_and_paged,
                a_list_shows_an_older_revision,
                err_the_future_cannot_be_read,
                err_compacted_revisions_are_refused,
                a_quiet_table_keeps_its_past,
                a_watch_starts_at_any_retained_revision,
                a_watch_follows_without_a_gap,
                a_watch_of_a_namespace_sees_only_that,
                err_a_slow_watcher_is_cut_off,
                concurrent_writers_lose_no_update,
            ]
        );
    };
}

all_cases!(memory, async |limits: Limits| MemoryStore::new(limits));
all_cases!(raft, InDirectory::open);
