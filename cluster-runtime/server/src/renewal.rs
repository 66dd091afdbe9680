//! Certificates are made anew long before they end, while what uses them goes on.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::sleep;

/// Of its life, a certificate is made anew after this part.
const PART: u32 = 3;
/// Longest time between two looks at the clock, which may be set, and goes on while the machine sleeps.
const LOOK: Duration = Duration::from_secs(3600);
/// Of the life of a certificate, this part is waited after a try that failed; as long as between two looks at most.
const RETRY_PART: u32 = 12;

/// When a certificate was made, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) at: OffsetDateTime,
    pub(crate) life: Duration,
}

impl Made {
    /// Until it is to be made anew, nothing where it is; also one that is good for longer than certificates should be.
    fn left(&self, life: Duration, now: OffsetDateTime) -> Duration {
        if life < self.life {
            return Duration::ZERO;
        }
        let age = Duration::try_from(now - self.at).unwrap_or_default();
        (self.life / PART).saturating_sub(age)
    }
}

/// Makes a certificate anew again and again; ends only with its caller.
///
/// `made` is the present one; nothing where that is not known, as it is where none could be had at the start. `life` is how
/// long certificates should be good; where that becomes shorter, another one is made at once. `renew` gives the life of the
/// one that it has made.
pub(crate) async fn keep_renewed<F: Future<Output = Option<Duration>>>(
    mut made: Option<Made>,
    mut life: watch::Receiver<Duration>,
    now: impl Fn() -> OffsetDateTime,
    mut renew: impl FnMut() -> F,
) {
    let mut has_failed = made.is_none();
    loop {
        let wished = *life.borrow_and_update();
        let left = made.map_or(Duration::ZERO, |made| made.left(wished, now()));
        let pause = match (left.is_zero(), has_failed) {
            (true, true) => wished / RETRY_PART,
            (true, false) => Duration::ZERO,
            (false, _) => left,
        };
        if pause.is_zero() {
            let renewed = renew().await;
            has_failed = renewed.is_none();
            if let Some(life) = renewed {
                made = Some(Made { at: now(), life });
            }
            continue;
        }
        let changed = async {
            if life.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = sleep(pause.min(LOOK)) => {}
            () = changed => {}
        }
        has_failed = false;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::time::{Instant, timeout};

    use super::*;

    const DAY: u64 = 24 * 3600;
    const YEAR: Duration = Duration::from_secs(365 * DAY);

    /// The hours at which it was tried, of so many days; the tries that succeed.
    async fn tries(made_days_ago: Option<i64>, days: u64, succeed: &[bool]) -> Vec<u64> {
        let (_life, life) = watch::channel(YEAR);
        tries_with(made_days_ago, days, succeed, life).await
    }

    async fn tries_with(
        made_days_ago: Option<i64>,
        days: u64,
        succeed: &[bool],
        life: watch::Receiver<Duration>,
    ) -> Vec<u64> {
        let start = Instant::now();
        let begin = OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000);
        let made = made_days_ago.map(|days| Made {
            at: begin - time::Duration::days(days),
            life: YEAR,
        });
        let hours = RefCell::new(Vec::new());
        let now = || begin + start.elapsed();
        let of_new = life.clone();
        let renew = || {
            let mut hours = hours.borrow_mut();
            hours.push(start.elapsed().as_secs() / 3600);
            let succeeds = succeed.get(hours.len() - 1).copied().unwrap_or(true);
            std::future::ready(succeeds.then(|| *of_new.borrow()))
        };
        let going_on = keep_renewed(made, life, now, renew);
        assert!(timeout(Duration::from_secs(days * DAY), going_on).await.is_err());
        hours.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn a_certificate_is_renewed_at_a_third_of_its_life_and_tried_again_soon() {
        assert_eq!(tries(Some(0), 360, &[]).await, [2920, 5840]);
        assert_eq!(tries(Some(0), 122, &[false, false]).await, [2920, 2921, 2922]);
        assert_eq!(tries(None, 100, &[false]).await, [1, 2]);
        assert_eq!(tries(Some(400), 100, &[]).await, [0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_life_is_followed_at_once_and_a_longer_one_when_it_is_due() {
        let (wish, life) = watch::channel(YEAR);
        let shorten = async {
            sleep(Duration::from_secs(10 * DAY)).await;
            wish.send_replace(Duration::from_secs(9 * DAY));
            sleep(Duration::from_secs(4 * DAY)).await;
            wish.send_replace(YEAR);
            std::future::pending::<()>().await;
        };
        let tried = tokio::select! {
            tried = tries_with(Some(0), 30, &[], life) => tried,
            () = shorten => unreachable!(),
        };
        assert_eq!(tried, [240, 240 + 72, 240 + 144]);
    }
}
