//! Images of real programs: redis, PostgreSQL, nginx and busybox, made from Debian's packages.

use std::path::{Path, PathBuf};

use crate::lab::Lab;
use crate::peers::{peer, repository, skip};

impl Lab {
    /// Builds the images of the shop and gives their archives: `web.tar`, `redis.tar`, `store.tar` and `app.tar`; `None`,
    /// with a word, where a package is not installed.
    ///
    /// # Panics
    /// When an image cannot be built.
    pub fn shop_images(&self) -> Option<PathBuf> {
        for (program, package) in [
            ("busybox", "busybox-static"),
            ("nginx", "nginx-light"),
            ("redis-server", "redis-server"),
            ("python3", "python3"),
        ] {
            if peer(program).is_none() {
                skip(&format!(
                    "{package} is not installed, from which an image is made"
                ));
                return None;
            }
        }
        if !Path::new("/usr/lib/postgresql/15/bin/postgres").exists() {
            skip("postgresql-15 is not installed, from which an image is made");
            return None;
        }
        let images = self.folder().join("images");
        std::fs::create_dir(&images).expect("the folder is new");
        let mut build = self.command("bash");
        build
            .arg(repository().join("tests/e2e/projects/shop/images.sh"))
            .arg(&images);
        self.run(build).ok();
        Some(images)
    }
}
