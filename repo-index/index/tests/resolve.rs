//! Solutions are right, the same every time, and found where one exists.

use std::collections::BTreeMap;

use proptest::prelude::*;
use repo_index::resolve::{
    ChartKey, Chosen, Conflict, Knowledge, Outcome, Question, Requirement, ResolveOptions, resolve,
};

/// A chart: name, version, and what it needs as `name constraint`.
type ChartVersion = (String, String, Vec<String>);

type World = Vec<ChartVersion>;

/// One version of each chart.
type Assignment<'w> = BTreeMap<String, &'w ChartVersion>;

fn wish(text: &str) -> Requirement {
    let (name, constraint) = text.split_once(' ').unwrap_or((text, ""));
    Requirement {
        chart: ChartKey {
            source: "https://h".into(),
            name: name.into(),
        },
        constraint: constraint.into(),
    }
}

fn world(lines: &[&str]) -> World {
    lines
        .iter()
        .map(|line| {
            let (chart, needs) = line.split_once(':').unwrap();
            let (name, version) = chart.split_once(' ').unwrap();
            let needs = needs.split(',').map(str::trim).filter(|need| !need.is_empty());
            (name.into(), version.into(), needs.map(Into::into).collect())
        })
        .collect()
}

/// Answers questions until there is a solution.
fn solve(root: &[Requirement], world: &World, one_version: bool) -> Result<Vec<Chosen>, Conflict> {
    let options = ResolveOptions {
        one_version,
        ..ResolveOptions::default()
    };
    let mut knowledge = Knowledge::default();
    loop {
        let questions = match resolve(root, &knowledge, options)? {
            Outcome::Solved(chosen) => return Ok(chosen),
            Outcome::Ask(questions) => questions,
        };
        assert!(!questions.is_empty(), "a question is asked");
        for question in questions {
            match question {
                Question::Versions(chart) => {
                    assert!(knowledge.versions(&chart).is_none(), "nothing is asked twice");
                    let versions = world.iter().filter(|(name, ..)| *name == chart.name);
                    let versions = versions.map(|(_, version, _)| version.clone()).collect();
                    knowledge.set_versions(chart, versions);
                }
                Question::Requirements(chart, version) => {
                    assert!(
                        knowledge.requirements(&chart, &version).is_none(),
                        "nothing is asked twice"
                    );
                    let found = world
                        .iter()
                        .find(|(name, other, _)| *name == chart.name && *other == version);
                    let needs = found.unwrap().2.iter().map(|need| wish(need)).collect();
                    knowledge.set_requirements(chart, version, needs);
                }
            }
        }
    }
}

fn show(chosen: &[Chosen]) -> Vec<String> {
    let path = |place: usize| {
        let mut at = &chosen[place];
        let mut text = format!("{} {}", at.requirement.chart.name, at.version);
        while let Some(owner) = at.owner {
            at = &chosen[owner];
            text = format!("{} > {text}", at.requirement.chart.name);
        }
        text
    };
    (0..chosen.len()).map(path).collect()
}

#[track_caller]
fn check(root: &[&str], charts: &[&str], one_version: bool, wanted: &[&str]) {
    let root: Vec<Requirement> = root.iter().map(|text| wish(text)).collect();
    let chosen = solve(&root, &world(charts), one_version).unwrap();
    assert_eq!(show(&chosen), wanted);
}

#[test]
fn the_highest_versions_are_taken_down_the_tree() {
    check(
        &["web ^1", "db"],
        &[
            "web 1.0.0:",
            "web 1.2.0: db <2, log",
            "web 2.0.0:",
            "db 1.5.0:",
            "db 2.0.0:",
            "log 1.0.0:",
        ],
        false,
        &["web 1.2.0", "db 2.0.0", "web > db 1.5.0", "web > log 1.0.0"],
    );
}

#[test]
fn a_version_whose_needs_cannot_be_met_is_left_for_a_lower_one() {
    check(
        &["web"],
        &[
            "web 1.0.0: db ^1",
            "web 2.0.0: db ^9",
            "web 3.0.0: none",
            "db 1.0.0:",
        ],
        false,
        &["web 1.0.0", "web > db 1.0.0"],
    );
}

#[test]
fn one_version_for_the_tree_when_that_is_wanted() {
    let charts = [
        "web 1.0.0: log ^1",
        "db 2.0.0: log ^2",
        "db 1.0.0: log ^1",
        "log 1.1.0:",
        "log 2.0.0:",
    ];
    check(
        &["web", "db"],
        &charts,
        false,
        &["web 1.0.0", "db 2.0.0", "web > log 1.1.0", "db > log 2.0.0"],
    );
    check(
        &["web", "db"],
        &charts,
        true,
        &["web 1.0.0", "db 1.0.0", "web > log 1.1.0", "db > log 1.1.0"],
    );
}

#[test]
fn a_chart_may_hold_another_version_of_itself_but_not_itself() {
    check(
        &["a"],
        &["a 2.0.0: a", "a 1.0.0:"],
        false,
        &["a 2.0.0", "a > a 1.0.0"],
    );
    check(
        &["a"],
        &["a 2.0.0: b", "b 1.0.0: a ^2", "a 1.0.0:"],
        false,
        &["a 1.0.0"],
    );
}

#[track_caller]
fn refused(root: &[&str], charts: &[&str], one_version: bool, words: &str) {
    let root: Vec<Requirement> = root.iter().map(|text| wish(text)).collect();
    let conflict = solve(&root, &world(charts), one_version).unwrap_err();
    assert_eq!(conflict.to_string(), words);
}

#[test]
fn err_a_conflict_is_told_as_a_chain() {
    refused(
        &["web"],
        &[],
        false,
        "the chart wants web * from https://h: there is no such chart",
    );
    refused(
        &["web ^2"],
        &["web 1.0.0:", "web 1.1.0:"],
        false,
        "the chart wants web ^2 from https://h: there is only 1.0.0, 1.1.0",
    );
    refused(
        &["web"],
        &["web 1.0.0: db ^2", "web 2.0.0: db ^3", "db 1.0.0:"],
        false,
        "the chart wants web * from https://h\n  \
         web 2.0.0: web 2.0.0 wants db ^3 from https://h: there is only 1.0.0\n  \
         web 1.0.0: web 1.0.0 wants db ^2 from https://h: there is only 1.0.0",
    );
    refused(
        &["web", "db"],
        &[
            "web 1.0.0: log ^1",
            "db 1.0.0: log ^2",
            "log 1.0.0:",
            "log 2.0.0:",
        ],
        true,
        "the chart wants web * from https://h\n  \
         web 1.0.0: the chart wants db * from https://h\n    \
         db 1.0.0: web 1.0.0 wants log ^1 from https://h\n      \
         log 1.0.0: db 1.0.0 wants log ^2 from https://h\n        \
         log 2.0.0: web 1.0.0 wants ^1 and has 1.0.0",
    );
    refused(
        &["a one"],
        &["a 1.0.0:"],
        false,
        "the chart wants `a` in version `one`: improper constraint: \"one\"",
    );
    refused(
        &["a"],
        &["a 1.0.0: b", "b 1.0.0: a"],
        false,
        "the chart wants a * from https://h\n  a 1.0.0: a 1.0.0 wants b * from https://h\n    b 1.0.0: a 1.0.0 → b 1.0.0 wants a * from https://h\n      a 1.0.0: it would contain itself",
    );
}

/// Tries everything. Independent charts: a wish is met if one of its versions is, given who is above it.
fn possible(root: &[Requirement], world: &World, above: &mut Vec<(String, String)>) -> bool {
    root.iter().all(|wish| {
        let constraint = if wish.constraint.is_empty() {
            "*"
        } else {
            &wish.constraint
        };
        let constraint: chart_values::constraint::Constraint = constraint.parse().unwrap();
        world.iter().any(|(name, version, needs)| {
            let here = (name.clone(), version.clone());
            if *name != wish.chart.name
                || !constraint.allows(&version.parse().unwrap())
                || above.contains(&here)
            {
                return false;
            }
            above.push(here);
            let needs: Vec<Requirement> = needs.iter().map(|need| self::wish(need)).collect();
            let met = possible(&needs, world, above);
            above.pop();
            met
        })
    })
}

/// Tries every assignment of one version to each chart.
fn possible_with_one_version(root: &[Requirement], world: &World) -> bool {
    let mut names: Vec<&String> = world.iter().map(|(name, ..)| name).collect();
    names.sort();
    names.dedup();
    let versions = |name: &String| world.iter().filter(|chart| chart.0 == *name).collect::<Vec<_>>();
    let mut assignments: Vec<Assignment<'_>> = vec![BTreeMap::new()];
    for name in names {
        assignments = assignments
            .iter()
            .flat_map(|known| {
                versions(name).into_iter().map(|chart| {
                    let mut known = known.clone();
                    known.insert(name.clone(), chart);
                    known
                })
            })
            .collect();
    }
    assignments
        .iter()
        .any(|assignment| fits(root, assignment, &mut Vec::new()))
}

fn fits(wishes: &[Requirement], assignment: &Assignment<'_>, above: &mut Vec<String>) -> bool {
    wishes.iter().all(|wish| {
        let Some((name, version, needs)) = assignment.get(&wish.chart.name) else {
            return false;
        };
        let constraint = if wish.constraint.is_empty() {
            "*"
        } else {
            &wish.constraint
        };
        let constraint: chart_values::constraint::Constraint = constraint.parse().unwrap();
        if !constraint.allows(&version.parse().unwrap()) || above.contains(name) {
            return false;
        }
        above.push(name.clone());
        let needs: Vec<Requirement> = needs.iter().map(|need| self::wish(need)).collect();
        let met = fits(&needs, assignment, above);
        above.pop();
        met
    })
}

fn worlds() -> impl Strategy<Value = (World, Vec<String>)> {
    let need = (0..4_u8, 0..4_u8).prop_map(|(name, least)| {
        let name = char::from(b'a' + name);
        match least {
            0 => name.to_string(),
            3 => format!("{name} <2"),
            n => format!("{name} ^{n}"),
        }
    });
    let needs = prop::collection::vec(need, 0..3);
    let chart = (0..4_u8, 1..4_u8, needs.clone()).prop_map(|(name, version, needs)| {
        (
            char::from(b'a' + name).to_string(),
            format!("{version}.0.0"),
            needs,
        )
    });
    let world = prop::collection::vec(chart, 0..9).prop_map(|mut world| {
        world.sort();
        world.dedup_by(|a, b| (&a.0, &a.1) == (&b.0, &b.1));
        world
    });
    (world, needs)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_solution_is_found_where_one_exists((world, root) in worlds()) {
        let root: Vec<Requirement> = root.iter().map(|text| wish(text)).collect();
        for one_version in [false, true] {
            let solvable = if one_version {
                possible_with_one_version(&root, &world)
            } else {
                possible(&root, &world, &mut Vec::new())
            };
            match solve(&root, &world, one_version) {
                Ok(chosen) => {
                    prop_assert!(solvable);
                    let again = solve(&root, &world, one_version);
                    prop_assert_eq!(Ok(&chosen), again.as_ref());
                    for at in &chosen {
                        prop_assert!(at.owner.is_none_or(|owner| owner < chosen.len()));
                    }
                }
                Err(Conflict::Impossible(_)) => prop_assert!(!solvable, "{one_version} {world:?} {root:?}"),
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
    }
}
