//! Several machines for a test, joined by a network of their own.

use std::net::Ipv4Addr;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, gettid};

use crate::Lab;

/// Machines with a network namespace, an address and a data folder each, and a switch between them.
pub struct Machines {
    machines: Vec<Lab>,
    /// The switch: a namespace with a bridge. It goes last.
    switch: Lab,
}

impl Machines {
    /// Opens so many machines, nine at most; `None`, with a word on stdout, where that takes rights that the test does not have.
    ///
    /// # Panics
    /// When it is not possible and nothing may be skipped.
    pub fn open(count: u8) -> Option<Self> {
        let switch = Lab::open()?;
        ip(&switch, "link add br0 type bridge");
        ip(&switch, "link set br0 up");
        let machines: Vec<Lab> = (0..count).map(|_| Lab::open()).collect::<Option<_>>()?;
        for (number, machine) in machines.iter().enumerate() {
            let thread = machine.inside(|| gettid().as_raw());
            ip(
                &switch,
                &format!("link add port{number} type veth peer name eth0 netns {thread}"),
            );
            ip(&switch, &format!("link set port{number} master br0 up"));
            ip(machine, "link set lo up");
            ip(machine, "link set eth0 up");
            ip(machine, &format!("address add {}/24 dev eth0", address(number)));
            // The way out, so that each knows its own address; nobody is there.
            ip(machine, "route add default via 192.0.2.254");
        }
        Some(Self { machines, switch })
    }

    /// One of the machines, counted from 0.
    pub fn get(&self, number: usize) -> &Lab {
        &self.machines[number]
    }

    /// All of them.
    pub fn all(&self) -> &[Lab] {
        &self.machines
    }

    /// A machine's address.
    pub fn address(&self, number: usize) -> Ipv4Addr {
        address(number)
    }

    /// Pulls a machine's plug out of the switch.
    pub fn cut_off(&self, number: usize) {
        ip(&self.switch, &format!("link set port{number} down"));
    }

    /// Plugs it in again.
    pub fn plug_in(&self, number: usize) {
        ip(&self.switch, &format!("link set port{number} up"));
    }

    /// Ends everything that runs on a machine, at once and without a word, as a loss of power does.
    pub fn kill(&self, number: usize) {
        let folder = self.machines[number].data_dir();
        let folder = folder.to_string_lossy();
        let processes = processes();
        // Its server and its shims name the folder; containers descend from shims.
        let mut doomed: Vec<i32> = processes
            .iter()
            .filter(|process| process.command.contains(&*folder))
            .map(|process| process.id)
            .collect();
        let mut seen = 0;
        while seen < doomed.len() {
            let parent = doomed[seen];
            let children = processes.iter().filter(|process| process.parent == parent);
            let children: Vec<i32> = children
                .map(|child| child.id)
                .filter(|id| !doomed.contains(id))
                .collect();
            doomed.extend(children);
            seen += 1;
        }
        for id in doomed {
            // One that has ended meanwhile is what is wanted.
            let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

struct Process {
    id: i32,
    parent: i32,
    command: String,
}

fn processes() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").expect("every Linux has it");
    let read = |entry: std::fs::DirEntry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let command = std::fs::read(entry.path().join("cmdline")).ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name stands in parentheses and may hold anything; the state and the parent follow it (proc_pid_stat(5)).
        let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
        Some(Process {
            id,
            parent,
            command: String::from_utf8_lossy(&command).into_owned(),
        })
    };
    entries.flatten().filter_map(read).collect()
}

fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, u8::try_from(number + 1).expect("nine at most"))
}

fn ip(lab: &Lab, arguments: &str) {
    let mut command: Command = lab.command("ip");
    command.args(arguments.split(' '));
    lab.run(command).ok();
}
