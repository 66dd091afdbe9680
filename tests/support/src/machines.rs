//! Several machines for a test, joined by a network of their own.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, gettid};

use crate::Lab;

/// Port of the API on every server.
const API_PORT: u16 = 6443;
/// The address of who is beside the machines.
const BESIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 200);
/// The chain of rules at the switch by which packets between machines are lost.
const CHAIN: &str = "bridge faults between";
/// What a slow line carries, and how long a packet waits for its turn before it is dropped.
const SLOW_LINE: &str = "tbf rate 400kbit burst 16kb latency 300ms";
/// Longest wait of a client for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Machines with a network namespace, an address and a data folder each, and a switch between them.
pub struct Machines {
    machines: Vec<Lab>,
    /// One more on the switch, for clients that are on none of the machines.
    beside: Lab,
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
            plug(&switch, machine, &format!("port{number}"), address(number));
            // The way out, so that each knows its own address; nobody is there.
            ip(machine, "route add default via 192.0.2.254");
        }
        let beside = Lab::open()?;
        plug(&switch, &beside, "beside", BESIDE);
        Some(Self {
            machines,
            beside,
            switch,
        })
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

    /// Starts a cluster on the first machine and has the others join, as nodes `m1`, `m2`…, the first so many as servers.
    ///
    /// # Panics
    /// When one does not.
    pub fn cluster(&self, servers: usize) {
        let first = self.get(0);
        first.tug(["cluster", "start", "--node-name", "m1"]).ok();
        let (of_servers, of_agents) = (token(first, &["--server"]), token(first, &[]));
        for (number, machine) in self.all().iter().enumerate().skip(1) {
            let token = if number < servers { &of_servers } else { &of_agents };
            let name = format!("m{}", number + 1);
            machine.tug(["cluster", "join", token, "--node-name", &name]).ok();
        }
    }

    /// Gives a machine an address of another one besides its own, which nobody else gets to know.
    pub fn pretend(&self, number: usize, other: usize) {
        ip(
            self.get(number),
            &format!("address add {}/32 dev lo", address(other)),
        );
    }

    /// Takes that address away again.
    pub fn pretend_no_more(&self, number: usize, other: usize) {
        ip(
            self.get(number),
            &format!("address del {}/32 dev lo", address(other)),
        );
    }

    /// Pulls a machine's plug out of the switch.
    pub fn cut_off(&self, number: usize) {
        ip(&self.switch, &format!("link set port{number} down"));
    }

    /// Plugs it in again.
    pub fn plug_in(&self, number: usize) {
        ip(&self.switch, &format!("link set port{number} up"));
    }

    /// Loses what one machine sends to another. Who is beside them still reaches both.
    pub fn block(&self, from: usize, to: usize) {
        let (from, to) = (address(from), address(to));
        self.rule(&format!("ip saddr {from} ip daddr {to} drop"));
    }

    /// Loses so many packets in a hundred of those that machines send each other, at random.
    pub fn lose(&self, percent: u64) {
        self.rule(&format!(
            "ip saddr != {BESIDE} ip daddr != {BESIDE} numgen random mod 100 < {percent} drop"
        ));
    }

    /// Makes the line to a machine a slow one, on which packets wait for each other, and some too long.
    ///
    /// A queue and not a fixed delay: `netem` is a module that many kernels come without.
    pub fn slow_down(&self, number: usize) {
        let queue = format!("qdisc replace dev port{number} root {SLOW_LINE}");
        run(&self.switch, "tc", queue.split(' '));
    }

    /// Makes the network between the machines a good one again.
    pub fn calm(&self) {
        self.nft("add table bridge faults; delete table bridge faults");
        for number in 0..self.machines.len() {
            let mut command = self.switch.command("tc");
            // There may be none.
            command.args(["qdisc", "del", "dev", &format!("port{number}"), "root"]);
            self.switch.run(command);
            self.plug_in(number);
        }
    }

    fn rule(&self, rule: &str) {
        self.nft(&format!(
            "add table bridge faults; add chain {CHAIN} {{ type filter hook forward priority 0; }}; add rule {CHAIN} {rule}"
        ));
    }

    fn nft(&self, text: &str) {
        run(&self.switch, "nft", [text]);
    }

    /// Fills the disk of a machine, which is a small one ([`Lab::small_disk`]), with a file.
    ///
    /// # Panics
    /// When it is not its fullness that ends that.
    pub fn fill_disk(&self, number: usize) {
        let path = ballast(&self.machines[number]);
        let error = self.machines[number].inside(move || fill(&path));
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
    }

    /// Removes that file.
    pub fn empty_disk(&self, number: usize) {
        let path = ballast(&self.machines[number]);
        // It may have never been there.
        let _ = self.machines[number].inside(move || std::fs::remove_file(path));
    }

    /// Does something with clients that are on none of the machines, one of the API at each of the servers (the first so many
    /// machines). They are told of every failure, and try nothing again by themselves.
    ///
    /// # Panics
    /// When the first machine has no cluster yet, or the scenario does.
    pub fn with_clients<T: Send + 'static, F: Future<Output = T>>(
        &self,
        servers: usize,
        scenario: impl FnOnce(Vec<Client>) -> F + Send + 'static,
    ) -> T {
        let path = self.machines[0].kubeconfig();
        // The folder may be on a disk that only the machine sees.
        let text = self.machines[0].inside(move || std::fs::read_to_string(path));
        let kubeconfig = Kubeconfig::from_yaml(&text.expect("a cluster was started"));
        let kubeconfig = kubeconfig.expect("the kubeconfig is of use");
        self.beside.inside(move || {
            // On one thread, which is the one that lives in the lab's network.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let mut clients = Vec::new();
                for server in 0..servers {
                    let options = KubeConfigOptions::default();
                    let config = Config::from_custom_kubeconfig(kubeconfig.clone(), &options).await;
                    let mut config = config.expect("the kubeconfig is complete");
                    let url = format!("https://{}:{API_PORT}", address(server));
                    config.cluster_url = url.parse().expect("an address makes a URL");
                    config.connect_timeout = Some(CONNECT_TIMEOUT);
                    config.default_retry = false;
                    clients.push(Client::try_from(config).expect("the kubeconfig is of use"));
                }
                scenario(clients).await
            })
        })
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

/// A token by which a machine joins the cluster of a server.
///
/// # Panics
/// When the server gives none.
pub fn token(server: &Lab, arguments: &[&str]) -> String {
    let create = ["cluster", "token", "create"].iter().chain(arguments);
    server.tug(create).ok().trim().to_owned()
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

/// Links a lab to the switch, with an address.
fn plug(switch: &Lab, lab: &Lab, port: &str, address: Ipv4Addr) {
    let thread = lab.inside(|| gettid().as_raw());
    ip(
        switch,
        &format!("link add {port} type veth peer name eth0 netns {thread}"),
    );
    ip(switch, &format!("link set {port} master br0 up"));
    ip(lab, "link set lo up");
    ip(lab, "link set eth0 up");
    ip(lab, &format!("address add {address}/24 dev eth0"));
}

fn ballast(lab: &Lab) -> std::path::PathBuf {
    lab.data_dir().join("ballast")
}

/// Writes a file until that fails.
fn fill(path: &Path) -> std::io::Error {
    use std::io::Write;
    let mut file = match std::fs::File::create(path) {
        Ok(file) => file,
        Err(error) => return error,
    };
    let mut piece = vec![1; 1 << 20];
    loop {
        match file.write_all(&piece) {
            Ok(()) => {}
            // The last bytes count as well.
            Err(_) if piece.len() > 1 => piece.truncate(piece.len() / 2),
            Err(error) => return error,
        }
    }
}

fn ip(lab: &Lab, arguments: &str) {
    run(lab, "ip", arguments.split(' '));
}

fn run<'a>(lab: &Lab, program: &str, arguments: impl IntoIterator<Item = &'a str>) {
    let mut command: Command = lab.command(program);
    command.args(arguments);
    lab.run(command).ok();
}
