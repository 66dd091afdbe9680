//! Events are kept for an hour, and no more than so many of them: the oldest go first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cluster_client::{Change, Informer, WorkQueue};
use cluster_objects::{GroupVersionResource, Object};
use jiff::Timestamp;

use crate::context::Context;
use crate::reconcile::Reconcile;
use crate::step::{self, Outcome, Step};
use crate::time;

/// As long as Kubernetes keeps them.
const SECONDS_MAX: i64 = 3600;
/// Events of the whole cluster that are kept.
const EVENTS_MAX: usize = 10_000;
/// How far below that the ring is emptied when it is full, so that not every further event empties it again.
const SLACK: usize = EVENTS_MAX / 10;
/// Those that are due about the same time go together.
const TOGETHER: Duration = Duration::from_secs(60);

fn events() -> GroupVersionResource {
    GroupVersionResource::new("v1", "events")
}

/// When an event last happened.
fn time_of(event: &Object) -> Timestamp {
    let paths: [&[&str]; 4] = [
        &["series", "lastObservedTime"],
        &["lastTimestamp"],
        &["eventTime"],
        &["metadata", "creationTimestamp"],
    ];
    let times = paths.iter().filter_map(|path| time::of(event.text(path)));
    times.max().unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Steps that delete what is too old or too much, and look again when the next one is due.
pub(crate) fn plan(events_now: &[Arc<Object>], now: Timestamp, most: usize, slack: usize) -> Vec<Step> {
    let mut by_age: Vec<(Timestamp, &Arc<Object>)> =
        events_now.iter().map(|event| (time_of(event), event)).collect();
    by_age.sort_by_key(|(time, event)| (*time, event.uid()));
    let too_many = if by_age.len() > most {
        by_age.len() - (most - slack)
    } else {
        0
    };
    let is_due = |time: &Timestamp| time::remaining(*time, SECONDS_MAX, now).is_none();
    let gone = by_age
        .iter()
        .take_while(|(time, _)| is_due(time))
        .count()
        .max(too_many);
    let mut steps: Vec<Step> = by_age
        .iter()
        .take(gone)
        .map(|(_, event)| step::delete(&events(), event, None))
        .collect();
    if let Some((next, _)) = by_age.get(gone) {
        let wait = time::remaining(*next, SECONDS_MAX, now).unwrap_or_default();
        steps.push(Step::Again(wait + TOGETHER));
    }
    steps
}

/// The shell around [`plan`].
pub(crate) struct Events {
    context: Context,
    events: Informer,
    /// Whether a look is due already.
    waits: Arc<AtomicBool>,
}

impl Events {
    pub(crate) fn new(context: &Context, queue: &WorkQueue<&'static str>) -> Self {
        let events = context.informers.of_resource(&events());
        let waits = Arc::new(AtomicBool::new(false));
        let (added, all, waiting) = (queue.clone(), events.clone(), waits.clone());
        events.add_handler(move |change| {
            if !matches!(change, Change::Added(_)) {
                return;
            }
            if all.len() > EVENTS_MAX {
                added.add("events");
            } else if !waiting.swap(true, Ordering::AcqRel) {
                added.add_after("events", TOGETHER);
            }
        });
        Self {
            context: context.component(Self::NAME),
            events,
            waits,
        }
    }
}

impl Reconcile for Events {
    type Key = &'static str;

    const NAME: &'static str = "event-ring";

    async fn sync(&self, _: &&'static str) -> Outcome {
        let all = self.events.list();
        let steps = plan(&all, self.context.clock.now(), EVENTS_MAX, SLACK);
        let goes_on = steps.iter().any(|step| matches!(step, Step::Again(_)));
        self.waits.store(goes_on, Ordering::Release);
        match all.first() {
            Some(event) => self.context.execute(event, steps).await,
            None => Outcome::default(),
        }
    }

    fn keys(&self) -> Vec<&'static str> {
        vec!["events"]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster_client::Target;

    fn event(name: &str, seconds: i64) -> Arc<Object> {
        let mut event = Object::new("v1", "Event", Some("default"), name);
        let at = Timestamp::from_second(seconds).unwrap();
        event.set(&["lastTimestamp"], time::format(at));
        event.set(&["metadata", "uid"], name);
        Arc::new(event)
    }

    /// Names of the deleted events, then the seconds until the next look.
    fn check(events: &[Arc<Object>], now: i64, most: usize, wanted: &[&str], again: Option<u64>) {
        let steps = plan(events, Timestamp::from_second(now).unwrap(), most, most / 2);
        let mut names = Vec::new();
        let mut next = None;
        for step in &steps {
            match step {
                Step::Delete {
                    target: Target { name, .. },
                    ..
                } => names.push(name.as_str()),
                Step::Again(wait) => next = Some(wait.as_secs()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((names.as_slice(), next), (wanted, again));
    }

    #[test]
    fn the_old_go_and_of_too_many_the_oldest() {
        let three = [event("b", 200), event("a", 100), event("c", 300)];
        check(&three, 400, 4, &[], Some(3300 + 60));
        check(&three, 3750, 4, &["a"], Some(50 + 60));
        check(&three, 9000, 4, &["a", "b", "c"], None);
        check(&three, 400, 2, &["a", "b"], Some(3500 + 60));
        check(&[], 400, 2, &[], None);
    }
}
