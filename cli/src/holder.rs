//! Who this process is, for the leases on revisions, and whether other processes of this machine live.

use std::fs;

use chart_release::lease::Presence;

/// This process, named so that no other one ever has the same name.
#[derive(Clone, Debug)]
pub(crate) struct ThisProcess {
    host: String,
    user: String,
    place: Option<Place>,
}

/// A process on a machine that can be looked at from here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    pid: u32,
    /// Clock ticks after the start of the machine; process ids are used again, with another one.
    started: u64,
    /// The machine since it was started, and its numbering of processes: containers have their own.
    machine: String,
}

impl ThisProcess {
    pub(crate) fn new(user: Option<String>) -> Self {
        let text = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        let pid = std::process::id();
        Self {
            host: text("/proc/sys/kernel/hostname").unwrap_or_else(|| "unknown-host".to_owned()),
            user: user.unwrap_or_else(|| "unknown".to_owned()),
            place: machine().and_then(|machine| {
                Some(Place {
                    pid,
                    started: started(pid)?,
                    machine,
                })
            }),
        }
    }
}

impl Presence for ThisProcess {
    fn holder(&self) -> String {
        let name = format!("{}@{}", self.user, self.host);
        match &self.place {
            Some(Place {
                pid,
                started,
                machine,
            }) => format!("{name} pid={pid} started={started} machine={machine}"),
            None => format!("{name} pid={}", std::process::id()),
        }
    }

    fn lives(&self, holder: &str) -> Option<bool> {
        let there = parse(holder)?;
        if machine()? != there.machine {
            return None;
        }
        Some(started(there.pid) == Some(there.started))
    }
}

fn parse(holder: &str) -> Option<Place> {
    let field = |key: &str| {
        let mut words = holder.split(' ');
        words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    };
    Some(Place {
        pid: field("pid")?.parse().ok()?,
        started: field("started")?.parse().ok()?,
        machine: field("machine")?.to_owned(),
    })
}

fn machine() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let numbering = fs::read_link("/proc/self/ns/pid").ok()?;
    let numbering: String = numbering.to_str()?.chars().filter(char::is_ascii_digit).collect();
    Some(format!("{}/{numbering}", boot.trim()))
}

/// When a process was started; `None` where there is none, or only what is left of it until its parent looks.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program stands in parentheses and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    if matches!(fields.first(), Some(&("Z" | "X"))) {
        return None;
    }
    fields.get(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_that_it_lives_and_that_others_do_not() {
        let me = ThisProcess::new(Some("ann".to_owned()));
        let holder = me.holder();
        assert!(holder.starts_with("ann@"), "{holder}");
        assert_eq!(me.lives(&holder), Some(true), "{holder}");
        let started = parse(&holder).unwrap().started;
        let another = holder.replace(&format!("started={started}"), "started=1");
        assert_eq!(me.lives(&another), Some(false), "its process id is used again");
        let elsewhere = holder.replace("machine=", "machine=moon");
        assert_eq!(me.lives(&elsewhere), None);
        assert_eq!(me.lives("somebody"), None);
    }
}
