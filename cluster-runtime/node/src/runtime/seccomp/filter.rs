//! From a profile to a program of the kernel's packet filter, which looks at each system call.
//!
//! Rules that look at arguments come first, one after the other; then the numbers are in order, and ranges with the same
//! answer are told apart by one comparison each. What is a
//! [filter](https://docs.kernel.org/userspace-api/seccomp_filter.html) sees is `struct seccomp_data`.

use std::collections::BTreeMap;

use super::numbers::number;
use super::profile::{Action, Argument, Comparison, Profile, Rule};

/// One instruction, laid out as the kernel's `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Instruction {
    pub code: u16,
    pub jump_true: u8,
    pub jump_false: u8,
    pub value: u32,
}

/// A program.
pub(crate) type Filter = Vec<Instruction>;

const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const ARGUMENTS_AT: u32 = 16;

const ARCHITECTURE: u32 = if cfg!(target_arch = "x86_64") {
    0xc000_003e
} else {
    0xc000_00b7
};
/// Numbers from here on are those of 32-bit pointers on a 64-bit kernel, on one kind of processor.
const FOREIGN_NUMBERS: u32 = 0x4000_0000;

const EPERM: u16 = 1;

/// Compiles a profile for a container with these capabilities. Names of calls that this machine does not have are
/// passed over, as every runtime does.
pub(crate) fn compile(profile: &Profile, capabilities: &[String]) -> Filter {
    let fallback = answer(profile.default_action, profile.default_errno_ret);
    let mut program = vec![
        load(ARCHITECTURE_AT),
        jump(JUMP_EQUAL, ARCHITECTURE, 1, 0),
        give(fallback),
        load(NUMBER_AT),
        jump(JUMP_GREATER_OR_EQUAL, FOREIGN_NUMBERS, 0, 1),
        give(fallback),
    ];
    let mut plain: BTreeMap<u32, u32> = BTreeMap::new();
    let mut looking = Vec::new();
    for rule in profile.syscalls.iter().filter(|rule| rule.holds(capabilities)) {
        let given = answer(rule.action, rule.errno_ret.or(profile.default_errno_ret));
        for number in rule.names.iter().filter_map(|name| number(name)) {
            if rule.args.is_empty() {
                plain.entry(number).or_insert(given);
            } else {
                looking.push((number, rule, given));
            }
        }
    }
    for (number, rule, given) in looking {
        // A call that is answered whatever its arguments are needs no look.
        if !plain.contains_key(&number) {
            program.extend(look(number, rule, given));
        }
    }
    program.extend(ranges(&plain, fallback));
    program
}

fn load(at: u32) -> Instruction {
    jump(LOAD, at, 0, 0)
}

fn give(answer: u32) -> Instruction {
    jump(RETURN, answer, 0, 0)
}

fn jump(code: u16, value: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction {
        code,
        jump_true,
        jump_false,
        value,
    }
}

fn answer(action: Action, errno: Option<u16>) -> u32 {
    match action {
        Action::Allow => 0x7fff_0000,
        Action::Errno => 0x0005_0000 | u32::from(errno.unwrap_or(EPERM)),
        Action::KillThread => 0,
        Action::KillProcess => 0x8000_0000,
        Action::Trap => 0x0003_0000,
        Action::Log => 0x7ffc_0000,
    }
}

/// A rule that looks at arguments: it answers where all comparisons hold, else the next rule is asked.
fn look(number: u32, rule: &Rule, given: u32) -> Vec<Instruction> {
    let mut body = Vec::new();
    let comparisons: Vec<Vec<Instruction>> = rule.args.iter().map(compare).collect();
    let length: usize = comparisons.iter().map(Vec::len).sum();
    for comparison in comparisons {
        // `FAIL` stands for the end of the rule, which is known now.
        for instruction in comparison {
            let at = body.len();
            // Over what is left of the rule and its answer.
            let to_end = u8::try_from(length - at).unwrap_or(u8::MAX);
            let place = |target| if target == FAIL { to_end } else { target };
            let is_jump = instruction.code & 0x07 == 0x05;
            body.push(if is_jump {
                jump(
                    instruction.code,
                    instruction.value,
                    place(instruction.jump_true),
                    place(instruction.jump_false),
                )
            } else {
                instruction
            });
        }
    }
    body.push(give(given));
    let over = u8::try_from(body.len()).unwrap_or(u8::MAX);
    let mut all = vec![jump(JUMP_EQUAL, number, 0, over)];
    all.extend(body);
    // The comparisons have put an argument where the number was.
    all.push(load(NUMBER_AT));
    all
}

/// Marks a jump to the end of the rule.
const FAIL: u8 = u8::MAX;

/// The comparison of an argument, in two halves: it goes on behind itself where it holds.
#[expect(
    clippy::cast_possible_truncation,
    reason = "an argument is compared in halves"
)]
fn compare(argument: &Argument) -> Vec<Instruction> {
    let low_at = ARGUMENTS_AT + 8 * u32::from(argument.index.min(5));
    let (low, high) = (load(low_at), load(low_at + 4));
    let halves = |value: u64| (value as u32, (value >> 32) as u32);
    let (value_low, value_high) = halves(argument.value);
    match argument.op {
        Comparison::Equal => vec![
            high,
            jump(JUMP_EQUAL, value_high, 0, FAIL),
            low,
            jump(JUMP_EQUAL, value_low, 0, FAIL),
        ],
        Comparison::NotEqual => vec![
            high,
            jump(JUMP_EQUAL, value_high, 0, 2),
            low,
            jump(JUMP_EQUAL, value_low, FAIL, 0),
        ],
        Comparison::MaskedEqual => {
            let (wanted_low, wanted_high) = halves(argument.value_two);
            vec![
                high,
                jump(AND, value_high, 0, 0),
                jump(JUMP_EQUAL, wanted_high, 0, FAIL),
                low,
                jump(AND, value_low, 0, 0),
                jump(JUMP_EQUAL, wanted_low, 0, FAIL),
            ]
        }
        Comparison::GreaterOrEqual | Comparison::Greater => {
            let last = match argument.op {
                Comparison::Greater => JUMP_GREATER,
                _ => JUMP_GREATER_OR_EQUAL,
            };
            vec![
                high,
                jump(JUMP_GREATER, value_high, 3, 0),
                jump(JUMP_EQUAL, value_high, 0, FAIL),
                low,
                jump(last, value_low, 0, FAIL),
            ]
        }
        Comparison::LessOrEqual | Comparison::Less => {
            let last = match argument.op {
                Comparison::LessOrEqual => JUMP_GREATER,
                _ => JUMP_GREATER_OR_EQUAL,
            };
            vec![
                high,
                jump(JUMP_GREATER, value_high, FAIL, 0),
                jump(JUMP_EQUAL, value_high, 0, 2),
                low,
                jump(last, value_low, FAIL, 0),
            ]
        }
    }
}

/// Answers by number alone: ranges from the lowest on.
fn ranges(plain: &BTreeMap<u32, u32>, fallback: u32) -> Vec<Instruction> {
    let mut ends: Vec<(u32, u32)> = Vec::new();
    let mut next = 0;
    for (&number, &given) in plain {
        if number > next {
            push(&mut ends, number - 1, fallback);
        }
        push(&mut ends, number, given);
        next = number + 1;
    }
    let mut program: Vec<Instruction> = ends
        .iter()
        .flat_map(|(end, given)| [jump(JUMP_GREATER, *end, 1, 0), give(*given)])
        .collect();
    program.push(give(fallback));
    program
}

/// Adds a range up to a number, or makes the last one longer that has the same answer.
fn push(ends: &mut Vec<(u32, u32)>, end: u32, given: u32) {
    match ends.last_mut() {
        Some((last, same)) if *same == given => *last = end,
        _ => ends.push((end, given)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::seccomp::runtime_default;

    const ALLOWED: u32 = 0x7fff_0000;
    const REFUSED: u32 = 0x0005_0001;
    const ABSENT: u32 = 0x0005_0026;

    /// What a program answers to a call: the kernel's own rules for the few instructions that are used.
    fn run(program: &[Instruction], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let read = |at: u32| match at {
            0 => number,
            4 => architecture,
            at => {
                let argument = arguments[((at - 16) / 8) as usize];
                if (at - 16) % 8 == 0 {
                    argument as u32
                } else {
                    (argument >> 32) as u32
                }
            }
        };
        let (mut at, mut value) = (0, 0);
        loop {
            let one = program[at];
            at += 1;
            let holds = match one.code {
                LOAD => {
                    value = read(one.value);
                    continue;
                }
                AND => {
                    value &= one.value;
                    continue;
                }
                RETURN => return one.value,
                JUMP_EQUAL => value == one.value,
                JUMP_GREATER => value > one.value,
                JUMP_GREATER_OR_EQUAL => value >= one.value,
                other => panic!("{other:#x}"),
            };
            at += usize::from(if holds { one.jump_true } else { one.jump_false });
        }
    }

    fn check(program: &[Instruction], name: &str, first: u64, expected: u32) {
        let answer = run(
            program,
            ARCHITECTURE,
            number(name).unwrap(),
            [first, 0, 0, 0, 0, 0],
        );
        assert_eq!(answer, expected, "{name}({first:#x}): {answer:#x}");
    }

    #[test]
    fn the_default_allows_programs_and_refuses_what_changes_the_machine() {
        let program = compile(&runtime_default(), &[]);
        assert!(program.len() < 400, "{} instructions", program.len());
        for name in [
            "read",
            "write",
            "execve",
            "openat",
            "futex",
            "exit_group",
            "capset",
            "prctl",
            "setuid",
        ] {
            check(&program, name, 0, ALLOWED);
        }
        for name in [
            "mount",
            "unshare",
            "setns",
            "reboot",
            "init_module",
            "kexec_load",
            "add_key",
            "io_uring_setup",
        ] {
            check(&program, name, 0, REFUSED);
        }
        check(&program, "clone", 0x0100_0011, ALLOWED);
        check(&program, "clone", 0x1000_0000, REFUSED);
        check(&program, "clone3", 0, ABSENT);
        check(&program, "socket", 2, ALLOWED);
        check(&program, "socket", 40, REFUSED);
        check(&program, "personality", 0xffff_ffff, ALLOWED);
        check(&program, "personality", 0x0080_0000, REFUSED);
        assert_eq!(
            run(&program, 0x4000_0003, 0, [0; 6]),
            REFUSED,
            "another kind of processor"
        );
        assert_eq!(run(&program, ARCHITECTURE, FOREIGN_NUMBERS, [0; 6]), REFUSED);
    }

    #[test]
    fn capabilities_allow_what_is_theirs() {
        let program = compile(&runtime_default(), &["CAP_SYS_ADMIN".to_owned()]);
        for name in ["mount", "unshare", "clone3"] {
            check(&program, name, 0, ALLOWED);
        }
        check(&program, "clone", 0x1000_0000, ALLOWED);
        check(&program, "reboot", 0, REFUSED);
    }

    #[test]
    fn arguments_are_compared_as_numbers_of_64_bits() {
        let big = 0x1_0000_0005_u64;
        for (op, given) in [
            (Comparison::Equal, [false, true, false]),
            (Comparison::NotEqual, [true, false, true]),
            (Comparison::Greater, [false, false, true]),
            (Comparison::GreaterOrEqual, [false, true, true]),
            (Comparison::Less, [true, false, false]),
            (Comparison::LessOrEqual, [true, true, false]),
        ] {
            let profile = Profile {
                syscalls: vec![Rule {
                    names: vec!["read".into(), "no_such_call".into()],
                    args: vec![Argument {
                        index: 0,
                        value: big,
                        value_two: 0,
                        op,
                    }],
                    ..Rule::default()
                }],
                default_action: Action::Allow,
                ..Profile::default()
            };
            let program = compile(&profile, &[]);
            // One below, the same, one above; and numbers that differ in one half only.
            let answers = [big - 1, big, big + 1].map(|value| {
                run(
                    &program,
                    ARCHITECTURE,
                    number("read").unwrap(),
                    [value, 0, 0, 0, 0, 0],
                ) != ALLOWED
            });
            assert_eq!(answers, given, "{op:?}");
            let half = run(
                &program,
                ARCHITECTURE,
                number("read").unwrap(),
                [5, 0, 0, 0, 0, 0],
            ) != ALLOWED;
            assert_eq!(half, given[0], "{op:?}");
        }
    }
}
