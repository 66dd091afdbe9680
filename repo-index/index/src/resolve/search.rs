//! The search: highest versions first, and back to the decision that matters when a wish cannot be met.

use std::collections::BTreeSet;

use super::explain::{Conflict, Refusal, Rejection};
use super::knowledge::{Knowledge, Question, Requirement};
use crate::version_choice::ranked;

/// Rules and limits of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResolveOptions {
    /// A chart has one version in the whole tree. Without it every chart of the tree gets what is best for it, as Helm's
    /// subcharts do not see each other.
    pub one_version: bool,
    /// The most charts of a tree.
    pub charts_max: usize,
    /// The most versions that are tried.
    pub steps_max: usize,
}

impl Default for ResolveOptions {
    fn default() -> Self {
        Self {
            one_version: false,
            charts_max: 2_000,
            steps_max: 200_000,
        }
    }
}

/// What a search comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The charts of the tree, parents before their dependencies; the first ones are those of the root, in its order.
    Solved(Vec<Chosen>),
    /// More has to be known.
    Ask(BTreeSet<Question>),
}

/// A chart of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The wish that it meets.
    pub requirement: Requirement,
    /// Its version.
    pub version: String,
    /// Which of the tree wanted it; `None` is the root.
    pub owner: Option<usize>,
}

/// Finds versions for the wishes of a chart, `root`, and for the wishes of those charts in turn.
pub fn resolve(
    root: &[Requirement],
    knowledge: &Knowledge,
    options: ResolveOptions,
) -> Result<Outcome, Conflict> {
    let mut search = Search {
        knowledge,
        options,
        agenda: root.iter().map(|wish| (wish.clone(), None)).collect(),
        chosen: Vec::new(),
        questions: BTreeSet::new(),
        steps: 0,
    };
    match search.from(0) {
        Ok(()) if search.questions.is_empty() => Ok(Outcome::Solved(search.chosen)),
        Ok(()) | Err(Stop::Asked) => Ok(Outcome::Ask(search.questions)),
        Err(Stop::Refused { refusal, .. }) => Err(Conflict::Impossible(Box::new(refusal))),
        Err(Stop::Fatal(conflict)) => Err(conflict),
    }
}

struct Search<'k> {
    knowledge: &'k Knowledge,
    options: ResolveOptions,
    /// Wishes in the order in which they are met, each with the place of the one who wishes.
    agenda: Vec<(Requirement, Option<usize>)>,
    /// What is decided: the wish of the same place in the agenda has this version.
    chosen: Vec<Chosen>,
    questions: BTreeSet<Question>,
    steps: usize,
}

/// Why a branch of the search ends.
enum Stop {
    /// A wish cannot be met, because of these decisions: changing any other does not help.
    Refused {
        because: BTreeSet<usize>,
        refusal: Refusal,
    },
    /// What comes next depends on an answer.
    Asked,
    Fatal(Conflict),
}

impl Search<'_> {
    /// Meets the wishes from a place of the agenda on.
    fn from(&mut self, place: usize) -> Result<(), Stop> {
        let Some((wish, owner)) = self.agenda.get(place).cloned() else {
            return Ok(());
        };
        if place >= self.options.charts_max {
            let limit = self.options.charts_max;
            return Err(Stop::Fatal(Conflict::TooLarge { limit }));
        }
        let Some(available) = self.knowledge.versions(&wish.chart) else {
            self.questions.insert(Question::Versions(wish.chart.clone()));
            // The rest of the agenda may have questions as well; what is chosen here does not matter.
            return self.try_version(place, &wish, owner, String::new(), Vec::new());
        };
        let ranking = ranked(available.iter().map(String::as_str), &wish.constraint).map_err(|error| {
            Stop::Fatal(Conflict::Constraint {
                wanted_by: self.chain(owner),
                chart: wish.chart.name.clone(),
                constraint: wish.constraint.clone(),
                reason: error.to_string(),
            })
        })?;
        let taken = self.taken(&wish);
        let mut because: BTreeSet<usize> = owner.into_iter().collect();
        let mut rejected = Vec::new();
        for version in ranking.into_iter().map(|index| available[index].clone()) {
            self.steps += 1;
            if self.steps > self.options.steps_max {
                let limit = self.options.steps_max;
                return Err(Stop::Fatal(Conflict::TooHard { limit }));
            }
            if let Some(other) = taken.filter(|other| self.chosen[*other].version != version) {
                because.insert(other);
                rejected.push((version, self.rejection_by(other)));
                continue;
            }
            if self.contains_itself(&wish, &version, owner) {
                rejected.push((version, Rejection::Cycle));
                continue;
            }
            let needs = match self.knowledge.requirements(&wish.chart, &version) {
                Some(needs) => needs.to_vec(),
                None => {
                    let question = Question::Requirements(wish.chart.clone(), version.clone());
                    self.questions.insert(question);
                    Vec::new()
                }
            };
            match self.try_version(place, &wish, owner, version.clone(), needs) {
                Ok(()) => return Ok(()),
                Err(Stop::Refused {
                    because: reasons,
                    refusal,
                }) => {
                    if !self.questions.is_empty() {
                        // The wish may yet be met when the answers are there.
                        return Err(Stop::Asked);
                    }
                    if !reasons.contains(&place) {
                        return Err(Stop::Refused {
                            because: reasons,
                            refusal,
                        });
                    }
                    because.extend(reasons.into_iter().filter(|reason| *reason != place));
                    rejected.push((version, Rejection::Leads(Box::new(refusal))));
                }
                Err(other) => return Err(other),
            }
        }
        if taken.is_some() && rejected.is_empty() {
            because.extend(taken);
        }
        let refusal = Refusal {
            wanted_by: self.chain(owner),
            requirement: wish,
            available: available.to_vec(),
            rejected,
        };
        Err(Stop::Refused { because, refusal })
    }

    /// Takes a version and goes on; takes it back if that fails.
    fn try_version(
        &mut self,
        place: usize,
        wish: &Requirement,
        owner: Option<usize>,
        version: String,
        needs: Vec<Requirement>,
    ) -> Result<(), Stop> {
        let agenda_length = self.agenda.len();
        self.agenda
            .extend(needs.into_iter().map(|need| (need, Some(place))));
        self.chosen.push(Chosen {
            requirement: wish.clone(),
            version,
            owner,
        });
        let outcome = self.from(place + 1);
        if outcome.is_err() {
            self.chosen.truncate(place);
            self.agenda.truncate(agenda_length);
        }
        outcome
    }

    /// Who has decided already on the version of the chart, where there is to be one only.
    fn taken(&self, wish: &Requirement) -> Option<usize> {
        let same = |chosen: &Chosen| chosen.requirement.chart == wish.chart && !chosen.version.is_empty();
        self.chosen
            .iter()
            .position(same)
            .filter(|_| self.options.one_version)
    }

    fn rejection_by(&self, other: usize) -> Rejection {
        let chosen = &self.chosen[other];
        Rejection::Taken {
            version: chosen.version.clone(),
            by: self.chain(chosen.owner),
            constraint: chosen.requirement.constraint.clone(),
        }
    }

    fn contains_itself(&self, wish: &Requirement, version: &str, owner: Option<usize>) -> bool {
        self.owners(owner)
            .any(|chosen| chosen.requirement.chart == wish.chart && chosen.version == version)
    }

    /// A chart of the tree and those above it.
    fn owners(&self, owner: Option<usize>) -> impl Iterator<Item = &Chosen> {
        std::iter::successors(owner.map(|place| &self.chosen[place]), |chosen| {
            chosen.owner.map(|place| &self.chosen[place])
        })
    }

    fn chain(&self, owner: Option<usize>) -> Vec<String> {
        let mut chain: Vec<String> = self
            .owners(owner)
            .map(|chosen| format!("{} {}", chosen.requirement.chart.name, chosen.version))
            .collect();
        chain.reverse();
        chain
    }
}
