//! Certificates are made anew long before they end, while what uses them goes on.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::sleep;

/// Age at which a certificate is made anew: a third of its life.
const AGE_MAX: time::Duration = time::Duration::days(120);
/// Between two looks at the clock, which may be set, and go on while the machine sleeps; and between two tries.
const LOOK: Duration = Duration::from_secs(3600);

/// Makes a certificate anew again and again; ends only with its caller.
///
/// `made` is when the present one was made; nothing where that is not known, as it is where none could be had at the start.
/// `renew` says whether it has made another.
pub(crate) async fn keep_renewed<F: Future<Output = bool>>(
    mut made: Option<OffsetDateTime>,
    now: impl Fn() -> OffsetDateTime,
    mut renew: impl FnMut() -> F,
) {
    loop {
        sleep(LOOK).await;
        let is_due = made.is_none_or(|made| now() - made >= AGE_MAX);
        if is_due && renew().await {
            made = Some(now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::time::{Instant, timeout};

    use super::*;

    const DAY: u64 = 24 * 3600;

    /// The hours at which it was tried, of so many days; the tries that succeed.
    async fn tries(made_days_ago: Option<i64>, days: u64, succeed: &[bool]) -> Vec<u64> {
        let start = Instant::now();
        let begin = OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000);
        let made = made_days_ago.map(|days| begin - time::Duration::days(days));
        let hours = RefCell::new(Vec::new());
        let now = || begin + start.elapsed();
        let renew = || {
            let mut hours = hours.borrow_mut();
            hours.push(start.elapsed().as_secs() / 3600);
            std::future::ready(succeed.get(hours.len() - 1).copied().unwrap_or(true))
        };
        let going_on = keep_renewed(made, now, renew);
        assert!(timeout(Duration::from_secs(days * DAY), going_on).await.is_err());
        hours.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn a_certificate_is_renewed_at_a_third_of_its_life_and_tried_again_soon() {
        assert_eq!(tries(Some(0), 365, &[]).await, [120 * 24, 240 * 24, 360 * 24]);
        assert_eq!(tries(Some(0), 121, &[false, false]).await, [2880, 2881, 2882]);
        assert_eq!(tries(None, 100, &[false]).await, [1, 2]);
        assert_eq!(tries(Some(400), 100, &[]).await, [1]);
    }
}
