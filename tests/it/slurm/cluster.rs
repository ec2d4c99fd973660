//! A Slurm of our own: munged, slurmctld and a slurmd for each virtual node, with all files, keys
//! and sockets in a temporary folder and all ports on the loopback device. Nothing of an installed
//! Slurm's configuration is read or written.

use std::{
    fs,
    io::Read,
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{harness, run, succeed};

/// The longest that daemons may take to be there, or to go.
const PATIENCE: Duration = Duration::from_secs(30);
const PROGRAMS: [&str; 8] = [
    "munged",
    "slurmctld",
    "slurmd",
    "sbatch",
    "scontrol",
    "scancel",
    "squeue",
    "setpriv",
];

/// A running cluster; it ends with its owner, whatever way that ends.
pub struct Cluster {
    dir: tempfile::TempDir,
    munged: Option<Child>,
    controller: Option<Child>,
    nodes: Vec<(String, Child)>,
}

impl Cluster {
    /// A cluster of the nodes n1, n2, …, of one core each. `None`, said aloud, where Slurm is not
    /// there or cannot be started.
    pub fn start(n_nodes: usize) -> Option<Cluster> {
        let missing: Vec<&str> = PROGRAMS
            .into_iter()
            .filter(|name| program(name).is_none())
            .collect();
        if !missing.is_empty() {
            eprintln!("skipped: no Slurm here ({} not found)", missing.join(", "));
            return None;
        }
        if !fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0) {
            eprintln!("skipped: only root can start a Slurm");
            return None;
        }
        let dir = tempfile::tempdir().expect("a folder can be made");
        let mut cluster = Cluster {
            dir,
            munged: None,
            controller: None,
            nodes: Vec::new(),
        };
        match cluster.bring_up(n_nodes) {
            Ok(()) => Some(cluster),
            Err(why) => {
                eprintln!(
                    "skipped: Slurm cannot be started here: {why}\n{}",
                    cluster.logs()
                );
                None
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn bring_up(&mut self, n_nodes: usize) -> Result<(), String> {
        let folder = |path: &Path, mode: u32| {
            let made = fs::create_dir_all(path);
            let made =
                made.and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)));
            made.map_err(|error| error.to_string())
        };
        // munged insists that all may enter the folder of its socket and none but it that of its
        // key.
        folder(self.dir.path(), 0o711)?;
        for (name, mode) in [
            ("socket", 0o711),
            ("key", 0o700),
            ("state", 0o700),
            ("log", 0o700),
        ] {
            folder(&self.path(name), mode)?;
        }
        let mut key = [0; 128];
        let random = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut key));
        random
            .and_then(|()| fs::write(self.path("key/key"), key))
            .map_err(|error| error.to_string())?;
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(self.path("key/key"), private).map_err(|error| error.to_string())?;
        self.write_configuration(n_nodes)?;
        let option = |name: &str, file: &str| format!("--{name}={}", self.path(file).display());
        let munged = self
            .daemon("munged")
            .args(["--foreground", "--force"])
            .args([
                option("socket", "socket/socket"),
                option("key-file", "key/key"),
                option("pid-file", "key/pid"),
                option("log-file", "key/log"),
                option("seed-file", "key/seed"),
            ])
            .spawn();
        self.munged = Some(munged.map_err(|error| error.to_string())?);
        self.wait_for("munged's socket", |cluster| {
            cluster.path("socket/socket").exists()
        })?;
        let controller = self.daemon("slurmctld").arg("-D").spawn();
        self.controller = Some(controller.map_err(|error| error.to_string())?);
        for i in 1..=n_nodes {
            self.spawn_node(&format!("n{i}"))?;
        }
        let idle = format!("{n_nodes} idle");
        self.wait_for("idle nodes", |cluster| {
            cluster.says("sinfo", &["-h", "-o", "%D %T"]) == idle
        })
    }

    fn write_configuration(&self, n_nodes: usize) -> Result<(), String> {
        let host =
            fs::read_to_string("/proc/sys/kernel/hostname").map_err(|error| error.to_string())?;
        let host = host.trim().split('.').next().unwrap_or_default().to_owned();
        // Ports that are free now, all held until all are known.
        let listeners: Result<Vec<TcpListener>, _> = (0..=n_nodes)
            .map(|_| TcpListener::bind("127.0.0.1:0"))
            .collect();
        let listeners = listeners.map_err(|error| error.to_string())?;
        let ports = listeners
            .iter()
            .map(|listener| listener.local_addr().map(|at| at.port()));
        let ports = ports
            .collect::<Result<Vec<u16>, _>>()
            .map_err(|error| error.to_string())?;
        let dir = self.dir.path().display();
        let mut text = format!(
            "ClusterName=harness-test\n\
             SlurmctldHost={host}(127.0.0.1)\n\
             SlurmctldPort={}\n\
             SlurmUser=root\n\
             SlurmdUser=root\n\
             AuthType=auth/munge\n\
             AuthInfo=socket={dir}/socket/socket,cred_expire=5\n\
             CredType=cred/munge\n\
             CommunicationParameters=NoCtldInAddrAny,NoInAddrAny\n\
             SlurmctldPidFile={dir}/state/controller.pid\n\
             SlurmdPidFile={dir}/state/%n.pid\n\
             StateSaveLocation={dir}/state\n\
             SlurmdSpoolDir={dir}/state/%n\n\
             SlurmctldLogFile={dir}/log/controller\n\
             SlurmdLogFile={dir}/log/%n\n\
             ProctrackType=proctrack/linuxproc\n\
             TaskPlugin=task/none\n\
             JobAcctGatherType=jobacct_gather/none\n\
             AccountingStorageType=accounting_storage/none\n\
             JobCompType=jobcomp/none\n\
             MpiDefault=none\n\
             SwitchType=switch/none\n\
             SchedulerType=sched/builtin\n\
             SchedulerParameters=batch_sched_delay=1,sched_interval=1\n\
             SelectType=select/cons_tres\n\
             SelectTypeParameters=CR_Core\n\
             SlurmdParameters=config_overrides\n\
             ReturnToService=2\n\
             SlurmdTimeout=20\n\
             KillWait=2\n\
             MinJobAge=300\n\
             MaxArraySize=100\n\
             PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n",
            ports[0]
        );
        for (i, port) in (1..=n_nodes).zip(&ports[1..]) {
            text.push_str(&format!(
                "NodeName=n{i} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=1000 State=UNKNOWN\n"
            ));
        }
        fs::write(self.configuration(), text).map_err(|error| error.to_string())
    }

    fn configuration(&self) -> PathBuf {
        self.path("slurm.conf")
    }

    /// A daemon that dies with the thread that starts it, should nothing else end it.
    fn daemon(&self, name: &str) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(program(name).unwrap_or_default())
            .env("SLURM_CONF", self.configuration())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn spawn_node(&mut self, name: &str) -> Result<(), String> {
        let daemon = self.daemon("slurmd").args(["-D", "-N", name]).spawn();
        self.nodes
            .push((name.to_owned(), daemon.map_err(|error| error.to_string())?));
        Ok(())
    }

    fn wait_for(&self, what: &str, is_there: impl Fn(&Cluster) -> bool) -> Result<(), String> {
        let started = Instant::now();
        while !is_there(self) {
            if started.elapsed() > PATIENCE {
                return Err(format!("no {what} in {} s", PATIENCE.as_secs()));
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// One of Slurm's commands, for this cluster.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command
            .env("SLURM_CONF", self.configuration())
            .stdin(Stdio::null());
        command
    }

    /// What one of Slurm's commands prints; nothing when it fails.
    fn says(&self, name: &str, words: &[&str]) -> String {
        run(self.command(name).args(words)).stdout.trim().to_owned()
    }

    /// `harness` where this cluster is.
    pub fn harness(&self) -> Command {
        let mut command = harness();
        command.env("SLURM_CONF", self.configuration());
        command
    }

    /// Number of the task of a job array that runs on a node.
    pub fn task_on(&self, node: &str, array: &str) -> Option<String> {
        let words = ["-h", "-t", "RUNNING", "-w", node, "-j", array, "-o", "%K"];
        let said = self.says("squeue", &words);
        said.lines().next().map(str::to_owned)
    }

    /// Whether a job has ended, whatever way.
    pub fn has_ended(&self, job: &str) -> bool {
        let state = self.says("scontrol", &["show", "job", job]);
        let words: Vec<&str> = state.split_whitespace().collect();
        let ends = [
            "COMPLETED",
            "FAILED",
            "CANCELLED",
            "NODE_FAIL",
            "TIMEOUT",
            "DEADLINE",
        ];
        ends.iter()
            .any(|end| words.contains(&format!("JobState={end}").as_str()))
    }

    /// What Slurm does before the time limit of a job submitted with --signal=B:USR1.
    pub fn warn(&self, job: &str) {
        succeed(
            self.command("scancel")
                .args(["--signal=USR1", "--batch", job]),
        );
    }

    /// A node is gone from one moment to the next, with all that runs on it.
    pub fn kill_node(&mut self, name: &str) {
        let at = self
            .nodes
            .iter()
            .position(|(node, _)| node == name)
            .expect("a node");
        let (_, mut daemon) = self.nodes.remove(at);
        end(&mut daemon);
        // First those that would tell of the others' end.
        let of_node = self.processes(&format!("SLURMD_NODENAME={name}"));
        let parents = of_node.iter().filter_map(|pid| parent(*pid));
        let steps: Vec<u32> = parents
            .filter(|pid| name_of(*pid) == "slurmstepd")
            .collect();
        assert!(!steps.is_empty(), "nothing runs on {name}");
        kill(&steps);
        kill(&of_node);
        let (node, down) = (format!("NodeName={name}"), ["State=DOWN", "Reason=killed"]);
        succeed(self.command("scontrol").arg("update").arg(node).args(down));
    }

    /// A node comes back.
    pub fn start_node(&mut self, name: &str) {
        self.spawn_node(name).expect("a node can be started");
        let back = self.wait_for("node", |cluster| {
            cluster.says("sinfo", &["-h", "-n", name, "-o", "%T"]) == "idle"
        });
        back.unwrap_or_else(|why| panic!("{why}\n{}", self.logs()));
    }

    /// Processes of this cluster, its jobs' included, whose environment holds a variable.
    fn processes(&self, variable: &str) -> Vec<u32> {
        let ours = format!("SLURM_CONF={}", self.configuration().display());
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_ours = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let has = |wanted: &str| {
                environment
                    .split(|b| *b == 0)
                    .any(|v| v == wanted.as_bytes())
            };
            has(&ours) && has(variable)
        };
        pids.filter(is_ours).collect()
    }

    fn logs(&self) -> String {
        let mut text = String::new();
        for name in ["key/log", "log/controller", "log/n1", "log/n2"] {
            let log = fs::read_to_string(self.path(name)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.len().saturating_sub(15);
            text.push_str(&format!("== {name}\n{}\n", lines[last..].join("\n")));
        }
        text
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Jobs and their keepers first: they are no children of ours.
        let ours = format!("SLURM_CONF={}", self.configuration().display());
        kill(&self.processes(&ours));
        for (_, daemon) in &mut self.nodes {
            end(daemon);
        }
        for daemon in [&mut self.controller, &mut self.munged]
            .into_iter()
            .flatten()
        {
            end(daemon);
        }
    }
}

/// A program on the path, or where daemons are.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    dirs.map(|dir| dir.join(name)).find(|path| path.is_file())
}

fn end(daemon: &mut Child) {
    // One that has ended already needs no more.
    let _ = daemon.kill();
    let _ = daemon.wait();
}

fn kill(pids: &[u32]) {
    if !pids.is_empty() {
        // Some may have ended meanwhile.
        let pids = pids.iter().map(ToString::to_string);
        let _ = Command::new("kill")
            .arg("-KILL")
            .args(pids)
            .stderr(Stdio::null())
            .status();
    }
}

fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok()
}

fn name_of(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim().to_owned()
}
