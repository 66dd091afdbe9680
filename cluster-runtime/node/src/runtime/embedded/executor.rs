//! The last step in a container: finding the program and becoming it.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libcontainer::workload::default::DefaultExecutor;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd::{AccessFlags, access};
use oci_spec::runtime::Spec;

use super::super::seccomp::install;
use super::protocol::StartAnswer;
use super::spec::Guard;

/// Runs a program as a shell would find it, with the signals of a fresh process.
///
/// libcontainer's own refuses programs that only owner or group may execute, and hands the shim's blocked signals on.
#[derive(Clone)]
pub(super) struct FreshExecutor {
    /// Where a failure of the very last step is told. It closes when the program runs.
    report: Arc<OwnedFd>,
    guard: Option<Arc<Guard>>,
}

impl FreshExecutor {
    pub(super) fn new(report: OwnedFd, guard: Option<Guard>) -> Self {
        Self {
            report: Arc::new(report),
            guard: guard.map(Arc::new),
        }
    }
}

impl Executor for FreshExecutor {
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        // From here on it waits to be started. It must not wait for somebody who is gone, and once it runs nobody
        // else holds its streams: it ends with the shim, or with the helper of a command.
        let _ = prctl::set_pdeathsig(Signal::SIGKILL);
        let (args, path) = args_and_path(spec);
        let name = args.first().map(String::as_str).unwrap_or_default();
        find(name, &path)
            .map(|_| ())
            .map_err(ExecutorValidationError::ArgValidationError)
    }

    fn setup_envs(&self, envs: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        DefaultExecutor {}.setup_envs(envs)
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let (args, path) = args_and_path(spec);
        let name = args.first().map(String::as_str).unwrap_or_default();
        let program = find(name, &path).map_err(ExecutorError::Other)?;
        let refused = |_| ExecutorError::InvalidArg;
        let program = CString::new(program.as_os_str().as_bytes()).map_err(refused)?;
        let args: Vec<CString> = args
            .iter()
            .map(|one| CString::new(one.as_str()))
            .collect::<Result<_, _>>()
            .map_err(refused)?;
        default_signals();
        let reason = match self.put_on_guard() {
            Err(error) => format!("cannot filter the system calls of the container: {error}"),
            Ok(()) => {
                let Err(errno) = nix::unistd::execv(&program, &args);
                format!("exec: {name:?}: {}", errno.desc().to_ascii_lowercase())
            }
        };
        let mut line = serde_json::to_vec(&StartAnswer::Failed(reason.clone())).unwrap_or_default();
        line.push(b'\n');
        let _ = rustix::io::write(&*self.report, &line);
        Err(ExecutorError::Other(reason))
    }
}

impl FreshExecutor {
    fn put_on_guard(&self) -> std::io::Result<()> {
        match &self.guard {
            Some(guard) => install(&guard.filter, &guard.borrowed),
            None => Ok(()),
        }
    }
}

fn args_and_path(spec: &Spec) -> (Vec<String>, String) {
    let process = spec.process().as_ref();
    let args = process
        .and_then(|process| process.args().clone())
        .unwrap_or_default();
    let env = process
        .and_then(|process| process.env().as_deref())
        .unwrap_or_default();
    let path = env
        .iter()
        .find_map(|one| one.strip_prefix("PATH="))
        .unwrap_or_default();
    (args, path.to_owned())
}

/// The program of a name: a path as it is, anything else in the folders of `PATH`.
fn find(name: &str, path: &str) -> Result<PathBuf, String> {
    if name.is_empty() {
        return Err("no command specified".to_owned());
    }
    let usable = |candidate: &Path| candidate.is_file() && access(candidate, AccessFlags::X_OK).is_ok();
    if name.contains('/') {
        let given = PathBuf::from(name);
        return match given.symlink_metadata() {
            Err(_) => Err(format!("exec: {name:?}: stat {name}: no such file or directory")),
            Ok(_) if usable(&given) => Ok(given),
            Ok(_) if given.is_dir() => Err(format!("exec: {name:?}: is a directory")),
            Ok(_) if !given.exists() => {
                Err(format!("exec: {name:?}: stat {name}: no such file or directory"))
            }
            Ok(_) => Err(format!("exec: {name:?}: permission denied")),
        };
    }
    let mut candidates = path
        .split(':')
        .map(|folder| Path::new(if folder.is_empty() { "." } else { folder }).join(name));
    candidates
        .find(|candidate| usable(candidate))
        .ok_or_else(|| format!("exec: {name:?}: executable file not found in $PATH"))
}

/// Blocked and ignored signals survive `exec`, so they are made ordinary before it.
#[expect(
    unsafe_code,
    reason = "the default action of a signal is safe to set; the API cannot tell"
)]
fn default_signals() {
    for signal in [
        Signal::SIGPIPE,
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGCHLD,
    ] {
        // SAFETY: no handler is installed, only the default action.
        let _ = unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl) };
    }
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}
