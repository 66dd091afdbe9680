//! A profile: which system calls a container may make. The format is that of the
//! [OCI runtime specification](https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#seccomp), with
//! Docker's conditions on capabilities.

use serde::{Deserialize, Serialize};

/// A profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Profile {
    pub default_action: Action,
    pub default_errno_ret: Option<u16>,
    pub syscalls: Vec<Rule>,
}

/// What happens at a system call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Action {
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    #[default]
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    #[serde(rename = "SCMP_ACT_KILL", alias = "SCMP_ACT_KILL_THREAD")]
    KillThread,
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
}

/// What happens at some system calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Rule {
    pub names: Vec<String>,
    pub action: Action,
    pub errno_ret: Option<u16>,
    /// All of them hold.
    pub args: Vec<Argument>,
    /// The rule holds only with one of these.
    pub includes: Condition,
    /// The rule does not hold with one of these.
    pub excludes: Condition,
}

/// Capabilities of the container, as `CAP_SYS_ADMIN`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Condition {
    pub caps: Vec<String>,
    pub arches: Vec<String>,
}

/// A comparison of an argument of a system call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Argument {
    pub index: u8,
    pub value: u64,
    #[serde(default)]
    pub value_two: u64,
    pub op: Comparison,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Comparison {
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterOrEqual,
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    #[serde(rename = "SCMP_CMP_LE")]
    LessOrEqual,
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    /// `value` is the mask, `valueTwo` what is left of the argument under it.
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

impl Rule {
    /// Whether the rule is for a container with these capabilities on this machine.
    pub(super) fn holds(&self, capabilities: &[String]) -> bool {
        let has = |condition: &Condition| {
            condition.caps.iter().any(|one| capabilities.contains(one))
                || condition
                    .arches
                    .iter()
                    .any(|one| ARCHITECTURES.contains(&one.as_str()))
        };
        let is_unconditional = self.includes.caps.is_empty() && self.includes.arches.is_empty();
        (is_unconditional || has(&self.includes)) && !has(&self.excludes)
    }
}

/// Names that profiles have for this machine's processor.
const ARCHITECTURES: &[&str] = if cfg!(target_arch = "x86_64") {
    &["amd64", "x86_64", "SCMP_ARCH_X86_64"]
} else {
    &["arm64", "aarch64", "SCMP_ARCH_AARCH64"]
};
