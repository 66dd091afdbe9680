//! Finding out who a process runs as, in the files of its image.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::super::api::UserSpec;

const FILE_BYTES_MAX: u64 = 1024 * 1024;
const DEFAULT_GROUP: u32 = 0;

/// Numbers of a user and groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// Looks a user up in `/etc/passwd` and `/etc/group` of a root folder, without following its links out of it.
pub(super) fn identify(root: &Path, spec: &UserSpec) -> Result<Identity, String> {
    let read =
        |path| read_below(root, path).map_err(|error| format!("cannot read {path} of the image: {error}"));
    decide(spec, &read("etc/passwd")?, &read("etc/group")?)
}

fn decide(spec: &UserSpec, passwd: &str, group: &str) -> Result<Identity, String> {
    let (image_user, image_group) = match spec.image_user.split_once(':') {
        Some((user, group)) => (user, group),
        None => (spec.image_user.as_str(), ""),
    };
    let entries = || {
        passwd
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .filter(|line| line.len() >= 4)
    };
    let by_name = |name: &str| entries().find(|line| line[0] == name);
    let by_uid = |uid: u32| entries().find(|line| line[2].parse() == Ok(uid));
    let (uid, entry) = match (spec.uid, image_user) {
        (Some(uid), _) => (uid, by_uid(uid)),
        (None, "") => (0, by_uid(0)),
        (None, user) => match (by_name(user), user.parse()) {
            (Some(entry), _) => (
                entry[2]
                    .parse()
                    .map_err(|_| format!("user {user} has no number"))?,
                Some(entry),
            ),
            (None, Ok(uid)) => (uid, by_uid(uid)),
            (None, Err(_)) => {
                return Err(format!(
                    "unable to find user {user}: no matching entries in passwd file"
                ));
            }
        },
    };
    let group_entries = || {
        group
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .filter(|line| line.len() >= 3)
    };
    let gid = match (spec.gid, image_group) {
        (Some(gid), _) => gid,
        // The group of the image goes with the user of the image.
        (None, group) if !group.is_empty() && spec.uid.is_none() => {
            let by_name = group_entries()
                .find(|line| line[0] == group)
                .and_then(|line| line[2].parse().ok());
            by_name
                .or_else(|| group.parse().ok())
                .ok_or_else(|| format!("unable to find group {group}: no matching entries in group file"))?
        }
        _ => entry
            .as_ref()
            .and_then(|line| line[3].parse().ok())
            .unwrap_or(DEFAULT_GROUP),
    };
    let mut groups = spec.groups.clone();
    if let Some(name) = entry.map(|line| line[0]).filter(|_| !spec.groups_as_given) {
        let member = |line: &Vec<&str>| {
            line.get(3)
                .is_some_and(|list| list.split(',').any(|one| one == name))
        };
        groups.extend(
            group_entries()
                .filter(member)
                .filter_map(|line| line[2].parse::<u32>().ok()),
        );
    }
    groups.push(gid);
    groups.sort_unstable();
    groups.dedup();
    Ok(Identity { uid, gid, groups })
}

fn read_below(root: &Path, path: &str) -> io::Result<String> {
    let folder = rustix::fs::open(
        root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    // Not blocking: the image decides what the name stands for, and it may be a pipe.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let opened = match rustix::fs::openat2(&folder, path, flags, Mode::empty(), how) {
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(String::new()),
        other => other?,
    };
    let file = File::from(opened);
    if !file.metadata()?.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:app:/app:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nstaff:x:50:app,other\nwheel:x:10:root\n";

    fn check(user: &str, uid: Option<u32>, gid: Option<u32>, expected: (u32, u32, &[u32])) {
        let spec = UserSpec {
            image_user: user.into(),
            uid,
            gid,
            ..UserSpec::default()
        };
        let (uid, gid, groups) = expected;
        let expected = Identity {
            uid,
            gid,
            groups: groups.to_vec(),
        };
        assert_eq!(decide(&spec, PASSWD, GROUP).unwrap(), expected, "of {spec:?}");
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        check("", None, None, (0, 0, &[0, 10]));
        check("app", None, None, (1000, 1001, &[50, 1001]));
        check("1000", None, None, (1000, 1001, &[50, 1001]));
        check("app:staff", None, None, (1000, 50, &[50]));
        check("app:7", None, None, (1000, 7, &[7, 50]));
        check("4242", None, None, (4242, 0, &[0]));
        check("app:staff", Some(5), None, (5, 0, &[0]));
        check("app", Some(1000), Some(9), (1000, 9, &[9, 50]));
        check("app", None, Some(9), (1000, 9, &[9, 50]));
    }

    #[test]
    fn groups_of_the_image_are_left_out_where_that_is_asked() {
        let spec = UserSpec {
            image_user: "app".into(),
            groups: vec![7],
            groups_as_given: true,
            ..UserSpec::default()
        };
        assert_eq!(decide(&spec, PASSWD, GROUP).unwrap().groups, [7, 1001]);
    }

    #[test]
    fn err_unknown_names() {
        for user in ["nobody", "app:nothing"] {
            let spec = UserSpec {
                image_user: user.into(),
                ..UserSpec::default()
            };
            assert!(decide(&spec, PASSWD, GROUP).is_err(), "{user}");
        }
    }
}
