//! A registry of images in a laboratory: Debian's docker-registry.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::lab::Lab;
use crate::peers::{peer, skip};
use crate::wait::until;

const PORT: u16 = 5000;
const LIMIT: Duration = Duration::from_secs(60);

/// A running registry; it ends with this.
pub struct Registry(Child);

impl Registry {
    /// Where it is, for names of images.
    pub const ADDRESS: &str = "127.0.0.1:5000";

    /// Starts one that holds images out of archives: name and file. `None`, with a word, where something is not installed.
    ///
    /// # Panics
    /// When it does not answer, or does not take an image.
    pub fn start(lab: &Lab, images: &[(&str, &Path)]) -> Option<Self> {
        let (Some(server), Some(skopeo)) = (peer("docker-registry"), peer("skopeo")) else {
            skip("docker-registry or skopeo is not installed");
            return None;
        };
        let address = Self::ADDRESS;
        let config = lab.folder().join("registry.yml");
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{address}'}}\n",
            lab.folder().join("registry").display()
        );
        std::fs::write(&config, text).expect("the laboratory's folder can be written");
        let mut serve = lab.command(server);
        serve
            .arg("serve")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let running = Self(lab.inside(move || serve.spawn()).expect("the registry starts"));
        until("the registry answers", LIMIT, || lab.get(PORT, "/v2/"));
        for (name, archive) in images {
            let mut push = lab.command(&skopeo);
            push.args(["--insecure-policy", "copy", "--dest-tls-verify=false"])
                .arg(format!("docker-archive:{}", archive.display()))
                .arg(format!("docker://{address}/{name}"));
            lab.run(push).ok();
        }
        Some(running)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
